"""Ways to damage bytes, chosen by a seeded generator: the same number gives the same damage."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable

from splitpoint.codecs.container import CRC_BYTES, FIXED_BYTES

EDGES = (0, 1, 127, 128, 254, 255)


def mutate(data: bytes, generator: random.Random) -> bytes:
    """`data` with 1 to 3 changes."""
    for _ in range(generator.choice((1, 1, 2, 3))):
        data = generator.choice(_CHANGES)(data, generator)
    return data


def change_length(data: bytes, generator: random.Random) -> bytes:
    """A bitstream whose payload lengths, or the number of payloads, are others."""
    broken = bytearray(data)
    at = generator.choice((2, FIXED_BYTES, FIXED_BYTES, FIXED_BYTES, FIXED_BYTES + 1))
    if generator.random() < 0.3:
        broken[at:at] = bytes([generator.choice(EDGES)])
    else:
        broken[at] = generator.choice((broken[at] ^ 0x80, broken[at] + 1 & 255, broken[at] - 1 & 255, 0, 255))
    return bytes(broken)


def seal(data: bytes) -> bytes:
    """A bitstream with its checksum made right again."""
    body = data[:-CRC_BYTES]
    return body + zlib.crc32(body).to_bytes(CRC_BYTES, "little")


def _flip(data: bytes, generator: random.Random) -> bytes:
    if not data:
        return data
    broken = bytearray(data)
    for _ in range(generator.randint(1, 8)):
        broken[generator.randrange(len(broken))] ^= 1 << generator.randrange(8)
    return bytes(broken)


def _overwrite(data: bytes, generator: random.Random) -> bytes:
    at, count = generator.randrange(len(data) + 1), generator.randint(1, 4)
    return data[:at] + bytes(generator.choice(EDGES) for _ in range(count)) + data[at + count :]


def _cut(data: bytes, generator: random.Random) -> bytes:
    return data[: generator.randrange(len(data) + 1)]


def _insert(data: bytes, generator: random.Random) -> bytes:
    at = generator.randrange(len(data) + 1)
    return data[:at] + generator.randbytes(generator.randint(1, 16)) + data[at:]


def _remove(data: bytes, generator: random.Random) -> bytes:
    at = generator.randrange(len(data) + 1)
    return data[:at] + data[at + generator.randint(1, 16) :]


def _repeat(data: bytes, generator: random.Random) -> bytes:
    at = generator.randrange(len(data) + 1)
    return data[:at] + data[at : at + generator.randint(1, 32)] * generator.choice((2, 3, 50)) + data[at:]


def _randomize_tail(data: bytes, generator: random.Random) -> bytes:
    at = generator.randrange(len(data) + 1)
    return data[:at] + generator.randbytes(len(data) - at)


_CHANGES: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    *(_flip, _flip, _overwrite, _cut, _insert, _remove, _repeat, _randomize_tail),
)
