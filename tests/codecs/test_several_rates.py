"""One fit for several tensors and several rates: the same codecs as one by one, the transform fitted once a tensor."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
import pytest

from splitpoint.codecs.contract.protocol import Array, Calibration, Context, FitError, fit_one
from splitpoint.codecs.registry import REGISTRY
from splitpoint.codecs.store import save_coders
from splitpoint.codecs.transforms.spectral import Spectral

RNG = np.random.default_rng(11)


def activations(channels: int) -> Array:
    return RNG.normal(size=(60, channels, 6, 6)).astype(np.float32)


FLOATS = [  # vector quantization needs more vectors than these activations have
    name
    for name, codec in REGISTRY.items()
    if name != "brito-vq"
    and codec.needs.isdisjoint({"layer", "training"})
    and codec.refuses((1, 4, 6, 6), "float32") is None
]


@pytest.mark.parametrize("name", FLOATS)
def test_one_fit_for_all_gives_what_one_by_one_gives(name: str) -> None:
    codec = REGISTRY[name]
    first = activations(4)
    tensors = [Calibration(activations=x, context=Context()) for x in (first, activations(5))]
    rates = sorted({0, len(codec.rates) // 2, len(codec.rates) - 1})
    together = codec.fit(tensors, rates)
    assert [[fitted.rate for fitted in row] for row in together] == [rates, rates]
    for tensor, row in zip(tensors, together, strict=True):
        for rate, fitted in zip(rates, row, strict=True):
            alone = fit_one(codec, tensor.activations, rate, tensor.context)
            assert (fitted.encoder, fitted.decoder) == (alone.encoder, alone.decoder)
            assert fitted.transform_key == alone.transform_key
            assert save_coders([fitted.coder]) == save_coders([alone.coder])


def test_the_transform_is_fitted_once_for_all_rates_and_presets(monkeypatch: pytest.MonkeyPatch) -> None:
    fits: list[int] = []
    original = Spectral.fit

    def counted(self: Spectral, x: Array, context: Context) -> Any:
        fits.append(1)
        return original(self, x, context)

    monkeypatch.setattr(Spectral, "fit", counted)
    kept: dict[Hashable, Any] = {}

    def memo(key: Hashable, make: Callable[[], Any], size: Callable[[Any], int]) -> Any:
        if key not in kept:
            kept[key] = make()
            assert size(kept[key]) > 0
        return kept[key]

    tensor = Calibration(activations=activations(4), context=Context(memo=memo))
    codec = REGISTRY["kltq-rans"]
    codec.fit([tensor], range(len(codec.rates)))
    assert len(fits) == 1
    codec.fit([tensor], [3])
    REGISTRY["kltq-ctx"].fit([tensor], [3])
    assert len(fits) == 1  # kept by the caller
    codec.fit([Calibration(activations=tensor.activations, context=Context())], [0, 1])
    assert len(fits) == 2  # nothing is kept anywhere else


def test_equal_transform_keys_mean_equal_graphs() -> None:
    tensor = Calibration(activations=activations(4), context=Context())
    (rans,) = REGISTRY["kltq-rans"].fit([tensor], [2, 5])
    ((context,),) = REGISTRY["kltq-ctx"].fit([tensor], [2])
    assert rans[0].transform_key == context.transform_key != rans[1].transform_key
    assert (rans[0].encoder, rans[0].decoder) == (context.encoder, context.decoder)


def test_one_bad_tensor_refuses_the_fit() -> None:
    bad = activations(4)
    bad[3, 1, 2, 2] = np.nan
    tensors = [Calibration(activations=x, context=Context()) for x in (activations(4), bad)]
    with pytest.raises(FitError, match="NaN"):
        REGISTRY["fast"].fit(tensors, [0])


def test_what_a_codec_wants_is_not_what_it_needs() -> None:
    assert REGISTRY["kltq-ctx"].wants == {"gradients"}
    assert REGISTRY["kltq-ctx"].needs == frozenset()
    assert REGISTRY["choi-tiles"].needs == {"layer"}
    assert REGISTRY["fast"].wants == REGISTRY["raw"].wants == frozenset()
