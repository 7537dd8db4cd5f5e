"""A landscape in one file: what benchmarks/landscape.py measured, packed to a few megabytes.

    python -m splitpoint.benchmarks.recorded WORK OUT.npz

Outcomes are kept bit by bit. Margins are kept in steps of a quarter of the width by which answers are smoothed
(`planner.quality.drop_curve.SHARP`), divergences in factors of the root of 2: finer than what they are used for.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from splitpoint.codecs.npz import npz_bytes, read_npz
from splitpoint.planner.quality.drop_curve import SHARP
from splitpoint.profiles.files.structs import write_bytes

__all__ = ["Recorded", "load", "pack"]

MARGIN_STEPS = 4  # a width of the smoothed answers
MOST_STEPS = 16  # four widths: beyond them an answer is sure
OCTAVE_STEPS = 2  # of a divergence
LEAST_OCTAVE, MOST_OCTAVE = -40, 10  # of a divergence in nat
LIMIT_BYTES = 1 << 30  # of all arrays of a packed file

Floats = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Recorded:
    """C candidates of a network on N inputs."""

    cut: tuple[str, ...]  # (C,) the tensors that cross
    place: NDArray[np.uint8]  # (C,) of the cut in the network, from 0
    codec: tuple[str, ...]  # (C,)
    rate: NDArray[np.uint8]  # (C,) index into the codec's rates
    payload_bytes: Floats  # (C,) mean over the inputs that were coded
    right: NDArray[np.bool_]  # (C, N)
    right_unsplit: NDArray[np.bool_]  # (N,)
    margin: Floats  # (C, N) of the true class, in widths of smoothed answers; beyond 4 widths: 4
    margin_unsplit: Floats  # (N,) the same, not rounded
    divergence: Floats  # (C, N) nat

    @property
    def lost(self) -> Floats:
        """(C, N) 1: a right answer is lost, -1: a wrong one became right."""
        return self.right_unsplit.astype(np.float64) - self.right


def pack(work: Path) -> bytes:
    """The units of `work` as one npz file."""
    with np.load(work / "unsplit.npz") as stored:
        unsplit = dict(stored)
    units = []
    for path in sorted(work.glob("[0-9]*.npz")):
        with np.load(path) as stored:
            unit = dict(stored)
        if len(unit["rates"]):
            units.append((int(path.name.partition("-")[0]), unit))
    width = SHARP * float(np.median(np.abs(unsplit["truth_margin"].astype(np.float64))))
    counts = [len(unit["rates"]) for _, unit in units]
    texts = {name: np.repeat([unit[name].item() for _, unit in units], counts) for name in ("cut", "codec")}
    steps = MARGIN_STEPS / width
    return npz_bytes(
        {
            **texts,
            "place": np.repeat(np.array([place for place, _ in units], np.uint8), counts),
            "rate": _joined([unit["rates"] for _, unit in units]),
            "payload_bytes": _joined([unit["payload_bytes"].mean(axis=1).astype(np.float32) for _, unit in units]),
            "right": np.packbits(_joined([unit["right"] for _, unit in units]).astype(bool), axis=1),
            "right_unsplit": unsplit["right"],
            "margin": _joined([_steps(unit["truth_margin"] * steps, MOST_STEPS) for _, unit in units]),
            "margin_unsplit": (unsplit["truth_margin"] / width).astype(np.float32),
            "divergence": _joined([_octaves(unit["divergence"]) for _, unit in units]),
        }
    )


def load(path: Path) -> Recorded:
    """A packed file as values."""
    arrays = read_npz(path.read_bytes(), limit_bytes=LIMIT_BYTES)
    inputs = len(arrays["right_unsplit"])
    octave = arrays["divergence"].astype(np.float64) / OCTAVE_STEPS
    return Recorded(
        cut=tuple(arrays["cut"].tolist()),
        place=arrays["place"],
        codec=tuple(arrays["codec"].tolist()),
        rate=arrays["rate"],
        payload_bytes=arrays["payload_bytes"].astype(np.float64),
        right=np.unpackbits(arrays["right"], axis=1, count=inputs).astype(bool),
        right_unsplit=arrays["right_unsplit"],
        margin=arrays["margin"].astype(np.float64) / MARGIN_STEPS,
        margin_unsplit=arrays["margin_unsplit"].astype(np.float64),
        divergence=np.where(octave > LEAST_OCTAVE, 2.0**octave, 0.0),
    )


def _steps(margin: NDArray[np.float32], most: int) -> NDArray[np.int8]:
    """Whole steps, towards the right side of 0; what is not a number is no right answer."""
    whole = np.clip(np.nan_to_num(np.rint(margin), nan=-most), -most, most)
    return np.asarray(whole, np.int8)


def _octaves(divergence: NDArray[np.float32]) -> NDArray[np.int8]:
    with np.errstate(divide="ignore"):
        octave = np.rint(OCTAVE_STEPS * np.log2(np.nan_to_num(divergence, nan=np.inf, posinf=2.0**MOST_OCTAVE)))
    return np.asarray(np.clip(octave, OCTAVE_STEPS * LEAST_OCTAVE, OCTAVE_STEPS * MOST_OCTAVE), np.int8)


def _joined(parts: Sequence[NDArray[np.generic]]) -> NDArray[np.generic]:
    return np.concatenate(list(parts))


def main() -> int:
    """Pack a folder of units."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="folder that benchmarks/landscape.py filled")
    parser.add_argument("out", type=Path, help="file to write")
    options = parser.parse_args()
    data = pack(options.work)
    write_bytes(options.out, data)
    found = load(options.out)
    print(f"{len(found.codec)} candidates of {len(found.right_unsplit)} inputs, {len(data) / 1e6:.1f} MB")
    print(f"sha256 {hashlib.sha256(data).hexdigest()}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
