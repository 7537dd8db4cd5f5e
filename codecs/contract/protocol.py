"""What a codec is: transform -> quantizer -> entropy coder, each side of it existing once.

A `Codec` is fitted to calibration activations of one tensor or several, at one rate or several, and gives for each a
`FittedCodec`: two small ONNX graphs (encoder: tensor -> integer symbol tensors and side information; decoder: the
reverse) and a lossless `Coder` between symbols and bytes. Evaluation, export and the device all run
these same graphs; numpy versions exist only as test oracles.

Boundaries (what crosses from the ONNX graphs to the coder):

* ``symbols``         integer symbols and named side information; only the coder needs splitpoint.
* ``float32``         the raw tensor: codecs whose quantizer cannot be an ONNX graph (TCQ's Viterbi,
                      VQ search, lossy image tiles). Encoder and decoder graphs may be identities or transforms.
* ``channel_symbols`` real numbers of mean square 1 for a modulator; what arrives has the channel's noise. The coder
                      writes them for the modem, and on the other side reads what the modem received.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import nn

    from splitpoint.codecs.contract.channel import SymbolChannel
    from splitpoint.codecs.contract.frozen import FrozenLayer

__all__ = [
    "Array",
    "Boundary",
    "Calibration",
    "Codec",
    "CodecError",
    "Coder",
    "Context",
    "FitError",
    "FittedCodec",
    "GraphRunner",
    "LossName",
    "LossTerm",
    "Memo",
    "MultiRateCoder",
    "Need",
    "PayloadError",
    "Rate",
    "TensorSpec",
    "Training",
    "TrainingCost",
    "fit_one",
]


def __dir__() -> list[str]:
    return __all__


Array = NDArray[Any]
GraphRunner = Callable[[bytes, Mapping[str, Array]], dict[str, Array]]  # ONNX model, inputs -> outputs, whole batches
Boundary = Literal["symbols", "float32", "channel_symbols"]
# gradients: of the top logits, or else their sensitivity; training: of the codec's own module; layer: what makes the
# tensor, activations between included; convolution: the one that gives the tensor itself, before its activation;
# channel: a link that carries symbols at a known SNR
Need = Literal["labels", "gradients", "layer", "convolution", "training", "channel"]
LossName = Literal["cross-entropy", "distillation", "mse", "l1", "charbonnier", "rate"]
T = TypeVar("T")


class CodecError(ValueError):
    """A codec cannot do what it was asked; the text says what, where, got against expected, and the next step."""


class FitError(CodecError):
    """The activations cannot be fitted (NaN, infinity, a magnitude fp16 cannot hold, too few samples)."""


class PayloadError(CodecError):
    """The bytes are not a payload of this codec: damaged, truncated, or written for another plan."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class TensorSpec:
    """An integer (or raw) tensor between an encoder graph and its coder.

    `low` and `high` bound what a decoder may return, both included; a raw float tensor has neither.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str  # a numpy name: "uint8", "int32", "float16", ...
    low: int | None = None
    high: int | None = None
    channel_axis: int | None = None  # the axis along which statistics differ, when there is one
    group: int | None = None  # channels come in groups of this many (components of one spatial frequency after another)
    side: bool = False  # side information (ranges), not symbols

    @property
    def elements(self) -> int:
        """Number of scalars."""
        return int(np.prod(self.shape, dtype=np.int64))


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Rate:
    """One operating point of a codec, coarsest first in `Codec.rates`; `label` is what tables print ("4 bit")."""

    label: str
    value: float  # bits, quality, step: whatever orders this codec's points


class Memo(Protocol):
    """Where a fit keeps what other rates and presets at the same tensor use again; it belongs to the caller."""

    def __call__(self, key: Hashable, make: Callable[[], T], size: Callable[[T], int]) -> T:
        """The value of `key`, made now unless it is kept; `size` gives its bytes."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class LossTerm:
    """One term of a training loss.

    distillation: from the unsplit network's answers; mse, l1, charbonnier: between the tensor and its copy, relative to
    the tensor's deviation; rate: what the module counts for bits and, where it wants to, for the error of its copies.
    """

    name: LossName
    weight: float = 1.0


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class TrainingCost:
    """What a training took, and the losses at its end by name, each without its weight."""

    steps: int
    images: int  # seen, repetitions counted
    losses: Mapping[str, float]
    loaded: str = ""  # from which file, where it was trained elsewhere


class Training(Protocol):
    """Trains a codec's module at one tensor of a network; data, network, optimizer and limits belong to the caller."""

    @property
    def key(self) -> str:
        """A text that differs for trainings that give different weights: data, network, steps, optimizer, seed."""
        ...

    def __call__(
        self,
        module: nn.Module,
        *,
        rates: int,
        losses: Sequence[LossTerm],
        first: Sequence[LossTerm] = (),
        codec: str = "",
    ) -> TrainingCost:
        """Train `module` in place at all `rates` together, for the sum of `losses`; raises `FitError`.

        Where there are terms `first`, it is trained for their sum before, for a part of the time. A `codec` by name may
        also be loaded from where it was trained before.

        ``module(x, rate)`` takes tensors (N, C, H, W) float32 and a rate's index, and gives copies of them. For the
        term "rate", ``module.coded(x, rate)`` gives the same copies and a scalar, the mean over the N tensors. Where
        there is ``module.activated(y)``, what the tail makes of a tensor first, terms of the tensor compare that.
        """
        ...


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Context:
    """What `fit` may know beside the activations; see `Codec.needs` and `Codec.wants`."""

    low: float = -np.inf  # range the activation is known to have (ReLU: 0; ReLU6: 0..6)
    high: float = np.inf
    seed: int = 0
    labels: Array | None = None  # (N,) int64
    sensitivity: Array | None = None  # (C,) diagonal or (C, C): E[J^T J] of the top logits per channel
    gradients: Array | None = None  # (M, C, H, W) of the top logits at calibration inputs; tells frequencies apart too
    memo: Memo | None = None  # of this tensor with these activations; None: nothing is kept between fits
    run: GraphRunner | None = None  # runs fit-time graphs; None: onnx's reference evaluator, many times slower
    layer_input: Array | None = None  # (N, Q, H', W') input of the layer or convolution that makes the tensor
    layer_weights: Mapping[str, Array] = dataclasses.field(default_factory=dict)
    convolution: FrozenLayer | None = None  # that gives the tensor
    training: Training | None = None  # of this tensor; None: no training was asked for
    channel: SymbolChannel | None = None  # of the link; None: it carries bits, and no SNR is known
    trained_snr_db: tuple[float, float] | None = None  # an SNR for training is drawn from; None: the channel's own


@runtime_checkable
class Coder(Protocol):
    """Lossless (boundary ``symbols``) or lossy (``float32``) bytes for named tensors; a pure function of its tables.

    `decode(encode(t))` gives equal tensors for ``symbols``. Decoding is integer-only and bounded in time and memory:
    any bytes give tensors of the specified shapes with symbols in range, or `PayloadError`.
    """

    @property
    def name(self) -> str:
        """Name in `splitpoint.codecs.store.CODERS`, under which its seconds a symbol are measured."""
        ...

    @property
    def specs(self) -> tuple[TensorSpec, ...]:
        """The tensors that `encode` takes and `decode` gives, in payload order."""
        ...

    def encode(self, tensors: Mapping[str, Array]) -> bytes:
        """Code the tensors named in `specs`; raises `CodecError` when one is missing or has another shape."""
        ...

    def decode(self, payload: bytes) -> dict[str, Array]:
        """Give the tensors back; raises `PayloadError`."""
        ...

    def arrays(self) -> dict[str, Array]:
        """Tables for codec.npz; `splitpoint.codecs.load` rebuilds the coder from them."""
        ...


@runtime_checkable
class MultiRateCoder(Coder, Protocol):
    """A coder whose tables serve every rate of its codec; a payload says at which one it was written.

    The encoder graph's symbols serve all rates. At a coarse rate it codes a part of them, or coarser ones that it
    makes of them with integers: `decode(encode(t))` gives `kept(t)`. Its rate is a tensor of `specs` too, which
    `decode` gives for the decoder graph and no encoder graph has.
    """

    @property
    def encoded(self) -> tuple[TensorSpec, ...]:
        """The tensors of `specs` that `encode` takes: the encoder graph's."""
        ...

    @property
    def rate(self) -> int:
        """The rate at which `encode` writes; `decode` reads all."""
        ...

    @property
    def rates(self) -> int:
        """How many there are, 0 the coarsest."""
        ...

    @property
    def symbols(self) -> int:
        """How many symbols a payload of `rate` codes."""
        ...

    def kept(self, tensors: Mapping[str, Array]) -> dict[str, Array]:
        """The tensors of `encoded` as a payload of `rate` has them: coarser, or zeros where it leaves symbols out."""
        ...

    def rate_of(self, payload: bytes) -> int:
        """The rate at which a payload was written; raises `PayloadError`."""
        ...

    def at(self, rate: int) -> MultiRateCoder:
        """The same tables, written at another rate; raises `CodecError` where there is none."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class FittedCodec:
    """A codec fitted to one tensor at one rate.

    The encoder graph has one input ``x`` (float32, `shape`, batch axis 1 included) and the outputs named in
    `coder.specs` (a `MultiRateCoder`'s: in `encoded`); the decoder graph has the inputs named in `coder.specs` and the
    output ``y`` of `shape`. ``None`` means identity: the coder takes and gives a tensor named ``x``.
    """

    codec: str  # name in the registry
    rate: int  # index into Codec.rates
    rate_label: str
    boundary: Boundary
    shape: tuple[int, ...]
    encoder: bytes | None  # serialized ONNX ModelProto
    decoder: bytes | None
    coder: Coder
    transform_key: str  # equal keys at one tensor mean equal encoder and decoder graphs: symbols can be shared
    weight_bytes: int = 0  # initializers that the two graphs add to head and tail
    channel: SymbolChannel | None = None  # over which symbols are sent; None: bits are
    notes: tuple[str, ...] = ()  # what a user should know of this fit, one sentence each


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Calibration:
    """What a codec is fitted to at one tensor."""

    activations: Array  # (N, C, H, W) or (N, ...), float32 unless the codec takes others
    context: Context


class Codec(Protocol):
    """One preset: a named transform x quantizer x coder with its operating points."""

    @property
    def name(self) -> str:
        """Name in the registry."""
        ...

    @property
    def rates(self) -> tuple[Rate, ...]:
        """Operating points, coarsest (fewest bits) first."""
        ...

    @property
    def boundary(self) -> Boundary:
        """What crosses between the graphs and the coder."""
        ...

    @property
    def needs(self) -> frozenset[Need]:
        """What `Context` must hold for `fit`."""
        ...

    @property
    def wants(self) -> frozenset[Need]:
        """What `fit` uses where `Context` holds it, and does without where it does not."""
        ...

    def refuses(self, shape: tuple[int, ...], dtype: str) -> str | None:
        """Why this codec cannot code such a tensor, or None when it can."""
        ...

    def fit(self, tensors: Sequence[Calibration], rates: Sequence[int]) -> tuple[tuple[FittedCodec, ...], ...]:
        """Fit to one tensor or several (of one cut or of several) at one rate or several; result[tensor][rate].

        What does not depend on the rate is estimated once a tensor. Raises `FitError` (NaN and infinity by name).
        """
        ...


def fit_one(codec: Codec, activations: Array, rate: int, context: Context) -> FittedCodec:
    """`codec` fitted to the activations (N, ...) of one tensor at one rate; raises `FitError`."""
    ((fitted,),) = codec.fit([Calibration(activations=activations, context=context)], [rate])
    return fitted
