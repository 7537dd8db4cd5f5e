"""Measuring a candidate: what is counted comes out of payload bytes, and each distinct reconstruction runs once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import numpy as np
import pytest

from splitpoint.codecs.coders.huffman import HuffmanCoder
from splitpoint.codecs.coders.rans import RansCoder
from splitpoint.codecs.coders.raw import RawCoder
from splitpoint.codecs.container import pack
from splitpoint.codecs.contract.protocol import CodecError, FitError
from splitpoint.codecs.pictures.picture import PICTURES, PictureCodec
from splitpoint.codecs.registry import CODEC_IDS, REGISTRY
from splitpoint.planner.coding.runs import PLACEHOLDER_HASH, NetworkRuns
from splitpoint.planner.cuts.enumeration import enumerate_cuts
from splitpoint.planner.deploy.schema import IOTensor
from splitpoint.planner.deploy.task import Task
from splitpoint.planner.quality.evaluate import Evaluator
from splitpoint.planner.quality.metrics.registry import make_metric
from splitpoint.planner.samples.dataset import Dataset, NetworkInputs, Sample
from splitpoint.planner.setup.config import read_config
from splitpoint.planner.setup.loading import Problem, load_problem
from splitpoint.planner.values.candidate import Candidate
from splitpoint.planner.values.cut import Cut
from splitpoint.profiles.network.graph import load_graph
from splitpoint.profiles.network.inputs import InputSpec, preprocess
from splitpoint.profiles.network.model import ModelGraph

METRICS: dict[str, tuple[Task, Any]] = {
    "top1": (Task(name="classify"), "labels"),
    "agreement": (Task(name="classify"), "unsplit"),
    "tensor": (Task(name="tensor"), "unsplit"),
}
INSIDE = "r1"  # a cut inside the small network


@pytest.fixture(scope="module")
def problem(fixed_home: Path) -> Problem:
    return load_problem(read_config(fixed_home / "labelled.yaml"))


@dataclasses.dataclass
class Setup:
    """An evaluator and the runs that it measures with."""

    evaluator: Evaluator
    runs: NetworkRuns
    n: int  # inputs


def set_up(
    graph: ModelGraph,
    calibration: Dataset,
    search: Dataset,
    metric: str = "top1",
    reference: Callable[[int], list[Any]] | None = None,
) -> Setup:
    sets = {"calibration": NetworkInputs(calibration), "search": NetworkInputs(search)}
    runs = NetworkRuns(graph, sets, threads=1)
    cuts = {cut.name: cut for cut in enumerate_cuts(graph).cuts}
    task, against = METRICS[metric]
    measure = make_metric(task, [IOTensor(name=t.name, shape=t.shape, dtype=t.dtype) for t in graph.outputs], against)
    names = [tensor.name for tensor in graph.outputs]
    return Setup(Evaluator(runs, search, measure, cuts.__getitem__, names, reference=reference), runs, len(search))


def activations(made: Setup, cut: Cut) -> list[dict[str, Any]]:
    return [made.runs.activation(cut, "search", i) for i in range(made.n)]


def small(problem: Problem, **options: Any) -> Setup:
    return set_up(problem.graph, problem.split.calibration, problem.split.search, **options)


def candidate(placement: str, *, cut: str = "", codec: str = "-", rate: int = 0) -> Candidate:
    return Candidate(variant="given", placement=placement, cut=cut, codec=codec, rate=rate)  # type: ignore[arg-type]


def zeros(self: Any, payload: bytes) -> dict[str, Any]:
    return {spec.name: np.zeros(spec.shape, spec.dtype) for spec in self.specs}


def test_a_split_is_as_large_as_its_containers(problem: Problem) -> None:
    made = small(problem)
    cut = next(cut for cut in enumerate_cuts(problem.graph).cuts if cut.name == INSIDE)
    asked = candidate("split", cut=INSIDE, codec="range-rans", rate=2)
    found = made.evaluator.measure(asked)
    assert found is not None
    fitted = made.runs.fit(cut, "range-rans", 2)
    sizes = [len(made.runs.encode(cut, fitted, row)) for row in activations(made, cut)]
    assert len(set(sizes)) > 1  # a mean, not any one of them
    assert found.accuracy.payload_bytes == pytest.approx(np.mean(sizes))
    assert list(found.outcomes.payload_bytes) == sizes
    assert (found.candidate, found.label) == (asked, REGISTRY["range-rans"].rates[2].label)
    assert (found.accuracy.subset, found.accuracy.n) == ("search", len(problem.split.search))


@pytest.mark.parametrize(("codec", "coder"), [("brito-sq", HuffmanCoder), ("range-rans", RansCoder), ("raw", RawCoder)])
def test_accuracy_comes_through_the_payload(
    problem: Problem, codec: str, coder: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = candidate("split", cut=INSIDE, codec=codec, rate=len(REGISTRY[codec].rates) - 1)
    honest = small(problem).evaluator.measure(asked)
    monkeypatch.setattr(coder, "decode", zeros)
    blind = small(problem).evaluator.measure(asked)
    assert honest is not None
    assert blind is not None
    assert honest.accuracy.value > 0.8
    assert blind.accuracy.value < 0.5  # one answer for every input
    assert blind.accuracy.relative_error > 0.5
    assert blind.accuracy.payload_bytes == honest.accuracy.payload_bytes


def test_the_reconstruction_and_not_the_activation_runs_through_the_tail(problem: Problem) -> None:
    """One bit a value: outputs are those of the tail on what was decoded, compared one by one."""
    made = small(problem, metric="tensor")
    cut = next(cut for cut in enumerate_cuts(problem.graph).cuts if cut.name == INSIDE)
    found = made.evaluator.measure(candidate("split", cut=INSIDE, codec="range-rans", rate=0))
    fitted = made.runs.fit(cut, "range-rans", 0)
    errors = []
    for x, row in zip(NetworkInputs(problem.split.search), activations(made, cut), strict=True):
        received = made.runs.decode(cut, fitted, made.runs.encode(cut, fitted, row), draw=0).tensors
        (y,), (y0,) = made.runs.tail(cut, received), made.runs.whole(x)
        errors.append(float(np.linalg.norm(y - y0) / np.linalg.norm(y0)))
    assert found is not None
    assert found.accuracy.relative_error == pytest.approx(np.mean(errors), rel=1e-5)  # float32 sums
    assert found.accuracy.relative_error > 0.01


def test_nothing_is_sent_when_all_is_on_the_device(problem: Problem) -> None:
    made = small(problem)
    asked = candidate("device")
    found = made.evaluator.measure(asked)
    assert found is not None
    assert (found.label, found.accuracy.payload_bytes, found.accuracy.drop) == ("-", 0.0, 0.0)
    assert found.accuracy.relative_error == 0.0
    assert set(found.outcomes.payload_bytes) == {0}
    assert (made.evaluator.tail_runs, made.evaluator.tail_reused) == (0, 0)


@pytest.fixture
def tails(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The cut of every tail that runs."""
    ran: list[str] = []
    run = NetworkRuns.tail

    def counted(self: NetworkRuns, cut: Any, tensors: Any) -> list[Any]:
        ran.append(cut.name)
        return run(self, cut, tensors)

    monkeypatch.setattr(NetworkRuns, "tail", counted)
    return ran


def test_equal_reconstructions_run_once(problem: Problem, tails: list[str]) -> None:
    made, n = small(problem), len(problem.split.search)
    first = made.evaluator.measure(candidate("split", cut=INSIDE, codec="range-rans", rate=3))
    assert (made.evaluator.tail_runs, made.evaluator.tail_reused, len(tails)) == (n, 0, n)
    again = made.evaluator.measure(candidate("split", cut=INSIDE, codec="range-rans", rate=3))
    assert again == first
    assert (made.evaluator.tail_runs, made.evaluator.tail_reused, len(tails)) == (n, n, n)
    # The same quantizer before another coder: other bytes, equal symbols.
    other = made.evaluator.measure(candidate("split", cut=INSIDE, codec="range-zstd", rate=3))
    assert first is not None
    assert other is not None
    assert other.accuracy.value == first.accuracy.value
    assert other.accuracy.payload_bytes != first.accuracy.payload_bytes
    assert (made.evaluator.tail_runs, made.evaluator.tail_reused, len(tails)) == (n, 2 * n, n)
    made.evaluator.measure(candidate("split", cut=INSIDE, codec="range-rans", rate=2))
    assert made.evaluator.tail_runs + made.evaluator.tail_reused == 4 * n
    assert made.evaluator.tail_runs == len(tails) > n


def test_equal_inputs_keep_their_own_labels_and_references(problem: Problem, tails: list[str]) -> None:
    """The same picture twice, one labelled wrongly: one outcome must not be taken for the other."""
    sample = problem.split.search.samples[0]
    assert sample.label is not None
    wrong = dataclasses.replace(sample, label=(sample.label + 1) % 6, group="another")
    twice = dataclasses.replace(problem.split.search, samples=(sample, wrong))
    made = set_up(problem.graph, problem.split.calibration, twice)
    found = made.evaluator.measure(candidate("split", cut=INSIDE, codec="raw"))
    assert found is not None
    assert found.accuracy.value == 0.5
    assert made.evaluator.tail_runs + made.evaluator.tail_reused == 2
    assert made.evaluator.tail_runs == len(tails)


def test_equal_bytes_at_two_cuts_are_two_reconstructions(nets: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Zeros at `a` become ones at `b`; zeros at `b` stay zeros."""
    text = '<ir_version: 8, opset_import: ["": 17]> g (float[1,4] x) => (float[1,4] y)'
    graph = load_graph(nets.from_text(text + " { a = Sigmoid(x)  b = Cos(a)  y = Exp(b) }"))
    rows = np.random.default_rng(0).normal(size=(5, 1, 4)).astype(np.float32)
    samples = tuple(Sample(name=str(i), group=str(i), tensor=row) for i, row in enumerate(rows))
    data = Dataset(spec=InputSpec(kind="tensor"), samples=samples)
    monkeypatch.setattr(RawCoder, "decode", zeros)
    made = set_up(graph, data, data, "tensor")
    errors = []
    for name, answer in (("a", np.e), ("b", 1.0)):
        found = made.evaluator.measure(candidate("split", cut=name, codec="raw"))
        assert found is not None
        y0 = np.exp(np.cos(1 / (1 + np.exp(-rows.astype(np.float64)))))
        expected = np.mean([np.linalg.norm(answer - y) / np.linalg.norm(y) for y in y0])
        errors.append(found.accuracy.relative_error)
        assert errors[-1] == pytest.approx(expected, rel=1e-5)  # float32
    assert errors[0] != pytest.approx(errors[1])
    assert (made.evaluator.tail_runs, made.evaluator.tail_reused) == (10, 0)
    with pytest.raises(ValueError, match=r"0: png needs pictures, the input is a tensor"):
        made.evaluator.measure(candidate("server", codec="png"))


def test_a_codec_that_cannot_be_fitted_is_no_point(problem: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    made = small(problem)

    def refuse(self: NetworkRuns, cut: Any, codec: str, rate: int) -> Any:
        raise FitError("too few vectors") if codec == "fast" else CodecError("a mistake")

    monkeypatch.setattr(NetworkRuns, "fit", refuse)
    assert made.evaluator.measure(candidate("split", cut=INSIDE, codec="fast")) is None
    with pytest.raises(CodecError, match="a mistake"):
        made.evaluator.measure(candidate("split", cut=INSIDE, codec="range-rans"))


@pytest.mark.parametrize("codec", ["png", "jpeg"])
def test_pictures_are_coded_and_decoded(problem: Problem, codec: str) -> None:
    made, rate = small(problem, metric="tensor"), 0
    asked = candidate("server", codec=codec, rate=rate)
    found = made.evaluator.measure(asked)
    assert found is not None
    sizes, errors, kind = [], [], PICTURES[codec]
    for sample in problem.split.search.samples:
        assert sample.picture is not None
        coded = kind.encode(sample.picture, rate)
        sizes.append(len(pack([coded], codec_id=CODEC_IDS[codec], rate=rate, plan_hash=PLACEHOLDER_HASH)))
        spec = problem.spec
        (y,) = made.runs.whole(preprocess(kind.decode(coded, spec.height_width), spec))
        (y0,) = made.runs.whole(preprocess(sample.picture, spec))
        errors.append(float(np.linalg.norm(y - y0) / np.linalg.norm(y0)))
    assert found.accuracy.payload_bytes == pytest.approx(np.mean(sizes))
    assert found.accuracy.relative_error == pytest.approx(np.mean(errors), rel=1e-5)
    assert (found.accuracy.relative_error == 0) == (codec == "png")
    assert found.label == kind.rates[rate].label
    assert list(found.outcomes.payload_bytes) == sizes
    assert (made.evaluator.tail_runs, made.evaluator.tail_reused) == (len(sizes), 0)


def test_the_rate_of_a_picture_is_its_own(problem: Problem) -> None:
    made = small(problem, metric="tensor")
    worst, best = (
        made.evaluator.measure(candidate("server", codec="jpeg", rate=rate))
        for rate in (0, len(PICTURES["jpeg"].rates) - 1)
    )
    assert worst is not None
    assert best is not None
    assert worst.accuracy.payload_bytes < best.accuracy.payload_bytes
    assert worst.accuracy.value < best.accuracy.value


def test_accuracy_of_pictures_comes_through_their_bytes(problem: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    grey = lambda self, data, size, channels: np.full((*size, 3), 127, np.uint8)  # noqa: E731
    monkeypatch.setattr(PictureCodec, "decode", grey)
    found = small(problem).evaluator.measure(candidate("server", codec="png"))
    assert found is not None
    assert found.accuracy.value < 0.5


def test_drop_and_agreement_are_against_the_given_network(problem: Problem) -> None:
    """The given network answers class 2 for every input; this one answers what the labels say."""
    labels = np.array([sample.label for sample in problem.split.search.samples])
    given = [[np.eye(1, 6, 2, dtype=np.float32)] for _ in labels]
    asked: list[int] = []

    def reference(index: int) -> list[Any]:
        asked.append(index)
        return given[index]

    share = float((labels == 2).mean())
    assert 0 < share < 1
    made = small(problem, metric="agreement", reference=reference)
    found = made.evaluator.measure(candidate("device"))
    assert found is not None
    assert sorted(asked) == list(range(len(labels)))
    assert found.accuracy.value == pytest.approx(share)
    assert [int(made.evaluator.whole(i)[0].argmax()) for i in range(made.n)] == labels.tolist()
    top1 = small(problem, metric="top1", reference=reference).evaluator.measure(candidate("device"))
    assert top1 is not None
    assert top1.accuracy.value == 1.0
    assert top1.accuracy.drop == pytest.approx(share - 1.0)  # better than the given one


def test_the_whole_network_runs_once(problem: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[None] = []
    run = NetworkRuns.whole

    def counted(self: NetworkRuns, x: Any) -> list[Any]:
        ran.append(None)
        return run(self, x)

    monkeypatch.setattr(NetworkRuns, "whole", counted)
    made = small(problem)
    for rate in (0, 1):
        made.evaluator.measure(candidate("split", cut=INSIDE, codec="range-rans", rate=rate))
    assert len(ran) == len(problem.split.search)


def test_labels_and_groups_are_those_of_the_samples(problem: Problem) -> None:
    wrong = tuple(
        dataclasses.replace(s, label=(s.label or 0) if i % 2 else (1 + (s.label or 0)) % 6, group=str(i // 4))
        for i, s in enumerate(problem.split.search.samples)
    )
    data = dataclasses.replace(problem.split.search, samples=wrong)
    found = set_up(problem.graph, problem.split.calibration, data).evaluator.measure(candidate("device"))
    assert found is not None
    assert found.accuracy.value == 0.5
    assert found.accuracy.groups == len(data) // 4
    assert msgspec.structs.asdict(found.accuracy)["metric"] == "top1"
