"""Fitted codecs to bytes and back: what one stage or process gives another, every field checked."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Annotated

import msgspec

from splitpoint.codecs.contract.channel import SymbolChannel
from splitpoint.codecs.contract.protocol import Boundary, CodecError, FittedCodec
from splitpoint.codecs.store import load_coders, save_coders

__all__ = ["load_fitted", "save_fitted"]


def __dir__() -> list[str]:
    return __all__


FORMAT = 2


class _Stored(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    codec: str
    rate: Annotated[int, msgspec.Meta(ge=0, le=255)]
    rate_label: str
    boundary: Boundary
    shape: tuple[Annotated[int, msgspec.Meta(ge=1)], ...]
    encoder: bytes | None
    decoder: bytes | None
    coder: bytes  # as codec.npz holds it
    transform_key: str
    weight_bytes: Annotated[int, msgspec.Meta(ge=0)]
    channel: SymbolChannel | None
    notes: tuple[str, ...]


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    format: int
    sha256: bytes  # of `codecs`
    codecs: bytes


def save_fitted(fitted: Sequence[FittedCodec]) -> bytes:
    """The codecs of one cut as bytes; equal codecs give equal bytes."""
    rows = [
        _Stored(
            codec=codec.codec,
            rate=codec.rate,
            rate_label=codec.rate_label,
            boundary=codec.boundary,
            shape=codec.shape,
            encoder=codec.encoder,
            decoder=codec.decoder,
            coder=save_coders([codec.coder]),
            transform_key=codec.transform_key,
            weight_bytes=codec.weight_bytes,
            channel=codec.channel,
            notes=codec.notes,
        )
        for codec in fitted
    ]
    content = msgspec.msgpack.encode(rows)
    return msgspec.msgpack.encode(_File(format=FORMAT, sha256=hashlib.sha256(content).digest(), codecs=content))


def load_fitted(data: bytes) -> tuple[FittedCodec, ...]:
    """The codecs that `save_fitted` wrote; raises `CodecError` for anything else."""
    if not isinstance(data, bytes | bytearray | memoryview):
        raise CodecError(f"fitted codecs: expected bytes, got {type(data).__name__}")
    try:
        file = msgspec.msgpack.decode(data, type=_File)
        if file.format != FORMAT:
            raise CodecError(f"fitted codecs: format {file.format}, expected {FORMAT}")
        if hashlib.sha256(file.codecs).digest() != file.sha256:
            raise CodecError("fitted codecs: damaged, the hash does not match")
        rows = msgspec.msgpack.decode(file.codecs, type=list[_Stored])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise CodecError(f"fitted codecs cannot be read: {error}") from None
    return tuple(_fitted(row) for row in rows)


def _fitted(row: _Stored) -> FittedCodec:
    coders = load_coders(row.coder)
    if len(coders) != 1:
        raise CodecError(f"fitted codecs: {row.codec} has {len(coders)} coders, expected 1")
    return FittedCodec(
        codec=row.codec,
        rate=row.rate,
        rate_label=row.rate_label,
        boundary=row.boundary,
        shape=row.shape,
        encoder=row.encoder,
        decoder=row.decoder,
        coder=coders[0],
        transform_key=row.transform_key,
        weight_bytes=row.weight_bytes,
        channel=row.channel,
        notes=row.notes,
    )
