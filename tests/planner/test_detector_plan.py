"""A detector planned from the command line, with labels and without, and codecs that destroy its boxes, refused.

The network (tests/detector.py) is written down, not trained; what destroys the boxes is put behind the tail, so that
the figures come through payload bytes.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import numpy as np
import pytest

from splitpoint.codecs.contract.protocol import Array
from splitpoint.planner.coding.runs import NetworkRuns
from splitpoint.planner.cuts.enumeration import enumerate_cuts
from splitpoint.planner.deploy.plan import Plan
from splitpoint.planner.deploy.schema import PlanFile
from splitpoint.planner.deploy.task import Task
from splitpoint.planner.flow import plan
from splitpoint.planner.networks.variants import make_variants
from splitpoint.planner.plandir.writing import write_plan
from splitpoint.planner.quality.detection import coco
from splitpoint.planner.quality.evaluate import Evaluator
from splitpoint.planner.quality.metrics.detect import MAP_50, MAP_ALL
from splitpoint.planner.quality.observe import relative_error
from splitpoint.planner.samples.dataset import NetworkInputs
from splitpoint.planner.search.decide import misses_quality
from splitpoint.planner.search.result import SearchResult
from splitpoint.planner.setup.config import DataConfig, OtherModel, PlanConfig, SearchConfig
from splitpoint.planner.setup.loading import load_problem
from splitpoint.planner.values.cut import Cut
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.files.structs import read_yaml, write_yaml
from splitpoint.profiles.library.catalog import load_device
from splitpoint.profiles.measurement.model_profile import ModelProfile
from splitpoint.profiles.network.graph import load_graph
from splitpoint.profiles.network.inputs import InputSpec
from splitpoint.profiles.network.model import ModelGraph

Run = Callable[..., tuple[int, str, str]]
CODECS = ("raw", "fp16", "brito-sq", "uniform-zstd", "range-rans")
TASK = Task(name="detect", decode="yolov8")
FLAGS = ("--task", "detect", "--decode", "yolov8")


@pytest.fixture(scope="module")
def detector() -> ModuleType:
    name = "splitpoint_tests_detector"
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parents[1] / "detector.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def folder(
    detector: ModuleType, make_profile: Callable[[ModelGraph], ModelProfile], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """What tests/detector.py fills, with profile.yaml, slow.yaml (a device) and configurations."""
    home = tmp_path_factory.mktemp("squares")
    detector.fill(home)
    device = load_device("raspberry-pi-4")
    slow = msgspec.structs.replace(device.compute, dense_macs_s=1e5)
    write_yaml(home / "slow.yaml", msgspec.structs.replace(device, name="slow", compute=slow))
    write_yaml(home / "profile.yaml", make_profile(load_graph((home / "model.onnx").read_bytes(), name="model")))
    for name, data in (("plain", "plain"), ("labelled", "data")):
        config = PlanConfig(
            model="model.onnx",
            input=InputSpec(size=64, letterbox=114),
            data=DataConfig(source=data),
            device="slow.yaml",
            server="cloud-8core",
            link="lte-cat1",
            search=SearchConfig(evaluations=24, codecs=CODECS),
            threads=1,
        )
        write_yaml(home / f"{name}.yaml", config)
    return home


def configured(folder: Path, name: str, **changes: Any) -> PlanConfig:
    """The configuration with absolute paths and the task."""
    config = read_yaml(folder / f"{name}.yaml", PlanConfig)
    paths = {"model": str(folder / "model.onnx"), "device": str(folder / "slow.yaml")}
    data = DataConfig(source=str(folder / config.data.source))
    return msgspec.structs.replace(config, **paths, **({"task": TASK, "data": data} | changes))


def planned(folder: Path, run: Run, name: str, out: Path, *flags: object) -> tuple[PlanFile, dict[str, Any]]:
    code, text, err = run(
        "plan", folder / f"{name}.yaml", *FLAGS, *flags, "--profile", folder / "profile.yaml", "--out", out, "--json"
    )
    assert code == 0, err
    return read_yaml(out / "plan.yaml", PlanFile), json.loads(text)


def statuses(run: Run, out: Path) -> dict[str, str]:
    _, text, _ = run("verify", out, "--json", "--trust-code")
    return {check["name"]: check["status"] for check in json.loads(text)["checks"]}


def test_without_labels_the_recommended_plan_meets_both_floors_on_the_report_pictures(
    folder: Path, run: Run, tmp_path: Path
) -> None:
    file, _ = planned(folder, run, "plain", tmp_path / "plan")
    assert {bound.limit: bound.value for bound in file.requirements.bounds if not bound.device} == {
        "quality": 0.9,
        MAP_50: 0.9,
    }
    assert file.report is not None
    assert (file.metric.name, file.metric.against) == ("box F1", "unsplit")
    assert "score >= 0.3" in file.metric.definition
    figure = file.report.figure(MAP_50)
    assert figure is not None
    assert figure.low is not None
    assert figure.high is not None
    assert file.report.value >= 0.9
    assert figure.value >= 0.9
    assert 0 < figure.low <= figure.value <= figure.high <= 1
    assert file.report.figure(MAP_ALL) is not None
    checks = statuses(run, tmp_path / "plan")
    assert [checks[name] for name in ("exactness", "payload", "box F1", MAP_50, MAP_ALL)] == ["passed"] * 5


def test_with_labels_the_drop_is_limited_and_the_labels_of_the_report_set_are_kept(
    folder: Path, run: Run, tmp_path: Path
) -> None:
    file, _ = planned(folder, run, "labelled", tmp_path / "plan")
    assert [bound.limit for bound in file.requirements.bounds if not bound.device] == ["drop"]
    assert file.report is not None
    assert file.metric.against == "labels"
    assert file.report.drop <= 0.01
    assert file.report.value > 0.95
    with np.load(tmp_path / "plan" / "report-inputs.npz") as stored:
        counts = stored["truth_shapes"][:, 0]
    assert 0 in counts  # a picture without squares
    assert counts.sum() > len(counts)
    assert statuses(run, tmp_path / "plan")["box F1"] == "passed"


def test_a_plan_that_cuts_the_detector_is_verified(folder: Path, run: Run, tmp_path: Path) -> None:
    found = found_by(folder, "plain", evaluations=12)
    point = next(point for point in found.decision.front if point.candidate.placement == "split")
    file = write_plan(found, point, tmp_path / "plan").file
    assert file.report is not None
    assert file.report.payload_bytes > 0
    assert file.report.value >= 0.9
    checks = statuses(run, tmp_path / "plan")
    assert [checks[name] for name in ("exactness", "payload", "box F1", MAP_50, MAP_ALL)] == ["passed"] * 5


def test_both_formats_of_labels_are_the_same_plan(folder: Path, run: Run, tmp_path: Path) -> None:
    text, _ = planned(folder, run, "labelled", tmp_path / "text")
    coco_json, _ = planned(folder, run, "plain", tmp_path / "json", "--labels", folder / "boxes.json")
    assert text.report is not None
    assert coco_json.report is not None
    assert (coco_json.report.value, coco_json.report.n) == (text.report.value, text.report.n)
    assert coco_json.metric.against == "labels"


def no_scores(boxes: Array) -> Array:
    boxes[:, 4:] = 0
    return boxes


def shifted(boxes: Array) -> Array:
    boxes[:, :2] += 12
    return boxes


def one_class(boxes: Array) -> Array:
    boxes[:, 4] = boxes[:, 4:].max(axis=1)
    boxes[:, 5:] = 0
    return boxes


def noise(boxes: Array) -> Array:
    rng = np.random.default_rng(int(np.abs(boxes).sum()) % 2**32)
    boxes[:, 4:] = rng.random(boxes[:, 4:].shape)
    return boxes


def not_finite(boxes: Array) -> Array:
    return np.full_like(boxes, np.nan)


def same_picture(boxes: Array) -> Array:
    """One answer for every picture: a square in the middle."""
    boxes[:, 4:] = 0
    boxes[0, 4, 84] = 0.9
    return boxes


@pytest.mark.parametrize("destroy", [no_scores, shifted, one_class, noise, not_finite, same_picture])
@pytest.mark.parametrize("name", ["plain", "labelled"])
def test_a_codec_that_destroys_the_boxes_is_refused_by_the_default_floor(
    folder: Path, name: str, destroy: Callable[[Array], Array], monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = NetworkRuns.tail

    def tail(self: NetworkRuns, cut: Cut, tensors: Any) -> list[Array]:
        return [destroy(np.array(y)) for y in honest(self, cut, tensors)]

    monkeypatch.setattr(NetworkRuns, "tail", tail)
    found = found_by(folder, name, evaluations=6)
    splits = [point for point in found.points if point.candidate.placement == "split"]
    assert len(splits) >= 3
    assert all(misses_quality(point, found.problem.needs) for point in splits)
    assert all(point.candidate.placement != "split" for point in found.decision.front)


@pytest.mark.parametrize("name", ["plain", "labelled"])
def test_the_same_codecs_are_accepted_when_nothing_destroys_the_boxes(folder: Path, name: str) -> None:
    found = found_by(folder, name, evaluations=6)
    front = [point for point in found.decision.front if point.candidate.placement == "split"]
    assert front
    assert not any(misses_quality(point, found.problem.needs) for point in front)
    figures = [point.accuracy.figure(MAP_50) for point in front]
    assert all(figure is not None and figure.low is not None for figure in figures)  # the front has intervals


def found_by(folder: Path, name: str, *, evaluations: int) -> SearchResult:
    config = configured(folder, name, search=SearchConfig(evaluations=evaluations, codecs=CODECS[:3], max_cuts=2))
    return plan(load_problem(config), stored_profile=folder / "profile.yaml")


def test_without_pycocotools_a_plan_stops_before_its_first_stage(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coco, "has_coco", lambda: False)
    with pytest.raises(ProfileError, match="needs pycocotools") as caught:
        load_problem(configured(folder, "plain"))
    assert caught.value.fix == "python -m pip install 'splitpoint[detect]'"


def test_without_pycocotools_verify_checks_f1_and_says_that_map_is_not_checked(
    folder: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned(folder, run, "plain", tmp_path / "plan", "--evaluations", 4)
    monkeypatch.setattr("splitpoint.planner.quality.metrics.detect.has_coco", lambda: False)
    code, text, _ = run("verify", tmp_path / "plan", "--json")
    checks = {check["name"]: check for check in json.loads(text)["checks"]}
    assert code == 0
    assert checks["box F1"]["status"] == "passed"
    assert checks[MAP_50]["status"] == "not checked"
    assert "pip install 'splitpoint[detect]'" in checks[MAP_50]["text"]


def test_verify_notices_another_map_than_planned(folder: Path, run: Run, tmp_path: Path) -> None:
    file, _ = planned(folder, run, "plain", tmp_path / "plan", "--evaluations", 4)
    assert file.report is not None
    wrong = tuple(msgspec.structs.replace(figure, value=0.2) for figure in file.report.also)
    changed = msgspec.structs.replace(file, report=msgspec.structs.replace(file.report, also=wrong))
    write_yaml(tmp_path / "plan" / "plan.yaml", changed)
    checks = statuses(run, tmp_path / "plan")
    assert (checks["box F1"], checks[MAP_50]) == ("passed", "failed")


def test_without_the_file_of_an_own_decoder_verify_says_what_is_not_checked(
    folder: Path, run: Run, tmp_path: Path
) -> None:
    code = tmp_path / "mine.py"
    code.write_text(OWN)
    out = tmp_path / "plan"
    planned_with = ("--task", "detect", "--decode", f"{code}:decode", "--evaluations", 4)
    status, _, err = run(
        "plan", folder / "plain.yaml", *planned_with, "--profile", folder / "profile.yaml", "--out", out, "--json"
    )
    assert status == 0, err
    assert Plan.load(out).file.metric.sha256
    assert statuses(run, out)["box F1"] == "passed"
    code.unlink()
    assert statuses(run, out)["box F1"] == "not checked"


OWN = '''
import numpy as np


def decode(outputs):
    """Squares of a score above a half."""
    rows = outputs["boxes"][0].T
    rows = rows[rows[:, 4:].max(axis=1) > 0.5]
    centre, half = rows[:, :2], rows[:, 2:4] / 2
    return np.column_stack([centre - half, centre + half, rows[:, 4:].max(axis=1), rows[:, 4:].argmax(axis=1)])
'''


def test_a_detector_is_no_classifier_and_its_decoder_is_asked_for(folder: Path) -> None:
    with pytest.raises(ProfileError, match="what is this network for"):
        load_problem(configured(folder, "plain", task=None))
    with pytest.raises(ProfileError, match="needs to know how outputs become boxes") as caught:
        load_problem(configured(folder, "plain", task="detect"))
    assert "by their shapes: yolov8" in str(caught.value.fix)


def test_a_network_that_finds_nothing_is_refused_before_the_first_stage(folder: Path) -> None:
    blind = InputSpec(size=64, letterbox=114, scale=1e6)
    with pytest.raises(ProfileError, match=r"finds no box of score >= 0.3 in any of \d+ inputs"):
        load_problem(configured(folder, "plain", input=blind))


def test_classes_by_folder_are_not_boxes(folder: Path, detector: ModuleType, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    for number, path in enumerate(sorted((folder / "plain").glob("*.png"))):
        (tmp_path / "ab"[number % 2] / path.name).write_bytes(path.read_bytes())
    problem = load_problem(configured(folder, "plain", data=DataConfig(source=str(tmp_path))))
    assert problem.metric.against == "unsplit"
    assert any("no boxes" in note for note in problem.notes)


def test_the_table_ranks_a_detectors_codecs_by_its_boxes(folder: Path) -> None:
    """An error that moves coordinates of places without a box is none; one of the same size in the scores is."""
    problem = load_problem(configured(folder, "plain"))
    sets = {"calibration": NetworkInputs(problem.split.calibration), "search": NetworkInputs(problem.split.search)}
    runs = NetworkRuns(problem.graph, sets, threads=1)
    cuts = {cut.name: cut for cut in enumerate_cuts(problem.graph).cuts}
    evaluator = Evaluator(runs, problem.split.search, problem.metric, cuts.__getitem__, ["boxes"])
    wholes = (evaluator.whole(index)[0] for index in range(len(problem.split.search)))
    exact = next(y for y in wholes if y[0, 4:].max() > 0.5)
    empty = exact[0, 4:].max(axis=0) < 0.001
    coordinates, scores = exact.copy(), exact.copy()
    coordinates[:, :4, empty] += 20
    scores[:, 4:] = 0
    assert evaluator.distance([coordinates], [exact]) == pytest.approx(0.01 * relative_error([coordinates], [exact]))
    assert evaluator.distance([scores], [exact]) == 1
    assert relative_error([coordinates], [exact]) > relative_error([scores], [exact])
    assert evaluator.distance([exact], [exact]) == 0


def test_variants_of_another_input_are_refused(folder: Path) -> None:
    other = OtherModel(name="wide", model=str(folder / "model.onnx"), input=InputSpec(size=64, letterbox=0))
    with pytest.raises(ProfileError, match="boxes are in pixels of its input"):
        make_variants(load_problem(configured(folder, "plain", models=(other,))))
