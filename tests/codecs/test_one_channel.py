"""Maps of one channel: every preset's symbols come back, whatever its transform makes of a single channel."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest

from splitpoint.codecs.contract.protocol import Context, fit_one
from splitpoint.codecs.registry import REGISTRY

SHAPE = (1700, 1, 8, 8)  # enough vectors for the largest codebook
CODECS = [
    name
    for name, codec in REGISTRY.items()
    if codec.boundary == "symbols" and not codec.needs and codec.refuses((1, *SHAPE[1:]), "float32") is None
]


@pytest.mark.parametrize("name", CODECS)
def test_symbols_of_one_channel_come_back(name: str) -> None:
    codec = REGISTRY[name]
    generator = np.random.default_rng(3)
    x = np.cumsum(generator.normal(size=SHAPE), axis=-1).astype(np.float32)
    for rate in (0, len(codec.rates) // 2, len(codec.rates) - 1):
        fitted = fit_one(codec, x, rate, Context())
        session = None if fitted.encoder is None else ort.InferenceSession(fitted.encoder)
        for row in x[:20]:
            symbols = {"x": row[None]}
            if session is not None:
                names = [output.name for output in session.get_outputs()]
                symbols = dict(zip(names, session.run(names, symbols), strict=True))
            decoded = fitted.coder.decode(fitted.coder.encode(symbols))
            for spec in fitted.coder.specs:
                np.testing.assert_array_equal(decoded[spec.name], symbols[spec.name])
