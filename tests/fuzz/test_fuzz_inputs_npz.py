"""Archives of inputs of others: each is refused, or gives arrays of the sizes that it has."""

from __future__ import annotations

import dataclasses
import functools
import io
import random
import struct
import warnings
import zipfile
from typing import Any

import numpy as np

from splitpoint.planner.samples.archive import read_arrays
from splitpoint.planner.samples.npz import load_npz
from splitpoint.profiles.network.inputs import InputSpec
from splitpoint.tests.fuzz.target import Target
from splitpoint.tests.fuzz.text_changes import EXAMPLES, attack, changed_bytes, generator, outcome

NAME = "npz of inputs"
LIMIT_BYTES = 2**24
SHAPES = (
    "(4,)",
    "(-1,)",
    "(10**9,)",
    "(4, 1000000000000)",
    "()",
    "(0, 99999999999)",
    "(4.0,)",
    "(True,)",
    "(" * 200,
    "4",
)
TYPES = (
    "'<f4'",
    "'|O'",
    "'<U0'",
    "'<U999999999'",
    "'|V9'",
    "[('a', '<f4')]",
    "('<f4', (9, 9))",
    "'>i8'",
    "'<c8'",
    "''",
)


@dataclasses.dataclass(frozen=True)
class Case:
    """The bytes of an archive."""

    data: bytes


@functools.cache
def entries() -> dict[str, bytes]:
    """An archive's .npy files by name."""
    rng = np.random.default_rng(0)
    arrays: dict[str, np.ndarray[Any, Any]] = {
        "x": rng.normal(size=(4, 3)).astype(np.float32),
        "y": np.arange(4),
        "group": np.array(list("aabb")),
    }
    found = {}
    for name, array in arrays.items():
        file = io.BytesIO()
        np.save(file, array)
        found[f"{name}.npy"] = file.getvalue()
    return found


def make_case(index: int) -> Case:
    """The case of this number: a changed archive, or an archive of changed files whose checksums are right."""
    rng = generator(NAME, index)
    packed = dict(entries())
    name = rng.choice(list(packed))
    kind = rng.randrange(4)
    if kind == 0:
        packed[name] = changed_bytes(packed[name], rng, list(packed.values()))
    elif kind == 1:
        packed[name] = _other_header(packed[name], rng)
    method = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archived, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a name that is there twice
        for entry, data in packed.items():
            archived.writestr(entry, data)
    data = file.getvalue()
    if kind == 2:
        return Case(changed_bytes(data, rng, [data]))
    return Case(_other_directory(data, rng) if kind == 3 else data)


def _other_header(data: bytes, rng: random.Random) -> bytes:
    text = f"{{'descr': {rng.choice(TYPES)}, 'fortran_order': {rng.random() < 0.5}, 'shape': {rng.choice(SHAPES)}, }}"
    return data[:8] + struct.pack("<H", len(text)) + text.encode() + data[128:]


def _other_directory(data: bytes, rng: random.Random) -> bytes:
    """An archive whose directory says something else of an entry, its sizes, its place, its flags or its checksum."""
    changed = bytearray(data)
    at = [i for i in range(len(data)) if data.startswith(b"PK\x01\x02", i)]
    field, width = rng.choice(((8, 2), (10, 2), (16, 4), (20, 4), (24, 4), (28, 2), (42, 4)))
    value = rng.choice((0, 1, 8, 12, 40, 2**16 - 1, rng.randrange(2**16), rng.randrange(2 ** (8 * width))))
    start = rng.choice(at) + field
    changed[start : start + width] = (value % 2 ** (8 * width)).to_bytes(width, "little")
    return bytes(changed)


def run_case(case: Case) -> str:
    """Read its arrays, then its samples."""
    return outcome(lambda: _use(case.data))


def _use(data: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy tells of headers that Python 2 wrote
        arrays = read_arrays(data, limit_bytes=LIMIT_BYTES)
        assert sum(array.nbytes for array in arrays.values()) <= LIMIT_BYTES
        dataset = load_npz(data, InputSpec(kind="tensor"), limit_bytes=LIMIT_BYTES)
    assert len(dataset) == len(arrays["x"])


TARGET = Target(name=NAME, run=lambda index: run_case(make_case(index)))


def test_changed_archives_are_read_or_refused() -> None:
    counts = attack(TARGET)
    assert min(counts.values()) > EXAMPLES / 60


def test_the_original_is_read() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archived:
        for entry, data in entries().items():
            archived.writestr(entry, data)
    assert run_case(Case(file.getvalue())) == "accepted"
