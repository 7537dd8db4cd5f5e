"""A landscape is recorded once, goes on where it stopped, and holds what the evaluator measures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from splitpoint.benchmarks import landscape
from splitpoint.benchmarks.landscape import Landscape, record
from splitpoint.codecs.registry import REGISTRY
from splitpoint.planner.coding.runs import NetworkRuns
from splitpoint.planner.deploy.schema import IOTensor
from splitpoint.planner.deploy.task import Task
from splitpoint.planner.quality.evaluate import Evaluator
from splitpoint.planner.quality.metrics.registry import make_metric
from splitpoint.planner.samples.dataset import Dataset, NetworkInputs, Sample
from splitpoint.planner.values.candidate import GIVEN, Candidate
from splitpoint.profiles.network.graph import load_graph
from splitpoint.profiles.network.inputs import InputSpec
from splitpoint.tests.small_plan import CLASSES, SIDE, write_inputs

CODECS = ("raw", "fast")


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Landscape:
    """The network of tests/small_plan.py with random inputs, two codecs and two cuts."""
    monkeypatch.setattr(landscape, "REGISTRY", {name: REGISTRY[name] for name in CODECS})
    monkeypatch.setattr(landscape, "CUTS", 2)
    write_inputs(tmp_path)
    graph = load_graph((tmp_path / "model.onnx").read_bytes(), name="small")
    rng = np.random.default_rng(0)

    def draw(count: int) -> Dataset:
        samples = [
            Sample(
                name=str(i),
                group=str(i),
                tensor=rng.normal(size=(1, 3, SIDE, SIDE)).astype(np.float32),
                label=int(rng.integers(CLASSES)),
            )
            for i in range(count)
        ]
        return Dataset(spec=InputSpec(kind="tensor"), samples=tuple(samples))

    return Landscape(graph=graph, calibration=draw(8), measured=draw(12), coded=5)


def test_units_are_recorded_once_and_by_parts(small: Landscape, tmp_path: Path) -> None:
    work, said = tmp_path / "work", list[str]()
    assert record(small, work, part=(1, 2), say=said.append) == 0
    first = {path.name: path.read_bytes() for path in work.glob("*.npz")}
    assert len(said) == 2
    assert len(first) == 3  # and unsplit.npz
    assert record(small, work, until=0.0) == 2
    assert record(small, work, say=said.append) == 0
    assert len(said) == 4
    assert sorted(path.name for path in work.iterdir()) == [
        "00-fast.npz",
        "00-raw.npz",
        "01-fast.npz",
        "01-raw.npz",
        "unsplit.npz",
    ]
    assert {name: (work / name).read_bytes() for name in first} == first
    assert record(small, work, say=said.append) == 0
    assert len(said) == 4


def test_what_is_recorded_is_what_happened(small: Landscape, tmp_path: Path) -> None:
    record(small, tmp_path / "work")
    with np.load(tmp_path / "work" / "unsplit.npz") as stored:
        outputs, labels, right = stored["outputs"], stored["labels"], stored["right"]
    assert (right == (outputs.argmax(axis=1) == labels)).all()
    for name in ("00-fast", "01-raw"):
        with np.load(tmp_path / "work" / f"{name}.npz") as stored:
            unit = dict(stored)
        assert unit["right"].shape == (len(unit["rates"]), 12)
        assert unit["payload_bytes"].shape == (len(unit["rates"]), 5)
        assert (unit["payload_bytes"] > 18).all()
        if name.endswith("raw"):
            assert (unit["right"] == right).all()
            assert unit["relative_error"].max() < 1e-5
        else:
            assert list(unit["rates"]) == list(range(len(REGISTRY["fast"].rates)))
            assert (np.diff(unit["payload_bytes"].mean(axis=1)) != 0).all()
            assert unit["divergence"].max() > 0


def test_units_are_what_the_evaluator_measures(small: Landscape, tmp_path: Path) -> None:
    record(small, tmp_path / "work")
    inputs = {"calibration": NetworkInputs(small.calibration), "search": NetworkInputs(small.measured)}
    outputs = [IOTensor(name=t.name, shape=t.shape, dtype=t.dtype) for t in small.graph.outputs]
    metric = make_metric(Task(name="classify"), outputs, "labels")
    with NetworkRuns(small.graph, inputs, threads=1, labels=small.calibration.labels) as runs:
        cuts = {cut.name: cut for cut, _ in landscape.units(small, runs)}
        names = [tensor.name for tensor in small.graph.outputs]
        evaluator = Evaluator(runs, small.measured, metric, cuts.__getitem__, names)
        for path in sorted((tmp_path / "work").glob("0*.npz")):
            with np.load(path) as stored:
                unit = dict(stored)
            for row, rate in enumerate(unit["rates"]):
                candidate = Candidate(
                    variant=GIVEN, placement="split", cut=unit["cut"].item(), codec=unit["codec"].item(), rate=int(rate)
                )
                measured = evaluator.measure(candidate)
                assert measured is not None
                rows = measured.outcomes.inputs
                assert unit["right"][row].tolist() == [one.counts[0] > 0 for one in rows]
                for name in ("divergence", "margin_change", "truth_margin", "relative_error"):
                    assert unit[name][row].tolist() == [float(np.float32(getattr(one, name))) for one in rows]
                assert unit["payload_bytes"][row].tolist() == list(measured.outcomes.payload_bytes[: small.coded])


def test_a_quantizer_whose_bytes_change_the_tensor_is_found(
    small: Landscape, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = landscape._Quantizer.run
    monkeypatch.setattr(landscape._Quantizer, "run", lambda self, x: run(self, x) + 1e-6)
    with pytest.raises(RuntimeError, match="fast, rate 0, input 0: bytes change the tensor"):
        record(small, tmp_path / "work")
