"""What the report set says of a plan is kept by the bytes of its files: the same as measured, and for those only."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import msgspec
import pytest

from splitpoint.codecs.contract.channel import SymbolChannel
from splitpoint.planner.deploy.cost import Symbols
from splitpoint.planner.deploy.plan import Plan
from splitpoint.planner.deploy.schema import PlanFile
from splitpoint.planner.deploy.task import Task
from splitpoint.planner.plandir import writing as module
from splitpoint.planner.plandir.report import Reported, kept_report, run_report
from splitpoint.planner.plandir.writing import write_plan
from splitpoint.planner.search.result import SearchResult
from splitpoint.planner.store.results import Results, results_here
from splitpoint.planner.store.store import Store
from splitpoint.planner.values.candidate import Evaluated


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[Plan]:
    """The plans through which the report set was run."""
    plans: list[Plan] = []

    def run(plan: Plan, *args: object, **kwargs: object) -> object:
        plans.append(plan)
        return run_report(plan, *args, **kwargs)  # type: ignore[arg-type]  # as they were given

    monkeypatch.setattr(module, "run_report", run)
    return plans


@pytest.fixture
def first(fixed_result: SearchResult) -> Evaluated:
    return fixed_result.decision.front[0]


def kept_in(folder: Path, *, fresh: bool = False) -> Results:
    return results_here(Store(folder / "kept"), threads=1, fresh=fresh)


def but_for_the_time(plan: Plan) -> PlanFile:
    return msgspec.structs.replace(plan.file, created="")


def test_the_same_files_are_measured_once_and_give_the_same_plan(
    fixed_result: SearchResult, first: Evaluated, tmp_path: Path, measured: list[Plan]
) -> None:
    alone = write_plan(fixed_result, first, tmp_path / "alone")
    written = write_plan(fixed_result, first, tmp_path / "first", results=kept_in(tmp_path))
    assert len(measured) == 2
    results = kept_in(tmp_path)
    again = write_plan(fixed_result, first, tmp_path / "again", results=results)
    assert (len(measured), results.recalled) == (2, Counter(report=1))
    assert but_for_the_time(alone) == but_for_the_time(written) == but_for_the_time(again)
    assert again.file.report is not None


def test_a_new_point_and_a_fresh_run_are_measured(
    fixed_result: SearchResult, first: Evaluated, tmp_path: Path, measured: list[Plan]
) -> None:
    write_plan(fixed_result, first, tmp_path / "first", results=kept_in(tmp_path))
    write_plan(fixed_result, fixed_result.decision.front[-1], tmp_path / "other", results=kept_in(tmp_path))
    assert len(measured) == 2
    write_plan(fixed_result, first, tmp_path / "again", results=kept_in(tmp_path, fresh=True))
    assert len(measured) == 3


def test_a_damaged_report_is_measured_again(
    fixed_result: SearchResult, first: Evaluated, tmp_path: Path, measured: list[Plan]
) -> None:
    written = write_plan(fixed_result, first, tmp_path / "first", results=kept_in(tmp_path))
    (entry,) = (tmp_path / "kept" / "report").glob("*/*")
    entry.write_bytes(entry.read_bytes()[:-1])
    again = write_plan(fixed_result, first, tmp_path / "again", results=kept_in(tmp_path))
    assert len(measured) == 2
    assert but_for_the_time(written) == but_for_the_time(again)


def test_every_part_that_decides_the_report_is_in_its_key(fixed_plan: Path, tmp_path: Path) -> None:
    """A change of what only describes the plan, such as its link, asks for no new measurement."""
    file, results = Plan.load(fixed_plan).file, kept_in(tmp_path)
    assert file.report is not None
    assert file.payload_range is not None
    reported = Reported(accuracy=file.report, payload_range=file.payload_range)
    replace = msgspec.structs.replace
    others = {
        **{name: replace(file, files={**file.files, name: "0" * 64}) for name in file.files},
        "codec": replace(file, codec=replace(file.codec, rate=file.codec.rate + 1)),
        "task": replace(file, task=replace(file.task, outputs=(file.model.outputs[0].name,))),
        "input": replace(file, input=replace(file.input, mean=7.0)),
    }
    channel = SymbolChannel(kind="awgn", snr_db=10)
    sent = replace(
        file,
        codec=replace(file.codec, boundary="channel_symbols"),
        predicted=replace(file.predicted, symbols=Symbols(count=8, channel=channel)),
    )
    louder = replace(file.predicted, symbols=Symbols(count=8, channel=replace(channel, snr_db=11)))
    # Channel symbols have noise, which is that of a channel and a seed; bits have none.
    others |= {
        "symbols": sent,
        "another SNR": replace(sent, predicted=louder),
        "other noise": replace(sent, found_by=replace(sent.found_by, seed=file.found_by.seed + 1)),
    }
    for number, (name, other) in enumerate({"none": file, **others}.items(), start=1):
        asked: list[str] = []

        def measure(name: str = name, asked: list[str] = asked) -> Reported:
            asked.append(name)
            return reported

        assert kept_report(other, results, measure) == reported
        assert asked == [name]
        assert len(list(results.store.entries())) == number
    link = replace(file.link, name="other")
    seed = replace(file.found_by, seed=file.found_by.seed + 1)
    described = (
        replace(file, link=link),
        replace(file, created="", contents={}, point=7),
        replace(file, found_by=seed),
    )
    for same in described:
        assert kept_report(same, results, lambda: pytest.fail("measured again")) == reported


def test_what_code_of_the_users_judges_is_not_kept(fixed_plan: Path, tmp_path: Path) -> None:
    file, results = Plan.load(fixed_plan).file, kept_in(tmp_path)
    assert file.report is not None
    assert file.payload_range is not None
    reported = Reported(accuracy=file.report, payload_range=file.payload_range)
    judged = msgspec.structs.replace(file, task=Task(name="custom", metric="mine.py:share"))
    kept_report(judged, results, lambda: reported)
    assert list(results.store.entries()) == []
