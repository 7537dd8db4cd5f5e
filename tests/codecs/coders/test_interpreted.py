"""Every kernel as plain Python gives what it gives as machine code: loops that numba compiles cannot be traced."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from splitpoint.codecs.coders.context import ContextCode
from splitpoint.codecs.coders.huffman import Huffman
from splitpoint.codecs.coders.jit import Kernel
from splitpoint.codecs.coders.rans import Rans
from splitpoint.codecs.contract.preset import Layout
from splitpoint.codecs.contract.protocol import Context, TensorSpec
from splitpoint.codecs.lossy.trellis import Trellis

RNG = np.random.default_rng(5)
SPEC = TensorSpec(name="symbols", shape=(1, 3, 5, 4), dtype="int16", low=-200, high=200, channel_axis=1)
FLOATS = TensorSpec(name="x", shape=(1, 3, 5, 4), dtype="float32", channel_axis=1)


def interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    def call(self: Kernel[..., Any], *arguments: Any) -> Any:
        with np.errstate(over="ignore"):  # machine integers wrap without a word
            return self.interpreted()(*arguments)

    monkeypatch.setattr(Kernel, "__call__", call)


@pytest.mark.parametrize("make", [ContextCode, Huffman, Rans], ids=lambda make: make.__name__)
def test_lossless_coders(make: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    symbols = np.rint(RNG.laplace(scale=1.5, size=(30, 3, 5, 4))).astype(np.int16)
    coder = make().fit((SPEC,), {"symbols": symbols})
    x = symbols[:1].copy()
    x[0, 0, 0, :2] = (150, -150)  # beyond every table
    payload = coder.encode({"symbols": x})
    interpreted(monkeypatch)
    assert coder.encode({"symbols": x}) == payload
    assert np.array_equal(coder.decode(payload)["symbols"], x)


def test_the_trellis(monkeypatch: pytest.MonkeyPatch) -> None:
    values = RNG.normal(size=(30, 3, 5, 4)).astype(np.float32)
    trellis = Trellis(coder=Huffman(per_channel=False))
    coder = trellis.fit(FLOATS, values, Layout(axis=1), trellis.rates[1], Context())
    payload = coder.encode({"x": values[:1]})
    decoded = coder.decode(payload)["x"]
    interpreted(monkeypatch)
    assert coder.encode({"x": values[:1]}) == payload
    assert np.array_equal(coder.decode(payload)["x"], decoded)
