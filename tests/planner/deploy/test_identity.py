"""The bytes that tie a payload to its plan change with everything that changes the answer, and with nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from splitpoint.planner.deploy.identity import plan_identity
from splitpoint.planner.deploy.plan import Plan
from splitpoint.planner.deploy.schema import IOTensor, PlanFile
from splitpoint.profiles.files.structs import decode_yaml, dump_yaml
from splitpoint.profiles.network.inputs import InputSpec

replace: Callable[..., Any] = msgspec.structs.replace


@pytest.fixture(scope="module")
def file(fixed_plan: Path) -> PlanFile:
    return Plan.load(fixed_plan).file


CHANGES: dict[str, Callable[[PlanFile], PlanFile]] = {
    "head.onnx": lambda file: replace(file, files=file.files | {"head.onnx": "0" * 64}),
    "tail.onnx": lambda file: replace(file, files=file.files | {"tail.onnx": "0" * 64}),
    "codec.npz": lambda file: replace(file, files=file.files | {"codec.npz": "0" * 64}),
    "scale": lambda file: replace(file, input=replace(file.input, scale=file.input.scale * 2)),
    "colours": lambda file: replace(file, input=replace(file.input, color="bgr")),
    "mean": lambda file: replace(file, input=replace(file.input, mean=(1.0, 2.0, 3.0))),
    "crop": lambda file: replace(file, input=replace(file.input, crop="none")),
    "resampling": lambda file: replace(file, input=replace(file.input, resample="nearest")),
    "codec": lambda file: replace(file, codec=replace(file.codec, id=file.codec.id + 1)),
    "boundary": lambda file: replace(file, codec=replace(file.codec, boundary="float32")),
    "cut": lambda file: replace(
        file, cut=replace(file.cut, tensors=(IOTensor(name="other", shape=(1, 2), dtype="float32"),))
    ),
    "output": lambda file: replace(
        file, model=replace(file.model, outputs=(replace(file.model.outputs[0], name="other"),))
    ),
    "input": lambda file: replace(file, model=replace(file.model, inputs=(replace(file.model.inputs[0], name="z"),))),
}


@pytest.mark.parametrize("name", sorted(CHANGES))
def test_what_changes_the_answer_changes_the_identity(file: PlanFile, name: str) -> None:
    assert plan_identity(CHANGES[name](replace(file, task=replace(file.task, outputs=())))) != plan_identity(file)


@pytest.mark.parametrize(
    "change",
    [
        {"created": "2031-01-01"},
        {"point": 77},
        {"report": None},
        {"contents": {}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_does_not_change_the_answer_keeps_the_identity(file: PlanFile, change: dict[str, Any]) -> None:
    assert plan_identity(replace(file, **change)) == plan_identity(file)


def test_the_rate_and_unused_files_keep_the_identity(file: PlanFile) -> None:
    """The payload says its rate; whole.onnx is for verify."""
    assert plan_identity(replace(file, codec=replace(file.codec, rate=file.codec.rate + 1))) == plan_identity(file)
    assert plan_identity(replace(file, files=file.files | {"whole.onnx": "0" * 64})) == plan_identity(file)


def test_it_is_the_same_after_writing_and_reading(file: PlanFile) -> None:
    again = decode_yaml(dump_yaml(file), PlanFile, where="plan.yaml")
    assert plan_identity(again) == plan_identity(file)


def test_it_is_the_same_bytes_as_ever(file: PlanFile) -> None:
    """Another value here means that devices and servers with plans of this format no longer understand each other."""
    tensor = IOTensor(name="r1", shape=(1, 12, 4, 4), dtype="float32")
    fixed = replace(
        file,
        files={name: "1" * 64 for name in ("head.onnx", "tail.onnx", "codec.npz")},
        contents={},
        cut=replace(file.cut, tensors=(tensor,)),
        codec=replace(file.codec, name="fast", id=7, boundary="symbols"),
    )
    assert plan_identity(fixed).hex() == "c8a3111a1933c45a"


def test_a_field_with_its_default_is_left_out(file: PlanFile) -> None:
    """So a later version that adds a field gives the plans of today the same identity."""

    class Longer(InputSpec, frozen=True, kw_only=True):
        gamma: float = 1.0

    fields = {name: getattr(file.input, name) for name in file.input.__struct_fields__}
    assert plan_identity(replace(file, input=Longer(**fields))) == plan_identity(file)
    assert plan_identity(replace(file, input=Longer(**fields, gamma=2.2))) != plan_identity(file)
