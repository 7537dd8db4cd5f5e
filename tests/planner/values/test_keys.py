"""Content keys: the same in every process, different when any part differs, and equal only for equal results."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from splitpoint.codecs.contract.protocol import Context, Rate
from splitpoint.codecs.pictures.picture import PICTURES
from splitpoint.codecs.registry import REGISTRY
from splitpoint.planner.deploy.task import Task
from splitpoint.planner.values import keys
from splitpoint.planner.values.keys import (
    Runtime,
    activations_key,
    code_sha256,
    content_key,
    context_key,
    fitted_key,
    model_profile_key,
    outcomes_key,
    picture_key,
    runtime_on,
    sensitivities_key,
    timings_key,
)
from splitpoint.profiles.machine.machine import Machine, this_machine
from splitpoint.profiles.network.inputs import InputSpec
from splitpoint.tests.switches import CHANNEL, NoSteps, frozen_layer

RESULTS = Path(__file__).with_name("results_of_keys.py")
HASH_SEEDS = ("1", "2")

RUNTIME = Runtime(
    cpu="cpu",
    cpu_features=("avx2",),
    arch="x86_64",
    onnxruntime="1.20",
    provider="CPUExecutionProvider",
    optimization="ORT_ENABLE_ALL",
    threads=1,
    libraries=(("numpy", "2.0"), ("onnx", "1.17")),
    code_sha256="c0",
)
MACHINE = this_machine(threads=1)
BLOCK = InputSpec(size=16, mean=127.0, std=64.0)
FLOATS = np.arange(6, dtype=np.float32)
CONTEXT = Context(
    low=0.0,
    high=6.0,
    seed=3,
    labels=np.array([0, 1]),
    sensitivity=FLOATS[:3],
    gradients=FLOATS.reshape(1, 1, 2, 3),
    layer_input=FLOATS.reshape(1, 1, 3, 2),
    layer_weights={"weight": FLOATS, "bias": FLOATS[:1]},
    convolution=frozen_layer(2, 1),
    training=NoSteps(key="first"),
)
PROFILED: dict[str, Any] = {"model_sha256": "m", "machine": MACHINE, "code": "c"}
# Function of a kind -> its parts, and for each part another value.
KINDS: Mapping[Callable[..., str], tuple[dict[str, Any], dict[str, Any]]] = {
    activations_key: (
        {"model_sha256": "m", "input_block": BLOCK, "data_sha256": "d", "tensors": ["a", "b"], "runtime": RUNTIME},
        {"model_sha256": "n", "data_sha256": "e", "tensors": ["b", "a"]},
    ),
    sensitivities_key: (
        {
            "model_sha256": "m",
            "module_sha256": "",
            "input_block": BLOCK,
            "data_sha256": "d",
            "cuts": [["a"], ["b", "c"]],
            "seed": 0,
            "runtime": RUNTIME,
        },
        {"model_sha256": "n", "module_sha256": "t", "data_sha256": "e", "cuts": [["a", "b"], ["c"]], "seed": 1},
    ),
    fitted_key: (
        {
            "activations": "a",
            "rows": [0, 2],
            "codec": REGISTRY["fast"],
            "rates": [0, 1],
            "contexts": [context_key(CONTEXT)],
            "runtime": RUNTIME,
        },
        {
            "activations": "b",
            "rows": [0, 1],
            "codec": REGISTRY["uniform-zstd"],
            "rates": [0],
            "contexts": [context_key(CONTEXT)] * 2,
        },
    ),
    picture_key: (
        {"codec": PICTURES["jpeg"], "rate": 0, "runtime": RUNTIME},
        {"codec": PICTURES["jpeg-1of2"], "rate": 1},
    ),
    outcomes_key: (
        {
            "model_sha256": "m",
            "reference_sha256": "m",
            "coding": "f",
            "rate": 0,
            "input_block": BLOCK,
            "data_sha256": "d",
            "subset": "search",
            "task": Task(name="classify"),
            "against": "labels",
            "metric_sha256": "",
            "runtime": RUNTIME,
        },
        {
            "model_sha256": "n",
            "reference_sha256": "n",
            "coding": None,
            "rate": 1,
            "data_sha256": "e",
            "subset": "report",
            "task": Task(name="classify", top=2),
            "against": "unsplit",
            "metric_sha256": "a",
        },
    ),
    model_profile_key: (PROFILED, {"model_sha256": "n", "code": "d"}),
    timings_key: ({**PROFILED, "tensors": ["a"]}, {"model_sha256": "n", "code": "d", "tensors": ["b"]}),
}
BLOCK_CHANGES: Mapping[str, Any] = {
    "kind": "tensor",
    "size": 17,
    "resize": "exact",
    "crop": "none",
    "letterbox": 114,
    "letterbox_at": "corner",
    "resample": "bicubic",
    "color": "bgr",
    "scale": 255.0,
    "mean": 126.0,
    "std": 63.0,
    "layout": "nhwc",
    "dtype": "float16",
}
SHARED = ("input_block", "runtime", "machine")  # parts with fields of their own, each changed below


def kind_ids(kind: Any) -> str | None:
    return getattr(kind, "__name__", None)


@pytest.mark.parametrize("kind", KINDS, ids=kind_ids)
def test_every_part_is_changed_by_a_test(kind: Callable[..., str]) -> None:
    parts, changes = KINDS[kind]
    assert set(parts) == set(changes) | (set(parts) & set(SHARED))


@pytest.mark.parametrize(
    ("kind", "part"), [(kind, part) for kind, (_, changes) in KINDS.items() for part in changes], ids=kind_ids
)
def test_every_part_matters(kind: Callable[..., str], part: str) -> None:
    parts, changes = KINDS[kind]
    assert kind(**parts) == kind(**parts)
    assert kind(**{**parts, part: changes[part]}) != kind(**parts)


def changed(value: Any) -> Any:
    """Another value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, tuple):
        return (*value, *value) or ("new",)
    if isinstance(value, frozenset):
        return value ^ {"labels"}
    if value is None:
        return 1
    return f"{value}'" if isinstance(value, str) else value + 1


@pytest.mark.parametrize("field", Runtime.__struct_fields__)
@pytest.mark.parametrize("kind", [kind for kind, (parts, _) in KINDS.items() if "runtime" in parts], ids=kind_ids)
def test_every_field_of_the_runtime_matters(kind: Callable[..., str], field: str) -> None:
    parts, _ = KINDS[kind]
    other = msgspec.structs.replace(RUNTIME, **{field: changed(getattr(RUNTIME, field))})
    assert kind(**{**parts, "runtime": other}) != kind(**parts)


@pytest.mark.parametrize("field", InputSpec.__struct_fields__)
@pytest.mark.parametrize("kind", [kind for kind, (parts, _) in KINDS.items() if "input_block" in parts], ids=kind_ids)
def test_every_field_of_the_input_block_matters(kind: Callable[..., str], field: str) -> None:
    parts, _ = KINDS[kind]
    fields = msgspec.structs.asdict(BLOCK) | {field: BLOCK_CHANGES[field]}
    # The block checks that its fields fit each other; a key must tell them apart one by one.
    other = msgspec.defstruct("InputSpec", list(fields), frozen=True, module=InputSpec.__module__)
    same = other(**msgspec.structs.asdict(BLOCK))
    assert kind(**{**parts, "input_block": same}) == kind(**parts)
    assert kind(**{**parts, "input_block": other(**fields)}) != kind(**parts)


@pytest.mark.parametrize("kind", [model_profile_key, timings_key], ids=kind_ids)
def test_seconds_depend_on_what_makes_machines_comparable(kind: Callable[..., str]) -> None:
    parts, _ = KINDS[kind]
    matters = {
        field
        for field in Machine.__struct_fields__
        if kind(**{**parts, "machine": msgspec.structs.replace(MACHINE, **{field: changed(getattr(MACHINE, field))})})
        != kind(**parts)
    }
    assert matters == {"cpu", "onnxruntime", "threads", "provider", "precision", "optimization"}


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Context)])
def test_every_value_of_a_context_matters_and_its_tools_do_not(field: str) -> None:
    parts, _ = KINDS[fitted_key]
    values: dict[str, Any] = {
        "low": -1.0,
        "high": 5.0,
        "seed": 4,
        "labels": np.array([1, 0]),
        "sensitivity": None,
        "gradients": FLOATS.reshape(1, 1, 3, 2),  # the same numbers in another shape
        "layer_input": FLOATS.reshape(1, 1, 3, 2).astype(np.float64),  # in another type
        "layer_weights": {"weight": FLOATS[:1], "bias": FLOATS},
        "convolution": frozen_layer(2, 1, stride=2),
        "training": NoSteps(key="second"),
        "channel": CHANNEL,
        "trained_snr_db": (0.0, 20.0),
        "memo": lambda key, make, size: make(),
        "run": lambda model, feeds: {},
    }
    other = dataclasses.replace(CONTEXT, **{field: values[field]})
    equal = fitted_key(**{**parts, "contexts": [context_key(other)]}) == fitted_key(**parts)
    assert equal == (field in ("memo", "run"))


def definitions() -> list[tuple[str, str]]:
    """Path of every field of every registry entry: ("fast", "quantizer.bits")."""

    def below(value: Any) -> list[str]:
        paths = []
        for field in dataclasses.fields(value):
            inner = getattr(value, field.name)
            if dataclasses.is_dataclass(inner):  # one without fields is told apart by its class, see the next test
                paths += [f"{field.name}.{path}" for path in below(inner)]
            else:
                paths.append(field.name)
        return paths

    return [(name, path) for name, codec in REGISTRY.items() for path in below(codec)]


def with_change(value: Any, path: str) -> Any:
    """`value` with the field at `path` changed."""
    name, _, rest = path.partition(".")
    inner = getattr(value, name)
    return dataclasses.replace(value, **{name: with_change(inner, rest) if rest else changed(inner)})


@pytest.mark.parametrize(("name", "path"), definitions())
def test_every_field_of_a_codecs_definition_matters(name: str, path: str) -> None:
    parts, _ = KINDS[fitted_key]
    before = fitted_key(**{**parts, "codec": REGISTRY[name]})
    assert fitted_key(**{**parts, "codec": with_change(REGISTRY[name], path)}) != before


def test_all_codecs_have_different_keys() -> None:
    parts, _ = KINDS[fitted_key]
    bare = [dataclasses.replace(codec, name="same") for codec in REGISTRY.values()]  # type: ignore[type-var]
    assert len({fitted_key(**{**parts, "codec": codec}) for codec in bare}) == len(REGISTRY)
    pictures = [dataclasses.replace(codec, name="same") for codec in PICTURES.values()]
    assert len({picture_key(codec=codec, rate=0, runtime=RUNTIME) for codec in pictures}) == len(PICTURES)


def test_kinds_never_collide(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len({kind(**parts) for kind, (parts, _) in KINDS.items()}) == len(KINDS)
    assert content_key("a", x=1) != content_key("b", x=1)
    before = content_key("a", x=1)
    monkeypatch.setattr(keys, "KEY_SCHEMA", keys.KEY_SCHEMA + 1)
    assert content_key("a", x=1) != before


DIFFERENT: tuple[Any, ...] = (
    None,
    False,
    True,
    0,
    1,
    1.0,
    -0.0,
    0.0,
    0.1 + 0.2,
    0.3,
    float("inf"),
    float("nan"),
    10**30,
    "1",
    "",
    b"1",
    b"2",
    b"",
    (),
    (1,),
    (1, 1),
    ((1,), 1),
    ("int", "1"),
    frozenset(),
    frozenset({1}),
    {},
    {"1": 1},
    {"a": {"b": 1}},
    {"a": 1, "b": 2},
    {"a": 2, "b": 1},
    Fraction(1, 2),
    Fraction(1, 3),
    Rate(label="1", value=1.0),
    Rate(label="1", value=1),
    np.zeros((), np.float32),
    np.zeros(1, np.float32),
    np.zeros((1, 1), np.float32),
    np.zeros(1, np.float64),
    np.zeros(1, np.int32),
    np.zeros(1, np.dtype(">i4")),
    np.ones(1, np.int32),
    np.zeros((0, 2)),
    np.zeros((2, 0)),
)


def test_values_that_differ_in_type_or_content_have_different_keys() -> None:
    assert len({content_key("k", part=value) for value in DIFFERENT}) == len(DIFFERENT)


def test_order_and_memory_layout_do_not_matter() -> None:
    assert content_key("k", a=1, b=2) == content_key("k", b=2, a=1)
    assert content_key("k", a={"x": 1, "y": 2}) == content_key("k", a={"y": 2, "x": 1})
    assert content_key("k", a={"x", "y", "z"}) == content_key("k", a=frozenset(["z", "y", "x"]))
    square = np.arange(6, dtype=np.int64).reshape(2, 3)
    assert content_key("k", a=square) == content_key("k", a=np.asfortranarray(square))
    assert content_key("k", a=[1, 2]) == content_key("k", a=(1, 2))


def test_what_has_no_canonical_form_is_refused() -> None:
    class Plain:
        pass

    @dataclasses.dataclass
    class Changeable:
        x: int = 0

    for value in (Plain(), Changeable(), lambda: 0, [Plain()], Rate):
        with pytest.raises(TypeError, match="has no canonical form"):
            content_key("k", part=value)
    with pytest.raises(TypeError, match="object has no canonical bytes"):
        content_key("k", part=np.array([None]))
    with pytest.raises(TypeError, match="a mapping in a key has names, got int 1"):
        content_key("k", part={1: 2})


def test_the_text_behind_a_key() -> None:
    # The text is a format: when it changes, KEY_SCHEMA is raised.
    zeros = hashlib.sha256(bytes(8)).hexdigest()
    letters = ",".join(f'"\\"{letter}\\""' for letter in "abcdefgh")
    text = (
        '{"kind":"k","parts":{"a":["int","1"],"b":["float","0.5"],"c":"x","d":["list",[null,true]],'
        f'"e":["array","<i4",[2],"{zeros}"],"f":["set",[{letters}]]}},"schema":1}}'
    )
    known = content_key("k", f=set("hgfedcba"), e=np.zeros(2, "<i4"), d=(None, True), c="x", b=0.5, a=1)
    assert known == hashlib.sha256(text.encode()).hexdigest()


def test_the_runtime_is_this_processs() -> None:
    machine = this_machine(threads=3, optimization="ORT_ENABLE_BASIC")
    runtime = runtime_on(machine)
    assert (runtime.threads, runtime.optimization, runtime.cpu) == (3, "ORT_ENABLE_BASIC", machine.cpu)
    assert dict(runtime.libraries)["numpy"] == np.__version__
    assert runtime.cpu_features == tuple(sorted(set(runtime.cpu_features)))
    assert len(runtime.cpu_features) > 3
    assert runtime.code_sha256 == code_sha256()


def test_the_code_is_what_the_package_contains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    hashes = []
    for number, (name, text) in enumerate(
        [("a.py", "x = 1"), ("a.py", "x = 2"), ("b.py", "x = 2"), ("inner/__init__.py", ""), ("notes.txt", "y")]
    ):
        folder = tmp_path / f"package_{number}"
        (folder / name).parent.mkdir(parents=True)
        (folder / "__init__.py").write_text("")
        (folder / name).write_text(text)
        hashes.append(code_sha256(folder.name))
    assert len(set(hashes)) == len(hashes)
    (tmp_path / "package_0" / "notes.txt").write_text("not code")
    (tmp_path / "package_0" / "tests").mkdir()
    (tmp_path / "package_0" / "tests" / "c.py").write_text("not of the package: there is no __init__.py")
    code_sha256.cache_clear()
    assert code_sha256("package_0") == hashes[0]


def in_a_process(home: Path, hash_seed: str) -> dict[str, list[str]]:
    done = subprocess.run(
        [sys.executable, str(RESULTS), str(home)],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    results: dict[str, list[str]] = json.loads(done.stdout)
    return results


def test_equal_keys_mean_equal_results_in_two_processes(fixed_home: Path) -> None:
    first, second = (in_a_process(fixed_home, seed) for seed in HASH_SEEDS)
    assert {name: key for name, (key, _) in first.items()} == {name: key for name, (key, _) in second.items()}
    assert {key: result for key, result in first.values()} == {key: result for key, result in second.values()}
    assert len({key for key, _ in first.values()}) == len(first) == 24
