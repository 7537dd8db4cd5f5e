"""The lossless coders by name, for what is built on one of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from splitpoint.codecs.coders.context import ContextCoder
from splitpoint.codecs.coders.huffman import HuffmanCoder
from splitpoint.codecs.coders.integers import IntegerCoder
from splitpoint.codecs.coders.packed import PackedCoder
from splitpoint.codecs.coders.rans import RansCoder
from splitpoint.codecs.coders.raw import RawCoder
from splitpoint.codecs.contract.protocol import Array, CodecError, Coder, TensorSpec
from splitpoint.codecs.pictures.tiles import TileCoder

__all__ = ["LOSSLESS", "rebuild"]


def __dir__() -> list[str]:
    return __all__


LOSSLESS: Mapping[str, Any] = {
    "raw": RawCoder,
    "zstd": PackedCoder,
    "huffman": HuffmanCoder,
    "rans": RansCoder,
    "context": ContextCoder,
    "integers": IntegerCoder,
    "tile-png": TileCoder,
    "tile-webp": TileCoder,
    "tile-jxl": TileCoder,
}


def rebuild(
    kinds: Mapping[str, Any], name: object, specs: tuple[TensorSpec, ...], arrays: Mapping[str, Array]
) -> Coder:
    """The coder `name` of `kinds` from its stored arrays; raises `CodecError` for an unknown name or bad arrays."""
    kind = kinds.get(name) if isinstance(name, str) else None
    if kind is None:
        raise CodecError(f"unknown coder {str(name)[:64]!r}; known: {', '.join(sorted(kinds))}")
    try:
        coder: Coder = kind.from_arrays(specs, arrays)
    except KeyError as error:
        raise CodecError(f"coder {name!r} has no array {error}") from None
    if coder.name != name:
        raise CodecError(f"the stored coder is {coder.name!r}, its description says {name!r}")
    if unknown := sorted(set(arrays) - set(coder.arrays())):
        raise CodecError(f"coder {name!r} has no use for the array {unknown[0]!r}")
    return coder
