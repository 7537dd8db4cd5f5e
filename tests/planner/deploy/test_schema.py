"""plan.yaml of a stranger: what contradicts itself, or is no plan, is refused with its place."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from splitpoint import Plan
from splitpoint.planner.deploy.file_names import is_content, is_plan_file
from splitpoint.profiles.errors import ProfileError

Tree = dict[str, Any]


def written(folder: Path, change: Callable[[Tree], object]) -> Path:
    path = folder / "plan.yaml"
    tree = yaml.safe_load(path.read_text())
    change(tree)
    path.write_text(yaml.safe_dump(tree, sort_keys=False))
    return folder


def put(*path: str | int) -> Callable[[Any], Callable[[Tree], None]]:
    """`put("cut", "after")(value)` is a change of that field."""

    def to(value: Any) -> Callable[[Tree], None]:
        def change(tree: Tree) -> None:
            inner: Any = tree
            for key in path[:-1]:
                inner = inner[key]
            inner[path[-1]] = value

        return change

    return to


ROW = {"from_bit_s": 1.0, "to_bit_s": 2.0, "number": None, "what": None}
CASES: list[tuple[Callable[[Tree], object], str]] = [
    (put("cut")(None), "placement 'split' without a cut"),
    (put("placement")("device"), "placement 'device' with a cut"),
    (put("codec", "boundary")("picture"), "placement 'split' with a codec whose boundary is 'picture'"),
    (put("codec", "rate")(-1), r"\$\.codec\.rate"),
    (put("codec", "rate")(256), r"\$\.codec\.rate"),
    (put("codec", "id")(1000), r"\$\.codec\.id"),
    (put("cut", "tensors")([]), "a cut where nothing crosses"),
    (put("cut", "tensors", 0, "shape")([1, 0, 4]), "a cut where nothing crosses"),
    (put("cut", "tensors", 0, "shape")([1, -4]), r"\$\.cut\.tensors\[0\]\.shape"),
    (put("cut", "tensors", 0, "shape")([1 << 20, 1 << 20]), "has more than 268,435,456 elements"),
    (put("cut", "tensors", 0, "shape")("1x3"), "Expected `array`"),
    (put("cut", "tensors", 0, "dtype")("object"), r"matching regex"),
    (put("cut", "tensors", 0, "dtype")("V8"), r"matching regex"),
    (put("cut", "tensors", 0, "name")(""), r"\$\.cut\.tensors\[0\]\.name"),
    (put("files", "../../etc/passwd")("0" * 64), "no file of a plan directory"),
    (put("files", "/etc/passwd")("0" * 64), "no file of a plan directory"),
    (put("files", "points/1/codec.npz")("0" * 64), "no file of a plan directory"),
    (put("files", "head.onnx")("not a hash"), r"\$\.files"),
    (put("contents", "points/../../secret")("0" * 64), "no file of a plan directory"),
    (put("contents", "notes.txt")("0" * 64), "no file of a plan directory"),
    (put("external")({"other.onnx": "here"}), "no file of a plan directory"),
    (lambda tree: tree["files"].pop("codec.npz"), "placement 'split' with the files head.onnx, tail.onnx"),
    (put("files")({}), "placement 'split' with the files none"),
    (put("model", "inputs")([]), "a model with no inputs"),
    (put("model", "outputs")([]), "a model with no outputs"),
    (
        lambda tree: tree["model"]["outputs"].append(copy.deepcopy(tree["model"]["outputs"][0])),
        "equal names of outputs",
    ),
    (put("model", "inputs", 0, "shape")([1, 0, 16, 16]), "an input without elements"),
    (put("task", "outputs")(["other"]), "the task reads the output 'other'"),
    (put("point")(0), r"\$\.point"),
    (put("policy", 0, "to_bit_s")(1.0), "ends before it begins"),
    (put("policy")([ROW, ROW | {"from_bit_s": 3.0, "to_bit_s": 4.0}]), "a gap between two rows"),
    (put("point")(10**9), r"\$\.point"),
    (put("surprise")(1), "surprise"),
    (put("format")(4), "expected a plan format"),
    (put("format")("4.0.1"), "expected a plan format"),
    (put("format")(["4.0"]), "expected a plan format"),
    (put("input", "size")(10**9), "size must be 1 to"),
]


@pytest.mark.parametrize(("change", "message"), CASES, ids=[message for _, message in CASES])
def test_a_plan_that_contradicts_itself_is_refused(
    fixed_copy: Path, change: Callable[[Tree], object], message: str
) -> None:
    with pytest.raises(ProfileError, match=message) as caught:
        Plan.load(written(fixed_copy, change))
    assert "plan.yaml" in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["", "[1, 2]", "null", "format: '5.0'", "- a\n b: 1", "\x00", "format: " + "9" * 5000, "{" * 5000, "a: &a 1"],
)
def test_what_is_no_plan_is_refused(fixed_copy: Path, text: str) -> None:
    (fixed_copy / "plan.yaml").write_text(text)
    with pytest.raises(ProfileError, match=r"plan\.yaml"):
        Plan.load(fixed_copy)


@pytest.mark.parametrize("data", [b"\xff\xfe", b"\xef\xbb\xbf\x80", bytes(range(256))])
def test_bytes_that_are_no_text_are_refused(fixed_copy: Path, data: bytes) -> None:
    (fixed_copy / "plan.yaml").write_bytes(data)
    with pytest.raises(ProfileError, match=r"plan\.yaml"):
        Plan.load(fixed_copy)


def test_a_plan_file_has_a_bounded_size(fixed_copy: Path) -> None:
    path = fixed_copy / "plan.yaml"
    path.write_bytes(path.read_bytes() + b"#" * (1 << 20))
    with pytest.raises(ProfileError, match="more than 1,048,576 bytes"):
        Plan.load(fixed_copy)


def test_a_plan_file_has_a_bounded_number_of_values(fixed_copy: Path) -> None:
    path = fixed_copy / "plan.yaml"
    path.write_text(path.read_text() + "more: [" + "1, " * 10_000 + "1]\n")
    with pytest.raises(ProfileError, match="expected at most 10,000 values"):
        Plan.load(fixed_copy)


def test_names_of_a_plan_directory() -> None:
    assert all(map(is_plan_file, ("head.onnx", "tail.onnx", "codec.npz", "whole.onnx", "report-inputs.npz")))
    for name in ("config.yaml", "front.csv", "points/12/point.yaml", "points/1/encoder0.onnx", "variants/2/whole.onnx"):
        assert is_content(name)
        assert not is_plan_file(name)
    for name in (
        "plan.yaml",
        "./config.yaml",
        "points/0/point.yaml",
        "points/01/point.yaml",
        "points/123456/point.yaml",
        "points/1/../point.yaml",
        "points//point.yaml",
        "points/1/point.yaml\n",
        "points/1/head.onnx",
        "config.yaml/x",
        "variants/1/head.onnx",
        "points\\1\\point.yaml",
        "",
    ):
        assert not is_content(name), name
        assert not is_plan_file(name), name


def test_a_plan_of_format_5_2_is_loaded(fixed_copy: Path) -> None:
    """It has no intervals, and says nothing of what is not certain."""

    def older(tree: Tree) -> None:
        tree["format"] = "5.2"
        del tree["latency_interval"]
        del tree["answer"]["not_certain"]
        for other in tree["answer"]["instead"]:
            del other["faster_share"]

    assert Plan.load(fixed_copy).file.latency_interval is not None
    file = Plan.load(written(fixed_copy, older)).file
    assert file.latency_interval is None
    assert file.answer is not None
    assert file.answer.not_certain is None
