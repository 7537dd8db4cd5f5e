"""How each tensor of a cut is coded: by the candidate's codec, or without loss where that codec does not take it."""

from __future__ import annotations

import math
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
    """The shape in which codecs take a tensor: with a batch axis of 1, which states, vectors and scalars lack."""
    return shape if len(shape) > 1 and shape[0] == 1 else (1, *(shape or (1,)))


def codec_of(codec: Codec, tensor: Tensor) -> Codec:
    """`codec`, or where it refuses the tensor (token ids, masks, states beside activations) one without loss."""
    if codec.refuses(coded_shape(tensor.shape), tensor.dtype) is None:
        return codec
    return REGISTRY[INTEGERS if np.dtype(tensor.dtype).kind in "iub" else OTHERS]


def applies(codec: Codec, tensors: Iterable[Tensor]) -> bool:
    """Whether `codec` is for a cut of these tensors: it takes most of the values, but for integers.

    Numbers that it does not take go at their full size, which is no use of a codec where they are the most.
    """
    taken = left = 0
    for tensor in tensors:
        chosen = codec_of(codec, tensor)
        if chosen.refuses(coded_shape(tensor.shape), tensor.dtype) is not None:
            return False
        if chosen is codec:
            taken += math.prod(tensor.shape)
        elif chosen.name == OTHERS and codec.name not in FALLBACKS:
            left += math.prod(tensor.shape)
    return taken > left
