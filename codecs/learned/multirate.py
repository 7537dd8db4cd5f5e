"""What codecs and coders of several rates from one training have in common."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import numpy as np

from splitpoint.codecs.coders.layout import as_bytes
from splitpoint.codecs.contract.preset import check_request
from splitpoint.codecs.contract.protocol import (
    Array,
    Calibration,
    Codec,
    CodecError,
    Context,
    FitError,
    FittedCodec,
    MultiRateCoder,
    PayloadError,
    TrainingCost,
)

__all__ = ["Fitted", "checked_rate", "cost_note", "fit_rates", "rate_of", "refuses_map", "trained_once"]


def __dir__() -> list[str]:
    return __all__


class _Sized(Protocol):
    @property
    def size_bytes(self) -> int:
        """Of the memory that it takes."""
        ...


T = TypeVar("T", bound=_Sized)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Fitted:
    """What all rates of one tensor share."""

    encoder: bytes
    decoder: bytes
    coder: MultiRateCoder
    weight_bytes: int
    cost: TrainingCost
    notes: tuple[str, ...] = ()

    @property
    def size_bytes(self) -> int:
        """Of the memory that it takes."""
        tables = sum(array.nbytes for array in self.coder.arrays().values())
        return len(self.encoder) + len(self.decoder) + tables


class Train(Protocol):
    """Trains one tensor's codec for all rates; raises `FitError`."""

    def __call__(self, activations: Array, context: Context) -> Fitted:
        """`context` has a training."""
        ...


def refuses_map(name: str, shape: tuple[int, ...], dtype: str) -> str | None:
    """Why codec `name` cannot code such a tensor, which is to be a map of one input; None when it can."""
    if dtype != "float32":
        return f"{name} codes float32 tensors, not {dtype}"
    if len(shape) != 4 or shape[0] != 1 or 0 in shape:
        return f"{name} codes maps of one input (1, channels, height, width), not {shape}"
    return None


def fit_rates(
    codec: Codec, tensors: Sequence[Calibration], rates: Sequence[int], train: Train
) -> tuple[tuple[FittedCodec, ...], ...]:
    """`Codec.fit`: one training a tensor for all rates; what was trained is kept in the context's memo.

    Raises `FitError`, also without a training in the context.
    """
    return tuple(_fit_tensor(codec, tensor.activations, rates, tensor.context, train) for tensor in tensors)


def _fit_tensor(
    codec: Codec, activations: Array, rates: Sequence[int], context: Context, train: Train
) -> tuple[FittedCodec, ...]:
    fitted = trained_once(codec, activations, rates, context, train)
    return tuple(_at(codec, rate, (1, *activations.shape[1:]), fitted) for rate in rates)


def trained_once(
    codec: Codec, activations: Array, rates: Sequence[int], context: Context, train: Callable[[Array, Context], T]
) -> T:
    """What `train` gives, or the context's memo kept of it; raises `FitError`, also without a training."""
    for rate in rates:
        check_request(codec, activations, rate)
    if context.training is None:
        raise FitError(f"{codec.name} is trained, and no training was asked for")
    make = functools.partial(train, activations, context)
    return make() if context.memo is None else context.memo(("trained", codec), make, lambda made: made.size_bytes)


def _at(codec: Codec, rate: int, shape: tuple[int, ...], fitted: Fitted) -> FittedCodec:
    return FittedCodec(
        codec=codec.name,
        rate=rate,
        rate_label=codec.rates[rate].label,
        boundary=codec.boundary,
        shape=shape,
        encoder=fitted.encoder,
        decoder=fitted.decoder,
        coder=fitted.coder.at(rate),
        transform_key=hashlib.sha256(fitted.encoder + fitted.decoder).hexdigest()[:16],
        weight_bytes=fitted.weight_bytes,
        notes=(*fitted.notes, cost_note(fitted.cost)),
    )


def cost_note(cost: TrainingCost) -> str:
    """What a training took, for the notes of what it gave."""
    losses = ", ".join(f"{name} {value:.3g}" for name, value in cost.losses.items())
    loaded = f"; loaded from {cost.loaded}" if cost.loaded else ""
    return f"trained for {cost.steps:,} steps on {cost.images:,} images: {losses or 'no loss'}{loaded}"


def checked_rate(rate: int, rates: int) -> int:
    """A rate's index; raises `CodecError` where there is none."""
    if not isinstance(rate, int | np.integer) or not 0 <= rate < rates:
        raise CodecError(f"expected a rate of 0..{rates - 1}, got {rate!r}")
    return int(rate)


def rate_of(payload: bytes, rates: int, *, name: str) -> int:
    """The rate in the first byte of a payload of coder `name`; raises `PayloadError`."""
    data = as_bytes(payload)
    if not data:
        raise PayloadError(f"{name} payload: expected a rate and symbols, got 0 bytes")
    if data[0] >= rates:
        raise PayloadError(f"{name} payload: expected a rate of 0..{rates - 1}, got {data[0]}")
    return data[0]
