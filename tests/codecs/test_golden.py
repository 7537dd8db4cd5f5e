"""Payload bytes of our own coders must not change, third-party ones must still be readable; REGENERATE=1 writes anew.

A change here is a change of the bitstream: it belongs in the CHANGELOG under "Bitstream".
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest

from splitpoint.codecs.coders.context import ContextCode
from splitpoint.codecs.coders.context_kernel import logistic
from splitpoint.codecs.coders.huffman import Huffman, HuffmanCoder
from splitpoint.codecs.coders.integers import Integers
from splitpoint.codecs.coders.packed import PackedCoder
from splitpoint.codecs.coders.rans import Rans
from splitpoint.codecs.coders.raw import RawCoder
from splitpoint.codecs.container import pack
from splitpoint.codecs.contract.preset import CoderFit
from splitpoint.codecs.contract.protocol import Array, Coder, TensorSpec
from splitpoint.codecs.learned.bottleneck_coder import SHIFT, BottleneckCode
from splitpoint.codecs.learned.switch_coder import SwitchCode
from splitpoint.codecs.lossy.trellis import TrellisCoder
from splitpoint.codecs.pictures.picture import PICTURES
from splitpoint.codecs.pictures.tiles import TileCoder

GOLDEN = Path(__file__).parent / "golden" / "payloads.json"
REGENERATE = os.environ.get("REGENERATE") == "1"
SPEC = TensorSpec(name="symbols", shape=(1, 4, 3, 5), dtype="int16", low=-32767, high=32767, channel_axis=1, group=2)
RATE = TensorSpec(name="rate", shape=(1,), dtype="int64", low=0, high=2, side=True)
SIDE = TensorSpec(name="minima", shape=(1, 4), dtype="float16", side=True)
TILES = TensorSpec(name="symbols", shape=(1, 4, 3, 5), dtype="uint8", low=0, high=255, channel_axis=1)
TOKENS = TensorSpec(name="x", shape=(1, 24), dtype="int64")
FLOAT = TensorSpec(name="x", shape=(1, 4, 3, 5), dtype="float32", channel_axis=1)


def integers(count: int, multiplier: int) -> Array:
    """A small generator of its own: numpy may change its streams, these numbers may not."""
    state, out = 12345, []
    for _ in range(count):
        state = (1103515245 * state + 12345) % (1 << 31)
        out.append((state >> 16) % multiplier)
    return np.array(out)


def symbols(count: int) -> Array:
    first, second = integers(2 * 60 * count, 7).reshape(2, -1)
    values = (first * second // 6 - 1) * np.where(first % 2, 1, -1)
    return values.reshape(count, 4, 3, 5).astype(np.int16)


def own() -> dict[str, bytes]:
    calibration = {"symbols": symbols(9)[1:], "minima": np.zeros((8, 4), np.float16)}
    one = {"symbols": symbols(1), "minima": np.array([[-1, 0, 0.5, 2]], np.float16)}
    one["symbols"][0, 3, 2] = [900, -900, 0, 31, -32767]
    kinds: dict[str, CoderFit] = {"huffman": Huffman(), "rans": Rans(), "context": ContextCode()}
    found = {name: kind.fit((SPEC, SIDE), calibration).encode(one) for name, kind in kinds.items()}
    found["raw"] = RawCoder(specs=(SPEC, SIDE)).encode(one)
    for name, ids in tokens().items():
        coder = Integers().fit((TOKENS,), {"x": calibration_ids()})
        found[f"integers, {name}"] = coder.encode({"x": ids[None]})
    switch = SwitchCode(widths=(1, 2, 4), rate=2).fit((SPEC, RATE), calibration)
    for rate in range(3):
        found[f"switch, rate {rate}"] = switch.at(rate).encode({"symbols": one["symbols"]})
    multipliers = np.array([[0, 1, 2, 3], [4, 4, 3, 4], [4, 4, 4, 4]], np.int32) << (SHIFT - 2)
    bottleneck = BottleneckCode(multipliers=multipliers, offset=400_000, rate=2).fit((SPEC, RATE), calibration)
    for rate in range(3):
        found[f"bottleneck, rate {rate}"] = bottleneck.at(rate).encode({"symbols": one["symbols"]})
    found["trellis"] = trellis().encode({"x": (symbols(1) / 3).astype(np.float32)})
    found["container"] = pack([b"one", b"two"], codec_id=11, rate=3, plan_hash=bytes(range(8)))
    return found


def calibration_ids() -> Array:
    products = integers(2 * 24 * 16, 40).reshape(2, -1).prod(axis=0)
    return np.asarray(products // 30, np.int64).reshape(16, 24)


def tokens() -> dict[str, Array]:
    """Ids like those of the calibration set, some of them far outside; a ramp; and ids of one size."""
    codes = (integers(2 * 24, 40).reshape(2, -1).prod(axis=0) // 30).astype(np.int64)
    codes[3:6] = [-(2**63), 2**63 - 1, 70_000]
    return {"codes": codes, "differences": np.arange(1000, 1024), "plain": (integers(24, 52) | 32) % 52}


def trellis() -> TrellisCoder:
    indices = TensorSpec(name="indices", shape=FLOAT.shape, dtype="uint8", low=0, high=3, channel_axis=1)
    inner = HuffmanCoder(
        specs=(indices,), first=0, rows=np.zeros(4, np.int64), lengths=np.array([[3, 1, 2, 4, 4]], np.uint8)
    )
    levels = np.linspace(-2, 2, 8).astype(np.float32)
    return TrellisCoder(specs=(FLOAT,), levels=levels, inner=inner)


def third_party() -> dict[str, Coder]:
    return {
        "zstd": PackedCoder(specs=(TILES,), level=3),
        "tile-png": TileCoder(specs=(TILES,), kind="png"),
        "tile-webp": TileCoder(specs=(TILES,), kind="webp"),
    }


def golden() -> dict[str, str]:
    if REGENERATE:
        tiles = {"symbols": integers(60, 256).reshape(TILES.shape).astype(np.uint8)}
        found = {name: coder.encode(tiles) for name, coder in third_party().items()} | own()
        picture = integers(12 * 10 * 3, 256).reshape(12, 10, 3).astype(np.uint8)
        found |= {name: PICTURES[name].encode(picture, 0) for name in ("png", "jpeg", "webp")}
        text = {name: base64.b64encode(data).decode() for name, data in sorted(found.items())}
        GOLDEN.write_text(json.dumps(text, indent=1) + "\n")
    stored: dict[str, str] = json.loads(GOLDEN.read_text())
    return stored


@pytest.mark.parametrize("name", [*sorted(own())])
def test_our_payloads_are_the_same_bytes_as_ever(name: str) -> None:
    assert base64.b64encode(own()[name]).decode() == golden()[name]


@pytest.mark.parametrize("name", sorted(third_party()))
def test_third_party_payloads_can_still_be_read(name: str) -> None:
    decoded = third_party()[name].decode(base64.b64decode(golden()[name]))
    assert np.array_equal(decoded["symbols"].ravel(), integers(60, 256))


@pytest.mark.parametrize("name", ["png", "jpeg", "webp"])
def test_pictures_can_still_be_read(name: str) -> None:
    y = PICTURES[name].decode(base64.b64decode(golden()[name]), (12, 10))
    x = integers(12 * 10 * 3, 256).reshape(12, 10, 3)
    if name == "png":
        assert np.array_equal(x, y)
    assert np.abs(x - y.astype(int)).mean() < 75  # of noise at the lowest quality, 85 for unrelated noise


def test_the_logistic_tables_are_the_same_integers_everywhere() -> None:
    digest = hashlib.sha256(b"".join(table.astype("<i4").tobytes() for table in logistic())).hexdigest()
    assert digest == "920527771ef3913d48b16818a16fb059cd5b77b50196c7fd12e398c229a105db"
    stretch, squash = logistic()
    p = (np.arange(4096) + 0.5) / 4096
    inside = np.abs(np.log(p / (1 - p)) * 256) < 1800
    assert np.abs(stretch - np.log(p / (1 - p)) * 256)[inside].max() < 24  # the table's resolution at its ends
    assert np.abs(squash / 65536 - 1 / (1 + np.exp(-(np.arange(4096) - 2048) / 256))).max() < 3e-4
