"""Arbitrary bytes to every decoder; FUZZ_EXAMPLES sets how many (the default is quick, CI takes a minute)."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splitpoint.codecs.coders.context import ContextCode
from splitpoint.codecs.coders.huffman import Huffman
from splitpoint.codecs.coders.integers import Integers
from splitpoint.codecs.coders.packed import Packed
from splitpoint.codecs.coders.rans import Rans
from splitpoint.codecs.coders.raw import Raw
from splitpoint.codecs.contract.preset import CoderFit, Layout
from splitpoint.codecs.contract.protocol import Coder, Context, PayloadError, TensorSpec
from splitpoint.codecs.learned.bottleneck_coder import SHIFT, BottleneckCode
from splitpoint.codecs.learned.switch_coder import SwitchCode
from splitpoint.codecs.lossy.tiles import LossyTiles
from splitpoint.codecs.lossy.trellis import Trellis
from splitpoint.codecs.pictures.tiles import Tiles
from splitpoint.codecs.store import CODERS
from splitpoint.tests.decoded import check_tensors

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "60"))
SPECS = (
    TensorSpec(name="symbols", shape=(1, 6, 3, 5), dtype="uint8", low=0, high=30, channel_axis=1, group=2),
    TensorSpec(name="minima", shape=(1, 6), dtype="float16", side=True),
)
WIDE = (TensorSpec(name="symbols", shape=(1, 6, 3, 5), dtype="int16", low=-32767, high=32767, channel_axis=1),)
TOKENS = TensorSpec(name="symbols", shape=(1, 40), dtype="int64")
FLAGS = TensorSpec(name="symbols", shape=(1, 40), dtype="bool")
RATE = TensorSpec(name="rate", shape=(1,), dtype="int64", low=0, high=2, side=True)
FLOAT = TensorSpec(name="x", shape=(1, 6, 9, 5), dtype="float32", channel_axis=1)
LOSSLESS: dict[str, CoderFit] = {
    "raw": Raw(),
    "zstd": Packed(),
    "huffman": Huffman(),
    "rans": Rans(),
    "context": ContextCode(),
    "tile-png": Tiles(kind="png"),
    "tile-webp": Tiles(kind="webp"),
}


@functools.cache
def fitted() -> dict[str, Coder]:
    generator = np.random.default_rng(0)
    bounded = {"symbols": generator.integers(0, 31, (20, 6, 3, 5)).astype(np.uint8)}
    wide = {"symbols": np.rint(4 * generator.laplace(size=(20, 6, 3, 5))).astype(np.int16)}
    found = {name: kind.fit(SPECS, bounded) for name, kind in LOSSLESS.items()}
    found |= {f"{name}, wide": LOSSLESS[name].fit(WIDE, wide) for name in ("zstd", "huffman", "rans", "context")}
    tokens = np.minimum(generator.geometric(0.02, (20, 40)), 900).astype(np.int64)
    found["integers"] = Integers().fit((TOKENS,), {"symbols": tokens})
    found["integers, flags"] = Integers().fit((FLAGS,), {"symbols": tokens > 20})
    found["switch"] = SwitchCode(widths=(1, 3, 6), rate=0).fit((SPECS[0], RATE), bounded)
    steps = generator.integers(0, (1 << SHIFT) + 1, (3, 6)).astype(np.int32)
    code = BottleneckCode(multipliers=steps, offset=1 << (SHIFT - 1), rate=0)
    found["bottleneck"] = code.fit((WIDE[0], RATE), wide)
    floats = generator.normal(size=(20, 6, 9, 5)).astype(np.float32)
    trellis = Trellis(coder=Huffman(per_channel=False))
    found["trellis"] = trellis.fit(FLOAT, floats, Layout(axis=1), trellis.rates[2], Context())
    for kind in ("jpeg", "webp", "avif", "hevc"):
        lossy = LossyTiles(kind=kind)
        if lossy.refuses(FLOAT.shape, 1) is None:
            found[f"lossy-tile-{kind}"] = lossy.fit(FLOAT, floats, Layout(axis=1), lossy.rates[3], Context())
    return found


def check(coder: Coder, payload: bytes) -> None:
    try:
        decoded = coder.decode(payload)
    except PayloadError:
        return
    check_tensors(coder.specs, decoded)


@pytest.mark.parametrize("name", sorted(fitted()))
def test_any_bytes_end_in_an_error_or_a_right_tensor(name: str) -> None:
    coder = fitted()[name]
    generator = np.random.default_rng(1)
    tensors = {}
    for spec in coder.specs:
        if spec.low is None or spec.high is None:
            tensors[spec.name] = generator.normal(size=spec.shape).astype(spec.dtype)
        else:
            tensors[spec.name] = generator.integers(0, min(31, spec.high + 1), spec.shape).astype(spec.dtype)
    good = coder.encode(tensors)
    edits = st.lists(st.tuples(st.integers(0, max(len(good) - 1, 0)), st.integers(0, 255)), min_size=1, max_size=6)

    @given(st.one_of(st.binary(max_size=400), edits, st.integers(0, len(good))))
    @settings(max_examples=EXAMPLES, deadline=None)
    def attack(what: bytes | list[tuple[int, int]] | int) -> None:
        if isinstance(what, bytes):
            check(coder, what)
            check(coder, good[:12] + what)
        elif isinstance(what, int):
            check(coder, good[:what])
        else:
            broken = bytearray(good)
            for at, value in what:
                broken[at] = value
            check(coder, bytes(broken))

    attack()


def test_every_stored_coder_is_attacked() -> None:
    assert {coder.name for coder in fitted().values()} >= set(CODERS) - {"tile-jxl", "lossy-tile-hevc"}


ATTACK = """
import importlib.util, numpy as np
spec = importlib.util.spec_from_file_location("attack", {path!r})
module = importlib.util.module_from_spec(spec); spec.loader.exec_module(module)
generator = np.random.default_rng(0)
for name, coder in module.fitted().items():
    if "tile" in name or "zstd" in name or "raw" in name:
        continue
    most = {{s.name: min(31, (s.high or 30) + 1) for s in coder.specs}}
    tensors = {{s.name: generator.integers(0, most[s.name], s.shape).astype(s.dtype) for s in coder.specs}}
    good = coder.encode(tensors)
    for trial in range(400):
        broken = bytearray(good)
        broken[int(generator.integers(len(good)))] ^= 1 << int(generator.integers(8))
        module.check(coder, bytes(broken))
        module.check(coder, generator.bytes(int(generator.integers(1, 300))))
        module.check(coder, good[: int(generator.integers(len(good)))])
print("bounds held")
"""


def test_no_kernel_leaves_its_arrays(tmp_path: Path) -> None:
    environment = {**os.environ, "NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path)}
    script = ATTACK.format(path=str(Path(__file__).resolve()))
    result = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False
    )
    assert result.stdout.strip() == "bounds held", result.stderr[-2000:]
