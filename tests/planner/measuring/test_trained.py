"""A plan that trains: at the cuts that are named, once, and its points run from the plan directory."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

from splitpoint.codecs.contract.channel import SymbolChannel
from splitpoint.codecs.contract.protocol import FittedCodec
from splitpoint.planner.coding.codec_training import CodecTraining
from splitpoint.planner.cost.message import ANSWER_BYTES, Channel
from splitpoint.planner.cost.price import over
from splitpoint.planner.cuts.spread import spread_cuts
from splitpoint.planner.deploy.cost import Symbols
from splitpoint.planner.flow import plan
from splitpoint.planner.limits.objectives import OBJECTIVES
from splitpoint.planner.measuring import trained as trained_module
from splitpoint.planner.measuring.trained import codec_trainings, make_trainer, trained_codecs, trained_cuts
from splitpoint.planner.networks.variants import Variant
from splitpoint.planner.plandir.verify import verify
from splitpoint.planner.plandir.writing import write_plan
from splitpoint.planner.search.decide import objective_rows
from splitpoint.planner.search.pareto import pareto
from splitpoint.planner.search.result import SearchResult
from splitpoint.planner.setup.config import PlanConfig, TrainConfig
from splitpoint.planner.setup.loading import load_problem
from splitpoint.planner.store.store import Store
from splitpoint.planner.training import trainer as trainer_module
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.files.structs import write_yaml
from splitpoint.profiles.library.catalog import load_device, load_link
from splitpoint.profiles.link.adjust import at_rate, at_snr
from splitpoint.profiles.link.link import AwgnLink, downlink_s, mean_rate_bit_s
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


def radio_config(home: Path, link: str) -> PlanConfig:
    """The codec that sends channel symbols beside one that sends bits, on a radio link."""
    config = config_of(home, cuts=("r0",))
    search = msgspec.structs.replace(config.search, codecs=("jankowski-jscc", "fast"))
    return msgspec.structs.replace(config, search=search, link=link)


def radio_plan(
    home: Path,
    link: str,
    make_profile: Callable[[ModelGraph], ModelProfile],
    monkeypatch: pytest.MonkeyPatch,
    *,
    step_s: float,
) -> SearchResult:
    """A plan over a radio link, with a step of training taken to last so many seconds."""
    monkeypatch.setattr(trainer_module, "measure_step_s", lambda *given: step_s)
    monkeypatch.setattr(trainer_module, "measure_evaluation_s", lambda *given: 0.0)
    write_yaml(home / "fixed.yaml", make_profile(load_graph((home / "model.onnx").read_bytes(), name="model")))
    return plan(load_problem(radio_config(home, link)), stored_profile=home / "fixed.yaml")


def test_channel_symbols_and_bits_are_on_one_front_in_channel_uses(
    home: Path, make_profile: Callable[[ModelGraph], ModelProfile], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = radio_plan(home, "awgn-20db", make_profile, monkeypatch, step_s=0.01)
    problem = result.problem
    link = problem.link
    assert isinstance(link, AwgnLink)
    symbols = [p for p in result.points if p.candidate.codec == "jankowski-jscc"]
    bits = [p for p in result.points if p.candidate.codec == "fast"]
    assert {p.candidate.rate for p in symbols} == {0, 1, 2, 3}
    for point in symbols:
        (fitted,) = result.codecs[point.candidate]
        count = fitted.coder.specs[0].elements
        assert point.cost.symbols == Symbols(count=count, channel=SymbolChannel(kind="awgn", snr_db=20))
        assert point.cost.channel_uses == count
        air_s = count / (2 * link.bandwidth_hz)  # a band carries twice as many real symbols a second
        assert point.cost.air_s == pytest.approx(air_s)
        assert point.cost.link_s == pytest.approx(link.rtt_s / 2 + air_s + downlink_s(link, 8 * ANSWER_BYTES))
    for point in bits:
        carried = mean_rate_bit_s(link) / (2 * link.bandwidth_hz)
        assert point.cost.channel_uses == math.ceil(8 * point.cost.payload_bytes / carried)
    splits = [*symbols, *bits]
    on_front = pareto(objective_rows(splits, ("payload", "drop")))
    few = min(splits, key=lambda p: p.cost.size)
    assert few.candidate.codec == "jankowski-jscc"
    assert [OBJECTIVES["payload"].read(p) for p in splits] == [math.log10(p.cost.channel_uses or 1) for p in splits]
    assert "fast" in {p.candidate.codec for p, kept in zip(splits, on_front, strict=True) if kept}

    written = write_plan(result, symbols[-1], tmp_path / "plan")
    assert [check for check in verify(tmp_path / "plan") if check.status == "failed"] == []
    (check,) = [check for check in verify(tmp_path / "plan") if check.name == "symbols"]
    assert check.status == "not checked"
    assert "simulated below: 20 dB of white noise, seed 0" in check.text
    picture = read_picture(home / "photo.png", written.file.input)
    sent = written.head(picture)
    arrived = [written.received(sent, draw=draw) for draw in (0, 0, 1)]
    assert arrived[0] == arrived[1] != arrived[2]
    assert len(arrived[0]) == len(sent)
    given, noisy = (np.asarray(written.tail(payload)) for payload in (sent, arrived[0]))
    assert given.shape == noisy.shape == (1, small_plan.CLASSES)
    assert not np.array_equal(given, noisy)


def test_symbols_over_another_channel_are_no_answer(
    home: Path, make_profile: Callable[[ModelGraph], ModelProfile], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their quality is known at the SNR of the plan alone; at another bandwidth it is the same."""
    result = radio_plan(home, "rayleigh-10db", make_profile, monkeypatch, step_s=0.05)
    problem = result.problem
    point = next(p for p in result.points if p.candidate.codec == "jankowski-jscc")
    device = load_device("raspberry-pi-4")
    wider = over(point.cost, Channel(link=at_rate(problem.link, 1e8)), device, device)
    assert wider.infeasible is None
    assert wider.air_s < point.cost.air_s
    louder = over(point.cost, Channel(link=at_snr(problem.link, 12.0)), device, device)
    assert louder.infeasible == (
        "its quality was measured over Rayleigh fading, mean 10 dB, and rayleigh-10db has Rayleigh fading, mean 12 dB:"
        " plan again"
    )
    fixed = over(point.cost, Channel(link=load_link("wifi-5")), device, device)
    assert fixed.infeasible == "wifi-5 carries bits, and this codec sends channel symbols"
    assert (fixed.channel_uses, fixed.radio_j, fixed.link_usd) == (None, None, None)


def test_where_no_rate_carries_bits_symbols_still_arrive(
    home: Path, make_profile: Callable[[ModelGraph], ModelProfile], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Below the least scheme of a modulation and coding table bits have one clear reason, and symbols their noise."""
    result = radio_plan(home, "awgn-5db@-9 dB", make_profile, monkeypatch, step_s=0.05)
    problem = result.problem
    assert "a channel use of awgn-5db@-9 dB carries 0 bit (CQI, thresholds 'raplat'), and 0.0855 by capacity" in (
        *problem.notes,
    )
    bits = [p for p in result.points if p.candidate.codec in ("fast", "jpeg", "raw")]
    assert bits
    for point in bits:
        assert point.cost.channel_uses is None
        assert point.cost.infeasible == (
            "awgn-5db@-9 dB carries nothing: -9 dB is below -7 dB, where CQI, thresholds 'raplat' begins"
        )
    symbols = [p for p in result.points if p.candidate.codec == "jankowski-jscc"]
    assert symbols
    assert all(p.cost.infeasible is None and p.cost.latency_s < 1 for p in symbols)


def test_a_codec_of_channel_symbols_needs_a_link_with_an_snr(home: Path) -> None:
    with pytest.raises(ProfileError, match="jankowski-jscc sends channel symbols, and wifi-5 is known by its rate"):
        load_problem(radio_config(home, "wifi-5"))
    config = radio_config(home, "wifi-5")
    every = load_problem(msgspec.structs.replace(config, search=msgspec.structs.replace(config.search, codecs=())))
    assert "jankowski-jscc" not in {codec.name for codec in trained_codecs(every)}
    assert "dynamic-switch" in {codec.name for codec in trained_codecs(every)}


def test_the_range_of_training_is_that_of_the_configuration(home: Path) -> None:
    config = radio_config(home, "awgn-20db")
    assert config.train is not None
    assert load_problem(config).trained_snr_db is None
    for asked, expected in (((12.0,), (12.0, 12.0)), ((20.0, 0.0), (0.0, 20.0))):
        train = msgspec.structs.replace(config.train, snr_db=asked)
        assert load_problem(msgspec.structs.replace(config, train=train)).trained_snr_db == expected


def test_a_pruned_network_is_trained_at_its_named_cuts_or_where_it_was_pruned(home: Path) -> None:
    """The last of the nodes after which it may be cut is where its head ends."""
    config = config_of(home)
    assert config.train is not None
    for named, pruned, expected in (
        ((), True, ["r1"]),
        (("c0",), True, ["c0"]),
        (("pooled",), True, []),
        ((), False, None),
    ):
        train = msgspec.structs.replace(config.train, cuts=named, pruned=pruned)
        problem = load_problem(msgspec.structs.replace(config, train=train))
        variant = Variant(
            name="thin",
            kind="pruned",
            graph=problem.graph,
            split=problem.split,
            after=frozenset({"node", "node_1", "node_3"}),
        )
        trainings = codec_trainings(problem, make_trainer(problem, None), variant)
        assert (None if trainings is None else list(trainings)) == expected


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
