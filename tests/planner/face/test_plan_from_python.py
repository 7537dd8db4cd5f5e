"""Plans from Python: what may be given, what comes back, and that it is what the command line finds."""

from __future__ import annotations

import csv
import html
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from PIL import Image

import splitpoint
from splitpoint.planner.face.sources import named_data, named_model
from splitpoint.planner.samples.dataset import Sample
from splitpoint.planner.samples.readers import load_data
from splitpoint.planner.setup.checks import check_data_source, check_model_source
from splitpoint.planner.setup.inputs import load_source
from splitpoint.planner.setup.loading import load_problem
from splitpoint.profiles.network.inputs import InputSpec

SMALL: dict[str, Any] = {
    "device": "raspberry-pi-4",
    "server": "cloud-8core",
    "link": "lte-cat1",
    "input": {"kind": "image", "size": 16, "resize": "exact", "mean": 127.0, "std": 64.0},
    "need": {"max_drop": "50 %"},
    "search": {"codecs": ["fast"], "evaluations": 2},
    "threads": 1,
    "progress": False,
}


@pytest.fixture(scope="module")
def given(home: Path) -> dict[str, Any]:
    """Arguments with a stored profile: nothing of the network is timed."""
    return {**SMALL, "device": home / "slow.yaml", "profile": home / "fixed.yaml"}


@pytest.fixture(scope="module")
def found(home: Path, given: dict[str, Any]) -> splitpoint.PlanResult:
    arrays = np.load(home / "labelled.npz")
    return splitpoint.plan(home / "model.onnx", (arrays["x"], arrays["y"]), **given)


def test_a_result_has_the_answer_the_runner_ups_and_the_front(found: splitpoint.PlanResult) -> None:
    row = found.recommendation
    assert row is not None
    assert "recommended" in row.notes
    assert found.front[row.number - 1 if row.number else 0] == row  # a tuple of rows: pandas is not installed
    assert isinstance(found.front, tuple)
    assert {other.kind for other in found.runner_ups} <= {"device", "input", "split"}
    assert found.reason
    assert found.reason in found._repr_html_() or html.escape(found.reason) in found._repr_html_()
    assert "agreement" in repr(found) or row.metric in repr(found)


def test_every_measured_point_is_there_and_the_front_among_them(found: splitpoint.PlanResult) -> None:
    numbered = sorted((row for row in found.measured if row.number), key=lambda row: row.number or 0)
    assert [(row.number, row.cut, row.codec, row.rate, row.payload_bytes) for row in numbered] == [
        (row.number, row.cut, row.codec, row.rate, row.payload_bytes) for row in found.document.front
    ]
    assert len(found.measured) == len(found.result.points) == found.document.evaluated
    assert len(found.measured) > len(numbered)  # dominated ones too


def test_a_front_is_a_data_frame_where_pandas_is(found: splitpoint.PlanResult, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in, as pandas is not among the tests' dependencies: rows by name are what its constructor takes."""
    pandas = ModuleType("pandas")
    pandas.DataFrame = lambda rows: ("frame", rows)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pandas", pandas)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    kind, rows = found.front
    assert kind == "frame"
    assert [row["number"] for row in rows] == [row.number for row in found.document.front]


def test_a_saved_result_is_a_plan_directory_that_verifies(
    found: splitpoint.PlanResult, pictures: Any, tmp_path: Path
) -> None:
    plan = found.save(tmp_path / "plan")
    with (tmp_path / "plan" / "front.csv").open(encoding="utf-8") as file:
        assert next(csv.DictReader(file))["number"] == "1"
    payload = plan.head(pictures[0])
    assert np.asarray(plan.tail(payload)).shape == (1, 6)
    checked = splitpoint.verify(tmp_path / "plan")
    assert checked.count.failed == 0
    found.save(tmp_path / "plan")  # replaces it
    assert (tmp_path / "plan.1" / "plan.yaml").is_file()


def test_a_notebook_shows_the_answer_and_the_front_escaped(found: splitpoint.PlanResult) -> None:
    text = found._repr_html_()
    row = found.recommendation
    assert row is not None
    assert f"<td>{row.number} ★</td>" in text
    assert text.count("<tr>") == 1 + len(found.document.front)
    hostile = "<script>alert(1)</script>"
    front = tuple(msgspec.structs.replace(r, cut=hostile, codec=hostile) for r in found.document.front)
    changed = msgspec.structs.replace(found.document, front=front, need=hostile)
    shown = splitpoint.PlanResult(document=changed, result=found.result)._repr_html_()
    assert hostile not in shown
    assert html.escape(hostile) in shown


def test_a_configuration_whose_fields_are_changed(home: Path, given: dict[str, Any]) -> None:
    again = splitpoint.plan(
        home / "labelled.yaml", **{name: value for name, value in given.items() if name not in ("need", "input")}
    )
    assert again.result.problem.config.need.max_drop == 0.2  # the file's
    assert again.result.problem.config.link == "lte-cat1"
    assert again.recommendation is not None


@pytest.mark.parametrize("kind", ["array", "pair", "mapping", "function", "function of samples", "folder", "nothing"])
def test_whatever_holds_data_has_a_source(kind: str, pictures: Any, tmp_path: Path) -> None:
    samples = [Sample(name=str(i), picture=picture, group=str(i)) for i, picture in enumerate(pictures)]
    labels = np.arange(len(pictures)) % 6
    data: Any = {
        "array": pictures,
        "pair": (pictures, labels),
        "mapping": {"x": pictures, "group": labels},
        "function": lambda: (pictures, labels),
        "function of samples": lambda: samples,
        "folder": tmp_path,
        "nothing": None,
    }[kind]
    spec = msgspec.convert(SMALL["input"], InputSpec)
    with named_data(data) as source:
        if kind in ("folder", "nothing"):
            assert source == (str(tmp_path) if kind == "folder" else None)
            return
        assert source is not None
        dataset = load_data(source, spec)
        assert len(dataset) == len(pictures)
        assert (dataset.samples[3].label is not None) == (kind in ("pair", "function"))
        picture = dataset.samples[3].picture
        assert picture is not None
        assert np.array_equal(picture, pictures[3])
    assert not Path(source).exists()
    assert not [name for name in sys.modules if name.startswith("splitpoint_given")]


def test_whatever_is_a_model_has_a_source(home: Path) -> None:
    torch = pytest.importorskip("torch")
    path = home / "model.onnx"
    with named_model(path) as source:
        assert source == str(path)
    with named_model(onnx.load_model(path)) as source:
        assert load_source(source, None).macs == load_source(str(path), None).macs
        assert Path(source).name == "small.onnx"
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 3))
    with named_model(module) as source:
        assert source.endswith(":Sequential")
        assert load_source(source, (1, 3, 2, 2)).macs == 36
    with pytest.raises(splitpoint.ProfileError), named_model(module) as source:
        raise splitpoint.ProfileError("it ends however it ends")
    assert not [name for name in sys.modules if name.startswith("splitpoint_given")]


@pytest.mark.parametrize(
    ("model", "data", "said"),
    [
        ((), "plain.npz", "expected a model, got tuple"),
        ("model.onnx", 3, "expected data, got int"),
        ("model.onnx", None, "a model needs sample inputs"),
        ("missing.onnx", "plain.npz", "there is no such model file"),
        ("model.onnx", "missing.npz", "there are no data"),
    ],
)
def test_what_cannot_be_planned_is_said(
    model: Any, data: Any, said: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    with pytest.raises(splitpoint.ProfileError, match=said):
        splitpoint.plan(model, data, **SMALL)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"need": {"deadline": 55}}, "splitpoint.plan"),
        ({"seach": {}}, "search"),
        ({"link": "wfi-5"}, "wifi-5"),
    ],
)
def test_an_argument_that_is_wrong_is_named(changes: Any, said: str, home: Path) -> None:
    with pytest.raises(splitpoint.ProfileError, match=said):
        splitpoint.plan(home / "model.onnx", home / "plain.npz", **{**SMALL, **changes})


def test_a_result_without_an_answer_cannot_be_saved(home: Path, given: dict[str, Any], tmp_path: Path) -> None:
    found = splitpoint.plan(home / "model.onnx", home / "labelled.npz", **{**given, "need": {"deadline": "1 us"}})
    assert found.recommendation is None
    assert "would fit with" in found.reason
    assert "No candidate meets" in repr(found)
    with pytest.raises(splitpoint.ProfileError, match="there is no plan to write"):
        found.save(tmp_path / "plan")


def test_an_unknown_limit_of_what_if_is_named(split_plan: Path) -> None:
    with pytest.raises(splitpoint.ProfileError, match=r"unknown limit 'dedline'[\s\S]*deadline"):
        splitpoint.what_if(split_plan, dedline="5 ms")


def test_a_picture_is_coded_from_its_file(split_plan: Path, pictures: Any, tmp_path: Path) -> None:
    plan, file = splitpoint.Plan.load(split_plan), tmp_path / "photo.png"
    Image.fromarray(pictures[0]).save(file)
    picture = splitpoint.read_picture(file, plan.file.input)
    assert plan.head(file) == plan.head(str(file)) == plan.head(picture)
    with pytest.raises(splitpoint.PayloadError):
        plan.tail(b"not a payload")


def test_a_configuration_of_objects_says_that_their_program_has_ended(
    found: splitpoint.PlanResult, pictures: Any
) -> None:
    config = found.result.problem.config  # what config.yaml of a saved plan has
    with pytest.raises(splitpoint.ProfileError, match="the data of this plan came from a Python program") as refused:
        load_problem(config)
    assert refused.value.fix == "call splitpoint.plan there again; or write the data to a file and put its path here"
    torch = pytest.importorskip("torch")
    with named_model(torch.nn.Linear(1, 1)) as source:
        check_model_source(source)
    with pytest.raises(splitpoint.ProfileError, match="the model of this plan came from"):
        check_model_source(source, at="$.model")
    with named_data(pictures) as given:
        assert given is not None
        check_data_source(given)
    with pytest.raises(splitpoint.ProfileError, match="the data of this plan came from"):
        check_data_source(given)
