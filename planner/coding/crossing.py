"""How each tensor of a cut is coded: by the candidate's codec, or without loss where that codec does not take it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from splitpoint.codecs.contract.protocol import Codec
from splitpoint.codecs.registry import REGISTRY
from splitpoint.profiles.network.model import Tensor

__all__ = ["FALLBACKS", "INTEGERS", "applies", "codec_of", "coded_shape"]


def __dir__() -> list[str]:
    return __all__


INTEGERS, OTHERS = "integers", "raw"
FALLBACKS = frozenset({INTEGERS, OTHERS})


def coded_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape in which codecs take a tensor: with a batch axis of 1, which states and vectors lack."""
    return shape if len(shape) > 1 and shape[0] == 1 else (1, *shape)


def codec_of(codec: Codec, tensor: Tensor) -> Codec:
    """`codec`, or where it refuses the tensor's type (token ids, masks beside activations) one without loss.

    A float32 tensor of a shape that the codec refuses is not sent at full size beside what it codes: then the codec is
    not for this cut.
    """
    refused = codec.refuses(coded_shape(tensor.shape), tensor.dtype) is not None
    if not refused or (tensor.dtype == "float32" and codec.name not in FALLBACKS):
        return codec
    return REGISTRY[INTEGERS if np.dtype(tensor.dtype).kind in "iub" else OTHERS]


def applies(codec: Codec, tensors: Iterable[Tensor]) -> bool:
    """Whether `codec` takes at least one of the tensors, and the others can be sent without loss beside it."""
    own = [(codec_of(codec, tensor), tensor) for tensor in tensors]
    refused = any(chosen.refuses(coded_shape(tensor.shape), tensor.dtype) for chosen, tensor in own)
    return not refused and any(chosen is codec for chosen, _ in own)
