"""Fitted codecs that were written and read back: equal fields, graphs and payloads; damage is refused."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import msgspec
import numpy as np
import pytest

from splitpoint.codecs.contract.protocol import CodecError, Context, FittedCodec, fit_one
from splitpoint.codecs.fitted import load_fitted, save_fitted
from splitpoint.codecs.registry import REGISTRY
from splitpoint.tests.switches import CHANNEL, NoSteps

NAMES = [
    name
    for name, codec in REGISTRY.items()
    if name != "brito-vq" and "layer" not in codec.needs and codec.refuses((1, 4, 6, 6), "float32") is None
]
HASH = """
import hashlib, numpy as np
from splitpoint.codecs.contract.protocol import Context, fit_one
from splitpoint.codecs.fitted import save_fitted
from splitpoint.codecs.registry import REGISTRY
x = np.random.default_rng(3).normal(size=(40, 4, 6, 6)).astype(np.float32)
print(hashlib.sha256(save_fitted([fit_one(REGISTRY["kltq-ctx"], x, 4, Context())])).hexdigest())
"""


def fitted(name: str) -> tuple[FittedCodec, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    x = np.random.default_rng(3).normal(size=(40, 4, 6, 6)).astype(np.float32)
    codec = REGISTRY[name]
    return fit_one(codec, x, len(codec.rates) // 2, Context(training=NoSteps(), channel=CHANNEL)), x


@pytest.mark.parametrize("name", NAMES)
def test_a_codec_comes_back_as_it_was(name: str) -> None:
    codec, x = fitted(name)
    data = save_fitted([codec, codec])
    first, second = load_fitted(data)
    assert save_fitted([first, second]) == data
    for field in ("codec", "rate", "rate_label", "boundary", "shape", "encoder", "decoder", "notes", "weight_bytes"):
        assert getattr(first, field) == getattr(codec, field), field
    assert first.transform_key == codec.transform_key
    if codec.encoder is None:
        assert first.coder.encode({"x": x[:1]}) == codec.coder.encode({"x": x[:1]})


def test_the_same_fit_gives_the_same_bytes_in_another_process() -> None:
    done = subprocess.run([sys.executable, "-c", HASH], capture_output=True, text=True, check=True, timeout=200)
    assert done.stdout.strip() == hashlib.sha256(save_fitted([fitted_kltq()])).hexdigest()


def fitted_kltq() -> FittedCodec:
    x = np.random.default_rng(3).normal(size=(40, 4, 6, 6)).astype(np.float32)
    return fit_one(REGISTRY["kltq-ctx"], x, 4, Context())


def test_damage_is_refused() -> None:
    data = save_fitted([fitted("fast")[0]])
    for bad in (b"", data[:-1], data[: len(data) // 2], data + b"x", b"\xc0"):
        with pytest.raises(CodecError):
            load_fitted(bad)
    for at in range(0, len(data), max(1, len(data) // 50)):
        with pytest.raises(CodecError):
            load_fitted(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])


def test_another_format_is_refused() -> None:
    file = msgspec.msgpack.decode(save_fitted([fitted("fast")[0]]))
    with pytest.raises(CodecError, match="format 3, expected 2"):
        load_fitted(msgspec.msgpack.encode(file | {"format": 3}))
