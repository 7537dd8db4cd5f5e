"""Configurations of others: whatever is changed, each is read and checked or is one error; no code of theirs runs."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splitpoint.planner.setup.checks import check_config
from splitpoint.planner.setup.config import read_config
from splitpoint.planner.setup.trust import check_trusted, code_of_config
from splitpoint.profiles.files import yaml12
from splitpoint.tests.fuzz.target import Target
from splitpoint.tests.fuzz.text_changes import (
    EXAMPLES,
    attack,
    changed_bytes,
    changed_yaml,
    generator,
    outcome,
    scratch,
)

NAME = "configurations"
EXAMPLES_FOLDER = Path(__file__).parents[2] / "examples"
PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"
CORPUS = {
    "threads that crash": "model: net.onnx\ndata: {source: pictures}\nthreads: 100000",
    "200,000 aliases": "model: &a net.onnx\ndata: {source: pictures}\nobjectives: [" + "*a, " * 200_000 + "]",
    "deep flow": "model: " + "[" * 100_000,
    "deep mappings": "{a: " * 100_000,
    "escape codes": 'model: "\\e[2J\\e[1;32mALL PASSED"\ndata: {source: pictures}',
    "right to left": 'model: "\\u202exnno.ten"\ndata: {source: pictures}',
    "a zero byte in a path": 'model: "net\\0.onnx"\ndata: {source: pictures}',
    "half a surrogate pair": 'model: "\\ud800.onnx"\ndata: {source: pictures}',
    "no character": 'model: "\\UFFFFFFFF"',
    "an exponent of gigabytes": "model: net.onnx\ndata: {source: pictures}\ncache: 1e-999999999 B",
    "digits that float() refuses": "model: net.onnx\ndata: {source: pictures}\nneed: {deadline: 1__0 s}",
    "a seed beyond 32 bits": "model: net.onnx\ndata: {source: pictures}\nsearch: {seed: 4294967296}",
    "an enormous input": "model: net.onnx\ndata: {source: pictures}\ninput: {size: [16384, 16384]}",
    "an enormous shape": "model: net.onnx\ndata: {source: pictures}\nshapes: [99999, 99999]",
    "a ragged constant": "model: net.onnx\ndata: {source: pictures}\ninputs: {a: [1, [2]]}",
    "a name too long for a file": "model: net.onnx\ndata: {source: " + "9" * 400 + "}",
    "a member too long for a file": "model: net.onnx\ndata: {source: pictures}\nmetric: file.py:" + "f" * 400,
    "a device as a device": "model: net.onnx\ndata: {source: pictures}\ndevice: /dev/zero",
}


@dataclasses.dataclass(frozen=True)
class Case:
    """The bytes of a configuration."""

    data: bytes


@functools.cache
def originals() -> tuple[str, ...]:
    """Configurations that are read as they stand: those of examples/, and the page that shows every field."""
    page = PAGE.read_text(encoding="utf-8").partition("```yaml\n")[2].partition("```")[0]
    return (page, *(path.read_text(encoding="utf-8") for path in sorted(EXAMPLES_FOLDER.glob("*.yaml"))))


def make_case(index: int) -> Case:
    """The case of this number."""
    rng = generator(NAME, index)
    text = rng.choice(originals())
    if rng.random() < 0.5:
        return Case(changed_yaml(text, rng).encode("utf-8", "surrogatepass"))
    return Case(changed_bytes(text.encode(), rng, [other.encode() for other in originals()]))


def run_case(case: Case) -> str:
    """Read and check it in a folder with what the originals name."""
    return outcome(lambda: _read(case.data))


def _read(data: bytes) -> None:
    folder = scratch() / NAME
    if not folder.exists():
        for name in ("pictures", "train"):
            (folder / name).mkdir(parents=True)
        for name in ("digits.py", "photos.py", "net.py"):
            (folder / name).write_text("raise SystemExit('this code must not run')")
        for name in ("narrow.onnx", "net.onnx"):
            (folder / name).touch()
    path = folder / "config.yaml"
    path.write_bytes(data)
    config = read_config(path)
    code_of_config(config)
    check_trusted(str(path), config, trust_code=False)
    check_config(config)


TARGET = Target(name=NAME, run=lambda index: run_case(make_case(index)))


def test_changed_configurations_are_read_or_refused() -> None:
    counts = attack(TARGET)
    assert counts["accepted"] > EXAMPLES / 50  # the changes are not all so coarse that the first check ends them
    assert counts["refused"] > EXAMPLES / 10


def test_the_originals_are_read() -> None:
    assert [run_case(Case(text.encode())) for text in originals()] == ["accepted"] * len(originals())


@pytest.mark.parametrize("name", CORPUS)
def test_attacks_that_were_found(name: str) -> None:
    assert run_case(Case(CORPUS[name].encode())) == "refused"


trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


@given(trees)
@settings(max_examples=EXAMPLES, deadline=None)
def test_any_tree_is_read_or_refused(tree: object) -> None:
    base: dict[str, object] = {"model": "net.onnx", "data": {"source": "pictures"}}
    more = tree if isinstance(tree, dict) else {"inputs": tree}
    run_case(Case(yaml12.dump(base | more).encode("utf-8", "surrogatepass")))


@given(st.binary(max_size=300))
@settings(max_examples=EXAMPLES, deadline=None)
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    run_case(Case(data))
