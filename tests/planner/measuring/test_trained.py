"""A plan that trains: at the cuts that are named, once, and its points run from the plan directory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

from splitpoint.codecs.contract.protocol import FittedCodec
from splitpoint.planner.coding.codec_training import CodecTraining
from splitpoint.planner.cuts.spread import spread_cuts
from splitpoint.planner.flow import plan
from splitpoint.planner.measuring import trained as trained_module
from splitpoint.planner.measuring.trained import codec_trainings, make_trainer, trained_cuts
from splitpoint.planner.plandir.verify import verify
from splitpoint.planner.plandir.writing import write_plan
from splitpoint.planner.search.result import SearchResult
from splitpoint.planner.setup.config import PlanConfig, TrainConfig
from splitpoint.planner.setup.loading import load_problem
from splitpoint.planner.store.store import Store
from splitpoint.planner.training import trainer as trainer_module
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.files.structs import write_yaml
from splitpoint.profiles.measurement.model_profile import ModelProfile
from splitpoint.profiles.network.graph import load_graph
from splitpoint.profiles.network.inputs import read_picture
from splitpoint.profiles.network.model import ModelGraph
from splitpoint.tests import small_plan


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("trained")
    small_plan.write_inputs(home)
    rng = np.random.default_rng(5)
    for number in range(80):
        folder = home / "more" / str(number % small_plan.CLASSES)
        folder.mkdir(parents=True, exist_ok=True)
        coarse = np.kron(rng.uniform(0, 255, size=(4, 4, 3)), np.ones((4, 4, 1)))
        Image.fromarray(coarse.astype(np.uint8)).save(folder / f"{number}.png")
    return home


def config_of(home: Path, cuts: tuple[str, ...] = ()) -> PlanConfig:
    config = small_plan.config_of(home, ("dynamic-switch", "fast"), evaluations=20, max_drop=0.9)
    return msgspec.structs.replace(config, train=TrainConfig(source=str(home / "more"), minutes=0.005, cuts=cuts))


def codecs_of(result: SearchResult) -> list[FittedCodec]:
    return [codec for fitted in result.codecs.values() for codec in fitted if codec.codec == "dynamic-switch"]


def test_a_plan_trains_a_codec_at_the_named_cut_and_a_later_one_uses_it(
    home: Path, make_profile: Callable[[ModelGraph], ModelProfile], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer_module, "measure_step_s", lambda *given: 0.03)  # ten steps
    monkeypatch.setattr(trainer_module, "measure_evaluation_s", lambda *given: 0.0)
    graph = load_graph((home / "model.onnx").read_bytes(), name="model")
    write_yaml(home / "fixed.yaml", make_profile(graph))
    store = Store(tmp_path / "kept")
    problem = load_problem(config_of(home, cuts=("r0",)))
    result = plan(problem, stored_profile=home / "fixed.yaml", store=store)
    trained = [p for p in result.points if p.candidate.codec == "dynamic-switch"]
    assert {p.candidate.cut for p in trained} == {"r0"}
    assert {p.candidate.rate for p in trained} == {0, 1, 2}
    assert all("trained for 10 steps on" in codec.notes[0] for codec in codecs_of(result))
    left_out = {key: why for key, why in result.left_out.items() if key.startswith("dynamic-switch")}
    assert left_out == {"dynamic-switch at x, c0, c1, r1, pooled, flat": "is not trained there ($.train.cuts)"}

    written = write_plan(result, trained[0], tmp_path / "plan")
    picture = read_picture(home / "photo.png", written.file.input)
    assert len({len(written.head(picture, rate=rate)) for rate in written.rates}) == 3
    assert [check for check in verify(tmp_path / "plan") if check.status == "failed"] == []

    def train(*given: object, **named: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(trainer_module.Trainer, "train", train)
    again = plan(problem, stored_profile=home / "fixed.yaml", store=store)
    assert [codec.transform_key for codec in codecs_of(again)] == [codec.transform_key for codec in codecs_of(result)]


def test_a_part_of_a_convolutions_channels_crosses_and_the_tail_predicts_the_others(
    home: Path, make_profile: Callable[[ModelGraph], ModelProfile], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer_module, "measure_step_s", lambda *given: 0.01)
    monkeypatch.setattr(trainer_module, "measure_evaluation_s", lambda *given: 0.0)
    config = config_of(home, cuts=("c1", "r1"))
    search = msgspec.structs.replace(config.search, codecs=("choi-baf", "fast"))
    graph = load_graph((home / "model.onnx").read_bytes(), name="model")
    write_yaml(home / "fixed.yaml", make_profile(graph))
    result = plan(load_problem(msgspec.structs.replace(config, search=search)), stored_profile=home / "fixed.yaml")
    trained = [p for p in result.points if p.candidate.codec == "choi-baf"]
    assert {p.candidate.cut for p in trained} == {"c1"}
    (why,) = [why for name, why in result.left_out.items() if name == "choi-baf at r1"]
    assert why == (
        "needs the output of a convolution: it comes from Relu; cut before the activation, after the convolution itself"
    )
    point = max(trained, key=lambda p: p.candidate.rate)
    written = write_plan(result, point, tmp_path / "plan")
    assert [check for check in verify(tmp_path / "plan") if check.status == "failed"] == []
    picture = read_picture(home / "photo.png", written.file.input)
    scores = written.tail(written.head(picture))
    assert isinstance(scores, np.ndarray)
    assert scores.shape == (1, small_plan.CLASSES)


def test_without_names_codecs_are_trained_over_the_depth_of_the_network(home: Path) -> None:
    problem = load_problem(config_of(home))
    assert trained_cuts(problem) == spread_cuts(problem.graph)
    trainings = codec_trainings(problem, make_trainer(problem, None))
    assert trainings is not None
    assert set(trainings) == {cut.tensors[0] for cut in spread_cuts(problem.graph)}
    assert all(isinstance(training, CodecTraining) for training in trainings.values())


def test_without_data_nothing_is_trained(home: Path) -> None:
    problem = load_problem(msgspec.structs.replace(config_of(home), train=None))
    assert make_trainer(problem, None) is None
    assert codec_trainings(problem, None) is None
    assert trained_cuts(problem) == []


def test_a_cut_that_the_network_does_not_have_is_refused(home: Path) -> None:
    with pytest.raises(ProfileError, match="nowhere"):
        load_problem(config_of(home, cuts=("nowhere",)))


def test_search_inputs_judge_and_report_inputs_do_not(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = load_problem(config_of(home, cuts=("r0",)))
    search = [sample.picture for sample in problem.split.search.samples]
    for most, expected in ((256, search), (2, search[:: -(-len(search) // 2)])):
        monkeypatch.setattr(trained_module, "MOST_JUDGING", most)
        trainings = trained_module.codec_trainings(problem, trained_module.make_trainer(problem, None))
        assert trainings is not None
        (training,) = trainings.values()
        assert training.judging is not None
        np.testing.assert_array_equal(training.judging.content, np.stack(expected))  # type: ignore[arg-type]  # pictures
