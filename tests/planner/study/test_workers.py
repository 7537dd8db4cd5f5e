"""Two workers of one study as real processes, on a journal and on PostgreSQL: one is killed, and nothing is lost."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import optuna
import pytest

from splitpoint.planner.flow import plan
from splitpoint.planner.limits.need import Need
from splitpoint.planner.search.result import SearchResult
from splitpoint.planner.setup.config import PlanConfig, SearchConfig, TrainConfig, read_config
from splitpoint.planner.setup.loading import load_problem
from splitpoint.planner.store.store import Store
from splitpoint.planner.study import stage, worker
from splitpoint.planner.study.bundle import read_bundle
from splitpoint.planner.study.search import search
from splitpoint.planner.study.storage import Place, join_study, open_storage
from splitpoint.planner.study.trials import Trials, candidate_of
from splitpoint.planner.values.progress import Silent
from splitpoint.profiles.errors import ProfileError
from splitpoint.tests.postgresql import postgresql

BUDGET = 30
LEFT = 4  # candidates that the planner measures before it hands over to the workers


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    with postgresql() as url:
        yield url


@pytest.fixture(params=["journal", "postgresql"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "a.journal") if request.param == "journal" else request.getfixturevalue("database")


@pytest.fixture
def config(fixed_home: Path) -> PlanConfig:
    return msgspec.structs.replace(
        read_config(fixed_home / "labelled.yaml"),
        device=str(fixed_home / "slow.yaml"),
        need=Need(max_drop=0.2),
        search=SearchConfig(evaluations=BUDGET, patience=0, codecs=("raw", "fast", "kltq-ctx"), max_cuts=3, race=False),
    )


class EnoughError(Exception):
    """The planner was asked to stop here."""


def run(config: PlanConfig, home: Path, store: Path, place: Place | None, *, fresh: bool = False) -> SearchResult:
    return plan(
        load_problem(config), stored_profile=home / "fixed.yaml", store=Store(store), studies=place, fresh=fresh
    )


def begin(config: PlanConfig, home: Path, store: Path, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A planner that is interrupted after a few candidates."""
    calls: list[Any] = []

    def stopping(space: Any, evaluate: Any, *arguments: Any, **options: Any) -> Any:
        def measured(candidate: Any) -> Any:
            calls.append(candidate)
            if len(calls) > LEFT:
                raise EnoughError
            return evaluate(candidate)

        return search(space, measured, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(stage, "search", stopping)
        with pytest.raises(EnoughError):
            run(config, home, store, place)


def start(study: str, storage: str, artifacts: str, cache: Path, slow_s: float = 0.0) -> subprocess.Popen[str]:
    """A worker of its own process and cache; each of its candidates takes `slow_s` longer."""
    code = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a job in the background is started without it
        "from splitpoint.planner.measuring.measurer import Measurer\n"
        "honest = Measurer.evaluate\n"
        f"def slow(self, candidate): print('begun', flush=True); time.sleep({slow_s}); return honest(self, candidate)\n"
        "Measurer.evaluate = slow\n"
        "from splitpoint.cli import main; sys.exit(main(sys.argv[1:]))\n"
    )
    command = [sys.executable, "-c", code, "work", study, "--storage", storage, "--artifacts", artifacts]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "SPLITPOINT_CACHE": str(cache)},
    )


@contextlib.contextmanager
def trials_of(study: str, storage: str) -> Iterator[Trials]:
    with open_storage(storage) as opened:
        yield join_study(opened, study).trials


def test_two_workers_of_which_one_is_killed(
    config: PlanConfig, fixed_home: Path, tmp_path: Path, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifacts, study = str(tmp_path / "shared"), f"two-{tmp_path.name}"[:60]
    place = Place(storage=storage, study=study, artifacts=artifacts)
    begin(config, fixed_home, tmp_path / "planner", place, monkeypatch)
    killed = start(study, storage, artifacts, tmp_path / "first", slow_s=0.5)
    assert killed.stdout is not None
    for _ in range(3):  # in the middle of its third candidate
        assert killed.stdout.readline() == "begun\n"
    other = start(study, storage, artifacts, tmp_path / "second")
    time.sleep(0.2)
    killed.send_signal(signal.SIGKILL)
    out, err = other.communicate(timeout=300)
    killed.communicate()
    assert other.returncode == 0, err
    assert f"{BUDGET} of {BUDGET} are measured" in " ".join(out.split())

    with trials_of(study, storage) as trials:
        every, judged = trials.study.get_trials(), trials.judged()
    assert not {"RUNNING", "WAITING"} & {trial.state.name for trial in every}
    measured = [candidate_of(trial) for trial in judged.values()]
    assert len(measured) == len({*measured}) == BUDGET
    lost = [candidate_of(trial) for trial in every if trial.state.name == "FAIL" and "candidate" in trial.user_attrs]
    assert lost  # what the planner and the killed worker had begun
    assert {*lost} <= {*measured}

    with monkeypatch.context() as patch:
        calls: list[Any] = []
        patch.setattr(stage, "search", counting(calls))
        result = run(config, fixed_home, tmp_path / "planner", place)
    assert calls == []
    alone = run(
        msgspec.structs.replace(config, search=msgspec.structs.replace(config.search, evaluations=0)),
        fixed_home,
        tmp_path / "alone",
        None,
    )
    baselines = {point.candidate for point in alone.points}
    assert {point.candidate for point in result.points} == {*measured} | baselines
    assert result.recalled >= BUDGET - LEFT  # what workers measured is not measured again


def counting(calls: list[Any]) -> Any:
    def counted(space: Any, evaluate: Any, *arguments: Any, **options: Any) -> Any:
        def measured(candidate: Any) -> Any:
            calls.append(candidate)
            return evaluate(candidate)

        return search(space, measured, *arguments, **options)

    return counted


def test_what_a_worker_measures_is_what_the_planner_would_have(
    config: PlanConfig, fixed_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same candidates measured by the planner alone have equal costs, accuracies and outcomes of every input."""
    storage, artifacts = str(tmp_path / "journal"), str(tmp_path / "shared")
    place = Place(storage=storage, study="one", artifacts=artifacts)
    begin(config, fixed_home, tmp_path / "planner", place, monkeypatch)
    work(storage, artifacts, tmp_path / "worker")
    shared = run(config, fixed_home, tmp_path / "planner", place)
    alone = run(config, fixed_home, tmp_path / "alone", None)
    assert sorted(p.candidate for p in shared.points) == sorted(p.candidate for p in alone.points)
    assert {p.candidate: p for p in shared.points} == {p.candidate: p for p in alone.points}
    assert shared.decision == alone.decision


def test_a_planner_that_measures_everything_again_uses_what_workers_of_its_study_measure(
    config: PlanConfig, fixed_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, artifacts = str(tmp_path / "journal"), str(tmp_path / "shared")
    place = Place(storage=storage, study="one", artifacts=artifacts)
    begin(config, fixed_home, tmp_path / "planner", place, monkeypatch)
    work(storage, artifacts, tmp_path / "worker")
    again = run(config, fixed_home, tmp_path / "planner", place, fresh=True)
    assert again.recalled >= BUDGET - LEFT


def test_results_that_were_changed_are_measured_again(
    config: PlanConfig, fixed_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, artifacts = str(tmp_path / "journal"), tmp_path / "shared"
    place = Place(storage=storage, study="one", artifacts=str(artifacts))
    begin(config, fixed_home, tmp_path / "planner", place, monkeypatch)
    before = {*artifacts.iterdir()}
    work(storage, str(artifacts), tmp_path / "worker")
    for number, path in enumerate(sorted({*artifacts.iterdir()} - before)):
        path.write_bytes(path.read_bytes()[:-1]) if number % 2 else path.unlink()
    result = run(config, fixed_home, tmp_path / "planner", place)
    alone = run(config, fixed_home, tmp_path / "alone", None)
    assert {point.candidate: point for point in result.points} == {point.candidate: point for point in alone.points}
    baselines = 1 + sum(point.candidate.placement != "split" for point in result.points)  # raw is a split
    assert result.recalled <= LEFT + baselines


def work(storage: str, artifacts: str, cache: Path, **options: Any) -> worker.Work:
    given = {"threads": None, "trust_code": False, **options}
    return worker.work("one", storage=storage, artifacts=artifacts, store=Store(cache), progress=Silent(), **given)


def test_of_another_runtime_only_what_a_plan_may_use_is_measured_again(
    config: PlanConfig, fixed_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, artifacts = str(tmp_path / "journal"), str(tmp_path / "shared")
    place = Place(storage=storage, study="one", artifacts=artifacts)
    begin(config, fixed_home, tmp_path / "planner", place, monkeypatch)
    work(storage, artifacts, tmp_path / "worker", threads=2)  # two threads are another runtime
    result = run(config, fixed_home, tmp_path / "planner", place)
    alone = run(config, fixed_home, tmp_path / "alone", None)
    # Drops are estimated from all points that are known, which are fewer here: the front may differ, the answer not.
    here, there = (found.decision.recommended for found in (result, alone))
    assert (here and here.candidate) == (there and there.candidate)
    assert len(result.points) < len(alone.points)
    assert result.recalled < len(result.points)


def test_attributes_say_parts_of_the_cost_quality_and_provenance(
    config: PlanConfig, fixed_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(storage=str(tmp_path / "journal"), study="one")
    result = run(config, fixed_home, tmp_path / "planner", place)
    points = {point.candidate: point for point in result.points}
    with trials_of("one", str(tmp_path / "journal")) as trials:
        judged = list(trials.judged().values())
    for trial in judged:
        point, about = points[candidate_of(trial)], trial.user_attrs
        assert about["cost"]["head_s"] == point.cost.head_s
        assert about["cost"]["latency_s"] == point.cost.latency_s
        assert about["quality"]["low"] == point.accuracy.low
        assert {"host", "cpu", "runtime", "splitpoint", "onnxruntime", "measured"} <= {*about["provenance"]}


def test_ctrl_c_ends_a_worker_at_once_and_leaves_its_candidate_to_others(
    config: PlanConfig, fixed_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, artifacts = str(tmp_path / "journal"), str(tmp_path / "shared")
    begin(config, fixed_home, tmp_path / "planner", Place(storage=storage, study="one"), monkeypatch)
    artifacts = storage + ".artifacts"
    process = start("one", storage, artifacts, tmp_path / "worker", slow_s=60)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGINT)
    try:
        _, err = process.communicate(timeout=50)
    finally:
        process.kill()
    assert (process.returncode, "interrupted" in err) == (130, True)
    with trials_of("one", storage) as trials:
        states = [trial.state.name for trial in trials.study.get_trials()]
    assert (states.count("RUNNING"), states.count("WAITING")) == (0, 1)


def test_code_of_the_users_is_not_run_by_a_worker_unless_it_is_trusted(
    config: PlanConfig, fixed_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker = tmp_path / "ran"
    (tmp_path / "metric.py").write_text(
        "import pathlib\n"
        f"pathlib.Path({str(marker)!r}).touch()\n"
        "def share(outputs, truth): return float(outputs['scores'].argmax() == truth)\n"
    )
    own = msgspec.structs.replace(config, metric=f"{tmp_path / 'metric.py'}:share", need=Need())
    place = Place(storage=str(tmp_path / "journal"), study="one", artifacts=str(tmp_path / "shared"))
    begin(own, fixed_home, tmp_path / "planner", place, monkeypatch)
    marker.unlink()
    code = "import sys; from splitpoint.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "work", "one", "--storage", str(tmp_path / "journal")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 3
    assert re.search(r"runs code.*metric\.py:share", done.stderr, re.S)
    assert not marker.exists()
    done = subprocess.run([*command, "--trust-code"], capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr
    assert marker.exists()


def test_artifacts_that_were_changed_are_refused(
    config: PlanConfig, fixed_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, artifacts = str(tmp_path / "journal"), tmp_path / "shared"
    begin(
        config,
        fixed_home,
        tmp_path / "planner",
        Place(storage=storage, study="one", artifacts=str(artifacts)),
        monkeypatch,
    )
    with trials_of("one", storage) as trials:
        names = {meta.artifact_id: meta.filename for meta in optuna.artifacts.get_all_artifact_meta(trials.study)}
    assert {"problem.msgpack", "model.onnx", "search.npz", "calibration.npz"} <= {*names.values()}
    assert not any("report" in name for name in names.values())
    for number in names:
        path = artifacts / number
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(ProfileError, match="hash differs"):
            work(storage, str(artifacts), tmp_path / "worker" / number)
        path.write_bytes(content)
    with pytest.raises(ProfileError, match="cannot be read"):
        work(storage, str(tmp_path / "elsewhere"), tmp_path / "worker")


def test_another_version_of_the_package_is_refused(
    config: PlanConfig, fixed_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = str(tmp_path / "journal")
    begin(config, fixed_home, tmp_path / "planner", Place(storage=storage, study="one"), monkeypatch)
    monkeypatch.setattr("splitpoint.planner.study.bundle.code_sha256", lambda: "another")
    with pytest.raises(ProfileError, match="another version"):
        work(storage, storage + ".artifacts", tmp_path / "worker")


def test_a_study_that_trains_is_measured_by_one_machine_alone(
    config: PlanConfig, fixed_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = str(tmp_path / "journal")
    begin(config, fixed_home, tmp_path / "planner", Place(storage=storage, study="one"), monkeypatch)

    def training(opened: Any, artifacts: Any) -> Any:
        bundle, shared = read_bundle(opened, artifacts)
        trains = msgspec.structs.replace(bundle.config, train=TrainConfig(source="more"))
        return msgspec.structs.replace(bundle, config=trains), shared

    monkeypatch.setattr(worker, "read_bundle", training)
    with pytest.raises(ProfileError, match="trains codecs, which other machines cannot"):
        work(storage, storage + ".artifacts", tmp_path / "worker")


def test_a_worker_whose_study_is_begun_anew_says_so(
    config: PlanConfig, fixed_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = str(tmp_path / "journal")
    begin(config, fixed_home, tmp_path / "planner", Place(storage=storage, study="one"), monkeypatch)

    def removing(*arguments: Any, **options: Any) -> Any:
        with open_storage(storage) as opened:
            optuna.delete_study(study_name="one", storage=opened)
        return search(*arguments, **options)

    monkeypatch.setattr(worker, "search", removing)
    with pytest.raises(ProfileError, match="there is no study one"):
        work(storage, storage + ".artifacts", tmp_path / "worker")


@pytest.mark.parametrize("damaged", [False, True])
def test_a_cache_folder_that_cannot_hold_a_study_does_not_stop_a_plan(
    config: PlanConfig, fixed_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damaged: bool
) -> None:
    monkeypatch.setenv("SPLITPOINT_CACHE", str(tmp_path / "cache"))
    if damaged:
        run(config, fixed_home, tmp_path / "planner", Place())
        (journal,) = (tmp_path / "cache" / "studies").glob("*.journal")
        journal.write_text("no journal\n")
    else:
        (tmp_path / "cache").touch()
    result = run(config, fixed_home, tmp_path / "planner", Place())
    assert result.decision == run(config, fixed_home, tmp_path / "alone", None).decision


def test_a_study_without_artifacts_cannot_be_joined(tmp_path: Path) -> None:
    with open_storage(str(tmp_path / "journal")) as storage:
        optuna.create_study(study_name="one", storage=storage)
    with pytest.raises(ProfileError, match="has no artifacts"):
        work(str(tmp_path / "journal"), str(tmp_path), tmp_path / "worker")
