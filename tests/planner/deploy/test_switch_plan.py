"""A plan directory with a dynamic switch: one head, one tail, and a rate that the sender chooses for each payload."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from splitpoint.codecs.container import pack, unpack
from splitpoint.codecs.contract.protocol import Array, CodecError, PayloadError
from splitpoint.codecs.learned.switch_codec import DynamicSwitch
from splitpoint.codecs.registry import CODEC_IDS
from splitpoint.codecs.store import load_coders, save_coders
from splitpoint.planner.coding.runs import NetworkRuns
from splitpoint.planner.deploy.identity import plan_identity
from splitpoint.planner.deploy.plan import PayloadTooLargeError, Plan
from splitpoint.planner.flow import plan
from splitpoint.planner.measuring import measurer
from splitpoint.planner.plandir.verify import verify
from splitpoint.planner.plandir.writing import export_point, write_plan
from splitpoint.planner.search.result import SearchResult
from splitpoint.planner.setup.config import PlanConfig
from splitpoint.planner.setup.loading import load_problem
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.files.structs import write_yaml
from splitpoint.profiles.measurement.model_profile import ModelProfile
from splitpoint.profiles.network.graph import load_graph
from splitpoint.profiles.network.inputs import preprocess, read_picture
from splitpoint.profiles.network.model import ModelGraph
from splitpoint.profiles.network.runtime import open_session
from splitpoint.tests import small_plan
from splitpoint.tests.switches import NoSteps

RATES = (2, 1, 0)  # finest first


class Everywhere(dict[str, NoSteps]):
    """A training of every tensor that is asked for."""

    def __init__(self, training: Callable[[str], NoSteps]) -> None:
        super().__init__()
        self._training = training

    def get(self, tensor: str, default: Any = None) -> NoSteps:
        return self._training(tensor)


class Fixed:
    """A result, and the trainings that it asked for."""

    def __init__(self, home: Path, make_profile: Callable[[ModelGraph], ModelProfile]) -> None:
        self.trainings: dict[str, list[NoSteps]] = {}
        small_plan.write_inputs(home)
        graph = load_graph((home / "model.onnx").read_bytes(), name="model")
        write_yaml(home / "fixed.yaml", make_profile(graph))
        problem = load_problem(config_of(home, ("dynamic-switch",)))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(measurer, "codec_trainings", lambda *given: Everywhere(self.training))
            self.result: SearchResult = plan(problem, stored_profile=home / "fixed.yaml")

    def training(self, tensor: str) -> NoSteps:
        made = NoSteps(key=f"none of {tensor}")
        self.trainings.setdefault(tensor, []).append(made)
        return made


def config_of(home: Path, codecs: tuple[str, ...]) -> PlanConfig:
    return small_plan.config_of(home, codecs, evaluations=20, max_drop=0.9)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("switch")


@pytest.fixture(scope="module")
def fixed(home: Path, make_profile: Callable[[ModelGraph], ModelProfile]) -> Fixed:
    return Fixed(home, make_profile)


@pytest.fixture(scope="module")
def folder(fixed: Fixed, home: Path) -> Path:
    """A plan at the middle rate."""
    points = [p for p in fixed.result.points if (p.candidate.codec, p.candidate.rate) == ("dynamic-switch", 1)]
    write_plan(fixed.result, points[0], home / "plan")
    return home / "plan"


@pytest.fixture(scope="module")
def written(folder: Path) -> Plan:
    return Plan.load(folder)


@pytest.fixture(scope="module")
def pictures(written: Plan, home: Path) -> list[Array]:
    return [read_picture(path, written.file.input) for path in sorted(home.glob("photos/*/*.png"))[:8]]


def test_all_rates_are_candidates_and_a_cut_is_trained_for_once(fixed: Fixed) -> None:
    rates = {p.candidate.rate for p in fixed.result.points if p.candidate.codec == "dynamic-switch"}
    assert rates == {0, 1, 2}
    used = {tensor: sum(training.calls for training in made) for tensor, made in fixed.trainings.items()}
    assert set(used.values()) == {0, 1}  # tensors that it refuses are not trained for


def test_without_training_it_is_left_out_with_one_reason_and_nothing_of_it_is_fitted(
    fixed: Fixed, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any) -> Any:
        raise AssertionError("a codec that cannot be trained was fitted")

    monkeypatch.setattr(DynamicSwitch, "fit", fail)
    problem = load_problem(config_of(home, ("dynamic-switch", "fast")))
    result = plan(problem, stored_profile=home / "fixed.yaml")
    reasons = {name: why for name, why in result.left_out.items() if "switch" in name}
    assert reasons == {
        "dynamic-switch": "is trained where $.train asks for it; of pruned networks with $.train.pruned: true"
    }
    assert {p.candidate.codec for p in result.points if p.candidate.placement == "split"} == {"fast", "raw"}


def test_the_sender_chooses_the_rate_and_the_tail_follows_the_payload(written: Plan, pictures: list[Array]) -> None:
    assert written.rates == RATES
    for picture in pictures[:6]:
        payloads = [written.head(picture, rate=rate) for rate in RATES]
        assert [len(payload) for payload in payloads] == sorted({len(p) for p in payloads}, reverse=True)
        assert written.head(picture) == payloads[1]  # the plan's own
        answers = [np.asarray(written.tail(payload)) for payload in payloads]
        assert not np.array_equal(answers[0], answers[2])
        (rate_name,) = [name for name in written.symbols(payloads[0]) if name.endswith("/rate")]
        assert [written.symbols(payload)[rate_name].tolist() for payload in payloads] == [[rate] for rate in RATES]


def test_what_the_tail_computes_is_the_network_behind_the_decoder_graph(
    fixed: Fixed, folder: Path, written: Plan, pictures: list[Array]
) -> None:
    """By the search's own runs: head, encoder graph, payload, decoder graph, tail, each in a session of its own."""
    cut_tensor = written.file.cut.tensors[0].name if written.file.cut is not None else ""
    points = folder / "points" / str(written.file.point)
    decoder = open_session((points / "decoder0.onnx").read_bytes(), level="all", threads=1)
    encoder = open_session((points / "encoder0.onnx").read_bytes(), level="all", threads=1)
    (coder,) = load_coders((points / "codec.npz").read_bytes())
    network = fixed.result.given
    x = preprocess(pictures[3], written.file.input)
    with NetworkRuns(network.graph, {"one": [x]}, threads=1) as runs:
        cut = next(c for c in network.cuttable if c.tensors == (cut_tensor,))
        symbols = encoder.run({"x": runs.activation(cut, "one", 0)[cut_tensor]})
        for rate in RATES:
            copy = decoder.run(coder.decode(coder.at(rate).encode(symbols)))["y"]  # type: ignore[attr-defined]
            (expected,) = runs.tail(cut, {cut_tensor: copy})
            y = np.asarray(written.tail(written.head(pictures[3], rate=rate)))
            assert np.allclose(y, expected, rtol=1e-5, atol=1e-5)  # joined, the same operators may be fused


def test_a_limit_of_bytes_goes_to_coarser_rates_of_the_one_asked_for(written: Plan, pictures: list[Array]) -> None:
    x = pictures[0]
    finest, middle, coarsest = (written.head(x, rate=rate) for rate in RATES)
    assert written.head(x, rate=2, max_bytes=len(finest)) == finest
    assert written.head(x, rate=2, max_bytes=len(finest) - 1) == middle
    assert written.head(x, rate=2, max_bytes=len(middle) - 1) == coarsest
    assert written.head(x, max_bytes=10 * len(finest)) == middle  # never finer than what was asked for
    with pytest.raises(PayloadTooLargeError):
        written.head(x, max_bytes=len(coarsest) - 1)


@pytest.mark.parametrize("rate", [3, -1, "1", 1.5])
def test_a_rate_that_the_plan_does_not_have_is_refused(written: Plan, pictures: list[Array], rate: Any) -> None:
    with pytest.raises(CodecError, match="none of this plan's: 2, 1, 0"):
        written.head(pictures[0], rate=rate)


def test_plans_of_one_rate_take_no_other(fixed_plan: Path, pictures: list[Array]) -> None:
    single = Plan.load(fixed_plan)
    own = single.file.codec.rate
    assert single.rates == (own,)
    assert single.head(pictures[0], rate=own) == single.head(pictures[0])
    with pytest.raises(CodecError, match="none of this plan's"):
        single.head(pictures[0], rate=own + 1)


def test_frame_and_payload_of_different_rates_are_refused(written: Plan, pictures: list[Array]) -> None:
    number, identity = CODEC_IDS["dynamic-switch"], plan_identity(written.file)
    rate, parts = unpack(written.head(pictures[0]), codec_id=number, plan_hash=identity, count=1)
    assert rate == 1
    with pytest.raises(PayloadError, match="the frame is of rate 0, a payload in it of rate 1"):
        written.tail(pack(parts, codec_id=number, rate=0, plan_hash=identity))
    with pytest.raises(PayloadError, match="written at rate 3, this plan has 2, 1, 0"):
        written.tail(pack(parts, codec_id=number, rate=3, plan_hash=identity))


def test_a_codec_file_of_another_rate_does_not_belong_to_the_plan(
    written: Plan, pictures: list[Array], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (coder,) = load_coders((folder / "codec.npz").read_bytes())
    other = Plan.load(folder)
    read = other.stored.read
    stranger = save_coders([coder.at(0)])  # type: ignore[attr-defined]
    monkeypatch.setattr(type(other.stored), "read", lambda self, name: stranger if name == "codec.npz" else read(name))
    with pytest.raises(ProfileError, match="is not for rate 1"):
        other.head(pictures[0])


def test_the_plan_verifies_and_other_points_are_exported_from_it(
    folder: Path, tmp_path: Path, pictures: list[Array]
) -> None:
    assert [check for check in verify(folder) if check.status == "failed"] == []
    exported = export_point(folder, Plan.load(folder).file.point, tmp_path / "again")
    assert exported.head(pictures[1], rate=0) == Plan.load(folder).head(pictures[1], rate=0)
