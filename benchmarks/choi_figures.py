"""Choi et al., figures 3 and 4: Back-and-Forth prediction over channels, and over bits with several picture coders.

    python -m splitpoint.benchmarks.choi_figures --data DIR --network yolox-nano|strided --figure channels|bits
        [--weights FILE.pt] [--minutes 15] [--judged N] [--threads 1] [--kept FOLDER] [--out FILE]

`channels`: a 32nd, a 16th, an eighth, a quarter and half of them at 8 bits (figure 3). `bits`: a quarter of them at 2
to 8 bits (figure 4). As in the paper there is a network of its own for each, trained here side by side in one training
of the minutes. Networks, pictures and judges are those of benchmarks/back_and_forth.py, at one cut each: the
convolution of stride 2 that opens YOLOX-Nano's stage dark3, and the second one of the strided network.

A rate's symbols cross as a picture: PNG, WebP and, where the plugin is installed, JPEG XL, whose lossless mode comes
from the paper's FLIF, for which there is no Python package. They lose nothing, so that one run through the tail judges
all of them, and every eighth payload is decoded and compared. With `bits`, symbols of 6 bits are coded by HEVC, too,
where PyAV is installed: with loss, so that each quality is judged by itself (the paper's "6-bit version").

It takes the minutes and about as long again on an idle core; what is done is kept in FOLDER.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from splitpoint.benchmarks.back_and_forth import BAF, Bench, Keeper, Row, bench_of, line, reader, strided_cuts
from splitpoint.benchmarks.figure import curves
from splitpoint.benchmarks.learned import Counted, arguments_without
from splitpoint.benchmarks.stored import RESULTS, store
from splitpoint.codecs.coders.layout import join_side, split_side, symbol_spec
from splitpoint.codecs.contract.protocol import Array, FittedCodec, TensorSpec
from splitpoint.codecs.learned.baf_codec import BackAndForth
from splitpoint.codecs.pictures.hevc import decode_grey, encode_grey, missing_hevc
from splitpoint.codecs.pictures.tiles import (
    Format,
    TileCoder,
    Tiles,
    map_shape,
    missing,
    picture_size,
    tile,
    untile,
)
from splitpoint.codecs.registry import REGISTRY
from splitpoint.planner.coding.runs import NetworkRuns
from splitpoint.planner.training.precision import trained_in
from splitpoint.planner.values.cut import Cut

FIGURES: Final[Mapping[str, tuple[tuple[int, int], ...]]] = {  # one of so many channels crosses, with so many bits
    "channels": tuple((part, 8) for part in (32, 16, 8, 4, 2)),
    "bits": tuple((4, bits) for bits in range(2, 9)),
}
CUT: Final = 2  # number of the convolution of stride 2, from the input
LOSSLESS: Final[tuple[Format, ...]] = ("webp", "png", "jxl")  # the first is the codec's own
HEVC_BITS: Final = 6
LEVELS: Final = 255  # of the picture that HEVC codes
CRFS: Final = (4, 10, 16, 22, 28, 34)  # of x265, 0 to 51
CHECKED: Final = 8  # one payload of so many is decoded and compared


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class HevcTiles:
    """Symbols of `bits` bits as an HEVC picture that uses all of its 256 levels, beside their ranges."""

    lossless: TileCoder
    bits: int
    crf: int

    @property
    def name(self) -> str:
        """As the tile coders are named."""
        return "tile-hevc"

    @property
    def specs(self) -> tuple[TensorSpec, ...]:
        """What is coded."""
        return self.lossless.specs

    def encode(self, tensors: Mapping[str, Array]) -> bytes:
        """The ranges, then the picture."""
        symbols = tensors[symbol_spec(self.specs).name][0]
        pixels = np.rint(symbols.astype(np.float64) * LEVELS / self._top).astype(np.uint8)
        return join_side(self.specs, tensors) + encode_grey(tile(pixels), self.crf)

    def decode(self, payload: bytes) -> dict[str, Array]:
        """The nearest symbols to what HEVC leaves; raises `PayloadError`."""
        spec = symbol_spec(self.specs)
        tensors, picture = split_side(self.specs, payload)
        maps = untile(decode_grey(picture, picture_size(spec)), map_shape(spec))
        tensors[spec.name] = np.rint(maps.astype(np.float64) * self._top / LEVELS).astype(np.uint8)[None]
        return tensors

    @property
    def _top(self) -> int:
        return (1 << self.bits) - 1


def measured(bench: Bench, cut: Cut, codec: BackAndForth, training: Counted) -> list[Row]:
    """Every rate with every coder."""
    rows = []
    with bench.runs() as runs:
        runs.prepare([cut], [codec])
        for fitted, (_, bits) in zip(
            runs.fit_trained(cut, codec, range(len(codec.rates)), training), codec.shares, strict=True
        ):
            rows += _lossless(bench, runs, cut, fitted, training)
            if bits == HEVC_BITS and set(codec.shares) == set(FIGURES["bits"]) and missing_hevc() is None:
                rows += [_hevc(bench, runs, cut, fitted, crf, training) for crf in CRFS]
    return rows


def _lossless(bench: Bench, runs: NetworkRuns, cut: Cut, fitted: FittedCodec, training: Counted) -> list[Row]:
    kinds = [kind for kind in LOSSLESS if missing(kind) is None]
    coded = {kind: (with_coder(fitted, Tiles(kind=kind).fit(fitted.coder.specs, {})),) for kind in kinds}

    def one(index: int) -> tuple[dict[str, int], Any]:
        activation = runs.activation(cut, "search", index)
        payloads = {kind: runs.encode(cut, each, activation) for kind, each in coded.items()}
        checked = kinds if index % CHECKED == 0 else kinds[:1]
        copies = [runs.decode(cut, coded[kind], payloads[kind], draw=0).tensors for kind in checked]
        for other in copies[1:]:
            for name, copy in copies[0].items():
                np.testing.assert_array_equal(copy, other[name])
        return {kind: len(payload) for kind, payload in payloads.items()}, bench.read(runs.tail(cut, copies[0]))

    seen = runs.map(one, range(len(bench.inputs)))
    return [
        bench.row(
            cut.after, f"{BAF}, {kind}", fitted.rate_label, [(sizes[kind], a) for sizes, a in seen], training.cost
        )
        for kind in kinds
    ]


def _hevc(bench: Bench, runs: NetworkRuns, cut: Cut, fitted: FittedCodec, crf: int, training: Counted) -> Row:
    assert isinstance(fitted.coder, TileCoder)
    coded = (with_coder(fitted, HevcTiles(lossless=fitted.coder, bits=HEVC_BITS, crf=crf)),)

    def one(index: int) -> tuple[int, Any]:
        payload = runs.encode(cut, coded, runs.activation(cut, "search", index))
        return len(payload), bench.read(runs.tail(cut, runs.decode(cut, coded, payload, draw=0).tensors))

    rate = f"{fitted.rate_label}, crf {crf}"
    return bench.row(cut.after, f"{BAF}, hevc", rate, runs.map(one, range(len(bench.inputs))), training.cost)


def with_coder(fitted: FittedCodec, coder: Any) -> FittedCodec:
    """The same graphs with another coder of their symbols."""
    return dataclasses.replace(fitted, coder=coder)


def drawn(unsplit: Row, rows: Sequence[Row], *, figure: str, network: str) -> str:
    """The figure as SVG: mAP or top-1 over the channels that cross, or over bytes, with the unsplit network's."""
    of_channels = figure == "channels"
    name = "mAP@0.5" if "mAP@0.5" in unsplit.figures else "top-1"
    series: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        part = row.rate.partition(" at ")[0]
        x = 100 / int(part.removeprefix("1/")) if of_channels else row.payload_bytes
        if not of_channels or row.codec == f"{BAF}, {LOSSLESS[0]}":
            series.setdefault(BAF if of_channels else row.codec, []).append((x, row.figures[name][0]))
    across = [x for points in series.values() for x, _ in points]
    series["unsplit"] = [(edge, unsplit.figures[name][0]) for edge in (min(across), max(across))]
    return curves(
        series,
        title=f"{network} after {rows[0].cut}: " + ("8 bits" if of_channels else "a quarter of the channels"),
        x_label="channels that cross, % (logarithmic)" if of_channels else "bytes (logarithmic), container included",
        y_label=f"{name}, %",
        y_range=(0.0, 5 * math.ceil(max(y for points in series.values() for _, y in points) / 5)),
    )


def main(arguments: Sequence[str]) -> None:
    """Train, judge and store."""
    parser = reader(__doc__, minutes=15.0)
    parser.add_argument("--figure", choices=tuple(FIGURES), required=True)
    parser.add_argument("--kept", type=Path, default=Path("choi-figures-kept"))
    options = parser.parse_args(arguments)
    bench = bench_of(options)
    cut = strided_cuts(bench.graph)[CUT - 1]
    codec = REGISTRY[BAF]
    assert isinstance(codec, BackAndForth)
    codec = dataclasses.replace(codec, shares=FIGURES[options.figure])
    keeper = Keeper(bench, options.kept, options.minutes)
    rows = keeper.rows("unsplit", None, (), lambda: [bench.unsplit_row()])
    rates = [rate.label for rate in codec.rates]
    trained = keeper.rows(BAF, cut, rates, lambda: measured(bench, cut, codec, Counted(keeper.training(cut))))
    found = {
        "figure": options.figure,
        "minutes": options.minutes,
        "training_images": len(bench.training),
        "images": len(bench.inputs),
        "trained_in": trained_in(),
        "rows": [dataclasses.asdict(row) for row in rows + trained],
    }
    out = options.out or RESULTS / f"choi-{options.figure}-{options.network}.json"
    given = arguments_without(arguments, "--data", "--kept", "--out", "--weights")
    store(out, found, command=" ".join(["choi_figures --data DIR", *given]), threads=options.threads)
    out.with_suffix(".svg").write_text(drawn(rows[0], trained, figure=options.figure, network=options.network))
    print("\n".join(map(line, trained)))


if __name__ == "__main__":
    main(sys.argv[1:])
