"""What is trained for Choi's figures, how symbols become an HEVC picture, and what is drawn."""

from __future__ import annotations

import re

import numpy as np
import pytest
from numpy.typing import NDArray

from splitpoint.benchmarks import choi_figures
from splitpoint.benchmarks.back_and_forth import Row
from splitpoint.benchmarks.choi_figures import FIGURES, HEVC_BITS, HevcTiles, drawn
from splitpoint.codecs.pictures.tiles import TileCoder
from splitpoint.codecs.quantizers.range import FittedRange

SHAPE = (1, 5, 4, 6)


def test_the_paper_has_these_channels_and_bits() -> None:
    assert [256 // part for part, _ in FIGURES["channels"]] == [8, 16, 32, 64, 128]  # section 4, of 256
    assert {bits for _, bits in FIGURES["channels"]} == {8}
    assert [bits for _, bits in FIGURES["bits"]] == [2, 3, 4, 5, 6, 7, 8]
    assert {256 // part for part, _ in FIGURES["bits"]} == {64}


@pytest.mark.parametrize(("wrong_by", "same"), [(0, True), (1, True), (3, False)])
def test_symbols_use_all_levels_of_the_picture(monkeypatch: pytest.MonkeyPatch, wrong_by: int, same: bool) -> None:
    """Of 6 bits a symbol is four levels wide: one level of error does not change it, three do."""
    seen: list[NDArray[np.uint8]] = []

    def encoded(picture: NDArray[np.uint8], crf: int) -> bytes:
        assert crf == 22
        seen.append(picture)
        return b"bits"

    def decoded(data: bytes, size: tuple[int, int]) -> NDArray[np.uint8]:
        assert (data, size) == (b"bits", seen[0].shape)
        return np.where(seen[0] < 128, seen[0] + wrong_by, seen[0] - wrong_by).astype(np.uint8)

    monkeypatch.setattr(choi_figures, "encode_grey", encoded)
    monkeypatch.setattr(choi_figures, "decode_grey", decoded)
    quantizer = FittedRange(shape=SHAPE, axis=1, bits=HEVC_BITS, per_channel=True)
    coder = HevcTiles(lossless=TileCoder(specs=quantizer.specs, kind="webp"), bits=HEVC_BITS, crf=22)
    rng = np.random.default_rng(0)
    symbols = rng.integers(0, 1 << HEVC_BITS, SHAPE).astype(np.uint8)
    symbols[0, 0, 0, :2] = 0, (1 << HEVC_BITS) - 1
    given = {spec.name: rng.normal(size=spec.shape).astype(spec.dtype) for spec in quantizer.specs}
    given |= {spec.name: symbols for spec in quantizer.specs if spec.shape == SHAPE}
    back = coder.decode(coder.encode(given))
    assert seen[0].max() == 255
    assert set(back) == set(given)
    for name, values in given.items():
        assert back[name].dtype == values.dtype
        if values.shape == SHAPE:
            assert np.array_equal(back[name], values) == same
        else:
            np.testing.assert_array_equal(back[name], values)


def test_every_rate_is_drawn_beside_the_unsplit_network() -> None:
    def row(codec: str, rate: str, payload_bytes: float, value: float) -> Row:
        own = {"F1 lost": (0.0, 0.0, 0.0), "mAP@0.5": (value, None, None)}
        return Row(cut="Conv_73", codec=codec, rate=rate, payload_bytes=payload_bytes, figures=own)

    unsplit = row("unsplit", "", 0, 52)
    rows = [row(f"choi-baf, {kind}", f"1/{part} at 8", 900 / part, 50) for part in (4, 2) for kind in ("webp", "png")]
    channels = drawn(unsplit, rows, figure="channels", network="net")
    assert len(re.findall("<circle", channels)) == 2 + 2  # one coder: the others lose the same
    assert "mAP@0.5, %" in channels
    assert len(re.findall("<circle", drawn(unsplit, rows, figure="bits", network="net"))) == 4 + 2
