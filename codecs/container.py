"""The bitstream around payloads: which plan and codec wrote them, how long they are, and a checksum.

    bytes   field
    2       magic "sP"
    1       version (high half) and number of tensors (low half)
    1       codec id (registry.CODEC_IDS)
    1       rate index of this payload: a sender may change it from one payload to the next
    8       the plan's identity: first bytes of a hash of everything that changes the answer
    1-5     length of each payload: 7 bits a byte, low bits first, top bit set on all but the last byte
    ...     payloads
    4       CRC-32 of everything before, little-endian

At most 20 bytes around one payload of less than 2 MiB. Shapes are fixed by the plan and not repeated.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Sequence

from splitpoint.codecs.contract.protocol import CodecError, PayloadError

__all__ = ["MAX_TENSORS", "VERSION", "Frame", "pack", "unpack"]


def __dir__() -> list[str]:
    return __all__


MAGIC = b"sP"
VERSION = 2
MAX_TENSORS = 15
HASH_BYTES = 8
FIXED_BYTES = len(MAGIC) + 3 + HASH_BYTES
CRC_BYTES = 4
MAX_LENGTH_BYTES = 5


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Frame:
    """What both sides of one plan write around payloads and expect to find there."""

    codec_id: int
    rates: tuple[int, ...]  # those that the plan allows
    plan_hash: bytes
    count: int = 1  # payloads

    def pack(self, payloads: Sequence[bytes], rate: int) -> bytes:
        """As `pack`; raises `CodecError` for a rate that the plan does not have."""
        if rate not in self.rates:
            raise CodecError(f"rate {rate} is none of this plan's: {', '.join(map(str, self.rates))}")
        return pack(payloads, codec_id=self.codec_id, rate=rate, plan_hash=self.plan_hash)

    def unpack(self, data: bytes) -> tuple[int, list[bytes]]:
        """As `unpack`; raises `PayloadError` for a rate that the plan does not have, too."""
        rate, payloads = unpack(data, codec_id=self.codec_id, plan_hash=self.plan_hash, count=self.count)
        if rate not in self.rates:
            raise PayloadError(f"written at rate {rate}, this plan has {', '.join(map(str, self.rates))}")
        return rate, payloads


def pack(payloads: Sequence[bytes], *, codec_id: int, rate: int, plan_hash: bytes) -> bytes:
    """Join payloads; `plan_hash` is 8 bytes. Raises `CodecError` for what the fields cannot hold."""
    if not 1 <= len(payloads) <= MAX_TENSORS:
        raise CodecError(f"a bitstream holds 1 to {MAX_TENSORS} tensors, got {len(payloads)}")
    if not 0 <= codec_id <= 255 or not 0 <= rate <= 255 or len(plan_hash) != HASH_BYTES:
        raise CodecError(f"codec id {codec_id} and rate {rate} must be bytes, the plan's hash {HASH_BYTES} bytes")
    head = MAGIC + bytes([VERSION << 4 | len(payloads), codec_id, rate]) + plan_hash
    body = b"".join([head, *(_varint(len(payload)) for payload in payloads), *payloads])
    return body + zlib.crc32(body).to_bytes(CRC_BYTES, "little")


def unpack(data: bytes, *, codec_id: int, plan_hash: bytes, count: int) -> tuple[int, list[bytes]]:
    """The rate index and the `count` payloads; raises `PayloadError` that says what was wrong."""
    if not isinstance(data, bytes | bytearray | memoryview):
        raise PayloadError(f"expected a payload as bytes, got {type(data).__name__}")
    data = bytes(data)
    if len(data) < FIXED_BYTES + CRC_BYTES + 1:
        raise PayloadError(f"truncated: {len(data)} bytes, a bitstream has at least {FIXED_BYTES + CRC_BYTES + 1}")
    if data[:2] != MAGIC:
        raise PayloadError(f"not a splitpoint bitstream: it starts with {data[:2]!r}, expected {MAGIC!r}")
    lengths, at = _lengths(data, count)
    whole = at + sum(lengths) + CRC_BYTES
    body = data[:-CRC_BYTES]
    if zlib.crc32(body) != int.from_bytes(data[-CRC_BYTES:], "little"):
        if len(data) < whole:
            raise PayloadError(f"truncated: {len(data)} of {whole} bytes")
        raise PayloadError("damaged: the checksum does not match")
    if data[2] >> 4 != VERSION:
        raise PayloadError(f"bitstream version {data[2] >> 4}, expected {VERSION}: written by another splitpoint")
    if data[5:FIXED_BYTES] != plan_hash:
        got, want = data[5:FIXED_BYTES].hex(), plan_hash.hex()
        raise PayloadError(f"written for another plan: its hash is {got}, expected {want}; use the same plan directory")
    if data[3] != codec_id:
        raise PayloadError(f"written by codec {data[3]}, expected codec {codec_id}")
    if data[2] & 15 != count:
        raise PayloadError(f"{data[2] & 15} tensors, expected {count}")
    if len(data) != whole:
        raise PayloadError(f"{len(data)} bytes, the lengths inside say {whole}")
    payloads = []
    for length in lengths:
        payloads.append(data[at : at + length])
        at += length
    return data[4], payloads


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    if len(out) > MAX_LENGTH_BYTES:
        raise CodecError("a payload is limited to 32 GiB")
    return bytes(out)


def _lengths(data: bytes, count: int) -> tuple[list[int], int]:
    """Payload lengths and where the payloads start; damaged lengths read as far as they make sense."""
    lengths, at = [], FIXED_BYTES
    for _ in range(count):
        value = 0
        for shift in range(0, 7 * MAX_LENGTH_BYTES, 7):
            if at >= len(data) - CRC_BYTES:
                raise PayloadError(f"truncated: {len(data)} bytes end inside the header")
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                break
        else:
            raise PayloadError("damaged: a payload length does not end")
        lengths.append(value)
    return lengths, at
