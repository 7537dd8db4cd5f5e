"""A candidate measured block by block has the outcomes of one that is measured at once, and nothing runs twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from splitpoint.planner.coding.kept import KeptFits
from splitpoint.planner.coding.runs import NetworkRuns
from splitpoint.planner.cuts.enumeration import enumerate_cuts
from splitpoint.planner.quality.evaluate import Evaluator
from splitpoint.planner.quality.kept import KeptOutcomes
from splitpoint.planner.samples.blocks import Blocks
from splitpoint.planner.samples.dataset import NetworkInputs
from splitpoint.planner.setup.config import read_config
from splitpoint.planner.setup.loading import Problem, load_problem
from splitpoint.planner.store.results import Results
from splitpoint.planner.store.store import Store
from splitpoint.planner.values.candidate import Candidate
from splitpoint.planner.values.keys import runtime_on
from splitpoint.profiles.machine.machine import this_machine

SPLIT = Candidate(variant="given", placement="split", cut="r1", codec="range-rans", rate=2)
JPEG = Candidate(variant="given", placement="server", cut="", codec="jpeg", rate=3)
DEVICE = Candidate(variant="given", placement="device", cut="", codec="-", rate=0)


@pytest.fixture(scope="module")
def problem(fixed_home: Path) -> Problem:
    return load_problem(read_config(fixed_home / "labelled.yaml"))


@pytest.fixture
def runs(problem: Problem, tmp_path: Path) -> Iterator[NetworkRuns]:
    sets = {"calibration": NetworkInputs(problem.split.calibration), "search": NetworkInputs(problem.split.search)}
    fits = KeptFits(results=results(tmp_path), input_block=problem.spec, data_sha256="calibration", seed=0)
    with NetworkRuns(problem.graph, sets, threads=1, kept=fits) as made:
        yield made


def results(folder: Path) -> Results:
    return Results(store=Store(folder), runtime=runtime_on(this_machine(threads=1)))


def evaluator(problem: Problem, runs: NetworkRuns, folder: Path | None, blocks: Blocks | None) -> Evaluator:
    cuts = {cut.name: cut for cut in enumerate_cuts(problem.graph).cuts}
    kept = None
    if folder is not None:
        kept = KeptOutcomes(
            results=results(folder),
            model_sha256=problem.graph.sha256,
            reference_sha256=problem.graph.sha256,
            input_block=problem.spec,
            data_sha256=problem.split.search.sha256(),
            subset="search",
            task=problem.metric.task,
            against=problem.metric.against,
        )
    names = [tensor.name for tensor in problem.graph.outputs]
    return Evaluator(runs, problem.split.search, problem.metric, cuts.__getitem__, names, kept=kept, blocks=blocks)


def thirds(problem: Problem) -> Blocks:
    count = len(problem.split.search)
    return Blocks(groups=tuple((i,) for i in reversed(range(count))), ends=(count // 3, 2 * count // 3, count))


@pytest.mark.parametrize("candidate", [SPLIT, JPEG, DEVICE], ids=lambda c: c.placement)
def test_blocks_add_up_to_the_whole(problem: Problem, runs: NetworkRuns, candidate: Candidate) -> None:
    blocks = thirds(problem)
    grown, whole = evaluator(problem, runs, None, blocks), evaluator(problem, runs, None, None)
    part = grown.measure(candidate, 1)
    assert part is not None
    assert part.outcomes.indices == blocks.block(0)
    assert part.accuracy.n == len(blocks.block(0))
    everything = whole.measure(candidate)
    assert grown.measure(candidate) == everything
    assert everything is not None
    assert part.outcomes.inputs == tuple(everything.outcomes.inputs[i] for i in blocks.block(0))


def test_growing_runs_what_is_missing_and_another_run_nothing(
    problem: Problem, runs: NetworkRuns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, blocks = evaluator(problem, runs, tmp_path, thirds(problem)), thirds(problem)
    first.measure(SPLIT, 1)
    assert first.tail_runs + first.tail_reused == len(blocks.block(0))
    grown = first.measure(SPLIT)
    assert first.tail_runs + first.tail_reused == len(problem.split.search)
    assert not first.recalled
    again = evaluator(problem, runs, tmp_path, thirds(problem))
    monkeypatch.setattr(Evaluator, "_run", lambda *args: pytest.fail("measured again"))
    assert again.measure(SPLIT) == grown
    assert again.recalled == {SPLIT}


def test_sizes_are_those_of_the_payloads_and_are_kept(
    problem: Problem, runs: NetworkRuns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = evaluator(problem, runs, None, None).measure(SPLIT)
    assert measured is not None
    assert evaluator(problem, runs, tmp_path, None).sizes(SPLIT) == measured.outcomes.payload_bytes
    monkeypatch.setattr(NetworkRuns, "encode", lambda *args: pytest.fail("coded again"))
    assert evaluator(problem, runs, tmp_path, None).sizes(SPLIT) == measured.outcomes.payload_bytes
