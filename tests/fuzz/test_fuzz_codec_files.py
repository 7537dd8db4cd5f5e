"""Mutated codec.npz files: `CodecError`, or coders whose decoders keep every promise.

Half of the cases damage the bytes; the others change a description or an array, or leave one out, and write a file
whose checksums are right.
"""

from __future__ import annotations

import functools
import json
import os
import random
from typing import Any

import numpy as np
import pytest

from splitpoint.codecs.contract.protocol import Array, CodecError, Coder, PayloadError
from splitpoint.codecs.npz import npz_bytes, read_npz
from splitpoint.codecs.store import MAX_BYTES, load_coders, save_coders
from splitpoint.tests.decoded import check_tensors
from splitpoint.tests.fuzz.mutations import mutate
from splitpoint.tests.fuzz.target import Target
from splitpoint.tests.fuzz.test_fuzz_presets import fitted

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "60")) // 4
PRESETS = {  # a preset of each coder
    **{"raw": "fp16", "zstd": "range-zstd", "huffman": "brito-sq", "rans": "fast", "context": "kltq-ctx"},
    **{
        "switch": "dynamic-switch",
        "bottleneck": "rate-bottleneck",
        "integers": "integers",
        "tile-png": "choi-tiles",
        "trellis": "brito-tcq",
        "lossy-tile-jpeg": "lossy-tiles-jpeg",
    },
}
HOSTILE: tuple[Any, ...] = (
    *(None, True, -1, 0, 1, 2**15, 2**28, 2**31, 2**63, 10**400, 1.5, float("nan"), float("inf"), "", "x", "float64"),
    *("rans", "object", [], [1], [0], [-1], [2**20, 2**20], [1] * 40, {}, {"a": []}, [[]]),
)
LARGEST = 1 << 14  # elements of tensors that are made here


@functools.cache
def subject_of(name: str) -> tuple[bytes, dict[str, Array], bytes]:
    """The file of a coder, its arrays, and a payload."""
    fit, x = fitted(PRESETS[name])
    generator = np.random.default_rng(0)
    tensors = {spec.name: _tensor(spec, generator) for spec in fit.coder.specs} if fit.encoder else {"x": x}
    data = save_coders([fit.coder])
    return data, read_npz(data, limit_bytes=MAX_BYTES), fit.coder.encode(tensors)


def run_case(name: str, case: int) -> str:
    """What became of a damaged codec.npz: "refused" or "accepted"; raises what should never be raised."""
    data, arrays, payload = subject_of(name)
    generator = random.Random(f"{name} {case}")
    broken = mutate(data, generator) if generator.random() < 0.5 else npz_bytes(_change(arrays, generator))
    try:
        coders = load_coders(broken)
    except CodecError:
        return "refused"
    for coder in coders:
        _use(coder, payload, generator)
    return "accepted"


def _use(coder: Coder, payload: bytes, generator: random.Random) -> None:
    for data in (payload, mutate(payload, generator), generator.randbytes(generator.randrange(60))):
        try:
            decoded = coder.decode(data)
        except PayloadError:
            continue
        check_tensors(coder.specs, decoded)
    if sum(spec.elements for spec in coder.specs) <= LARGEST:
        seeded = np.random.default_rng(0)
        tensors = {spec.name: _tensor(spec, seeded) for spec in coder.specs}
        try:
            decoded = coder.decode(coder.encode(tensors))
        except CodecError:
            return
        check_tensors(coder.specs, decoded)


def _tensor(spec: Any, generator: np.random.Generator) -> Array:
    if spec.low is None or spec.high is None:
        return np.asarray(generator.normal(size=spec.shape).astype(spec.dtype))
    low, high = max(spec.low, -20), min(spec.high, 20)
    low, high = (low, high) if low <= high else (spec.low, spec.low)
    return np.asarray(generator.integers(low, high + 1, spec.shape).astype(spec.dtype))


def _change(arrays: dict[str, Array], generator: random.Random) -> dict[str, Array]:
    changed = dict(arrays)
    name = generator.choice(sorted(arrays))
    kind = generator.randrange(8)
    if kind == 0:
        del changed[name]
    elif kind == 1:
        changed[generator.choice(("0.more", "1.about", "0.", ".about", "-1.about", "0.about.npy", "²"))] = changed[name]
    elif kind == 2:
        changed[name] = changed[generator.choice(sorted(arrays))]
    elif kind == 3:
        changed[name] = _reshaped(changed[name], generator)
    elif kind == 4:
        changed[name] = _revalued(changed[name], generator)
    else:
        changed["0.about"] = _described(arrays["0.about"], generator)
    return changed


def _reshaped(x: Array, generator: random.Random) -> Array:
    kind = generator.randrange(4)
    if kind == 0:
        return x.reshape(-1)[: generator.randrange(x.size + 1)]
    if kind == 1:
        return x.astype(generator.choice(("float64", "int64", "uint8", "int8", "bool", "complex128", "<U3")))
    return x[None] if kind == 2 else np.concatenate([x, x])


def _revalued(x: Array, generator: random.Random) -> Array:
    x = x.copy()
    flat = x.reshape(-1).view(np.uint8)
    for _ in range(generator.randint(1, 8) if flat.size else 0):
        flat[generator.randrange(flat.size)] = generator.choice((0, 1, 127, 128, 255, generator.randrange(256)))
    return x


def _described(about: Array, generator: random.Random) -> Array:
    description = json.loads(about.tobytes())
    places = [(description, key) for key in description]
    places += [(spec, key) for spec in description["specs"] for key in spec for _ in range(2)]
    inside, key = generator.choice(places)
    inside[key] = generator.choice(HOSTILE)
    if key == "shape" and generator.random() < 0.5:
        inside[key] = [generator.choice((1, 2, 8, 128, 2**14, 2**28)) for _ in range(generator.randint(1, 4))]
    text = json.dumps(description) if generator.random() < 0.95 else "[" * 100_000
    return np.frombuffer(text.encode(), np.uint8)


TARGETS = [Target(name=f"codec.npz/{name}", run=functools.partial(run_case, name)) for name in PRESETS]


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_mutated_codec_files_are_refused_or_keep_their_promises(target: Target) -> None:
    outcomes = [target.run(case) for case in range(EXAMPLES)]
    assert set(outcomes) <= {"refused", "accepted"}
    assert "refused" in outcomes


@pytest.mark.parametrize("name", PRESETS)
def test_the_unmutated_file_is_accepted(name: str) -> None:
    data, arrays, payload = subject_of(name)
    (coder,) = load_coders(data)
    assert save_coders([coder]) == npz_bytes(arrays) == data
    check_tensors(coder.specs, coder.decode(payload))
