"""A second run measures only what the first did not: the same answers, by content, and nothing when asked for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from splitpoint.codecs.contract.preset import Preset
from splitpoint.codecs.contract.protocol import FitError
from splitpoint.planner.coding import kept
from splitpoint.planner.coding.context import Contexts, Sensitivities
from splitpoint.planner.coding.runs import NetworkRuns
from splitpoint.planner.flow import plan
from splitpoint.planner.limits.need import Need
from splitpoint.planner.measuring import unsplit
from splitpoint.planner.quality.evaluate import Evaluator
from splitpoint.planner.search import tables
from splitpoint.planner.search.result import SearchResult
from splitpoint.planner.setup.config import PlanConfig, SearchConfig, read_config
from splitpoint.planner.setup.loading import load_problem
from splitpoint.planner.store.results import Results
from splitpoint.planner.store.store import Store
from splitpoint.planner.values.candidate import Evaluated
from splitpoint.planner.values.keys import runtime_on
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.machine.machine import this_machine
from splitpoint.profiles.network.graph import load_graph
from splitpoint.profiles.network.inputs import InputSpec
from splitpoint.profiles.network.model import ModelGraph


@pytest.fixture
def config(fixed_home: Path) -> PlanConfig:
    return msgspec.structs.replace(
        read_config(fixed_home / "labelled.yaml"),
        device=str(fixed_home / "slow.yaml"),
        search=SearchConfig(evaluations=10, codecs=("raw", "fast", "kltq-ctx"), max_cuts=2, race=False),
    )


def run(config: PlanConfig, home: Path, store: Store | None, *, fresh: bool = False) -> SearchResult:
    return plan(load_problem(config), stored_profile=home / "fixed.yaml", store=store, fresh=fresh)


def figures(result: SearchResult) -> list[Evaluated]:
    return sorted(result.points, key=lambda point: point.candidate)


def test_the_second_run_measures_nothing_and_finds_the_same(
    config: PlanConfig, fixed_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = run(config, fixed_home, None)
    first = run(config, fixed_home, Store(tmp_path))
    assert first.recalled == 0
    assert figures(first) == figures(alone)
    monkeypatch.setattr(Evaluator, "_run", lambda *args: pytest.fail("measured again"))
    monkeypatch.setattr(NetworkRuns, "tail", lambda *args: pytest.fail("a tail ran"))
    monkeypatch.setattr(Contexts, "_have_sensitivities", lambda *args: pytest.fail("sensitivities again"))
    second = run(config, fixed_home, Store(tmp_path))
    assert figures(second) == figures(alone)
    assert second.recalled == len(second.points)
    assert (second.tail_runs, second.tail_reused) == (0, 0)
    assert second.decision.recommended == alone.decision.recommended


def test_another_link_and_limit_use_what_was_measured(config: PlanConfig, fixed_home: Path, tmp_path: Path) -> None:
    run(config, fixed_home, Store(tmp_path))
    other = msgspec.structs.replace(config, link="lte-cat1", need=Need(max_drop=0.2))
    again = run(other, fixed_home, Store(tmp_path))
    alone = run(other, fixed_home, None)
    assert figures(again) == figures(alone)
    assert 0 < again.recalled <= len(again.points)


def test_what_changes_the_outcomes_is_measured_again(config: PlanConfig, fixed_home: Path, tmp_path: Path) -> None:
    run(config, fixed_home, Store(tmp_path))
    other = msgspec.structs.replace(config, search=msgspec.structs.replace(config.search, seed=7))  # other inputs
    again = run(other, fixed_home, Store(tmp_path))
    assert again.recalled == 0
    assert figures(again) == figures(run(other, fixed_home, None))


def test_fresh_measures_everything_again(config: PlanConfig, fixed_home: Path, tmp_path: Path) -> None:
    first = run(config, fixed_home, Store(tmp_path))
    again = run(config, fixed_home, Store(tmp_path), fresh=True)
    assert again.recalled == 0
    assert figures(again) == figures(first)


def test_damaged_entries_are_made_again(config: PlanConfig, fixed_home: Path, tmp_path: Path) -> None:
    first = run(config, fixed_home, Store(tmp_path))
    entries = list(Store(tmp_path).entries())
    kinds = {"coding-work", "cuts", "fitted-codec", "outcomes", "probe", "sensitivities", "unsplit"}
    assert {entry.kind for entry in entries} == kinds
    for number, entry in enumerate(entries):
        path = tmp_path / entry.kind / entry.key[:2] / entry.key
        path.write_bytes(path.read_bytes()[: -1 - number % 5] if number % 2 else b"")
    store = Store(tmp_path)
    again = run(config, fixed_home, store)
    assert (again.recalled, store.damaged > 0) == (0, True)
    assert figures(again) == figures(first)
    assert run(config, fixed_home, Store(tmp_path)).recalled == len(again.points)


def test_where_nothing_changed_nothing_is_looked_at_again(
    config: PlanConfig, fixed_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A codec that cannot be fitted is not fitted again either, and every input has gone through the network."""

    honest, refused = Preset.fit, list[str]()

    def fit(codec: Preset, *arguments: Any) -> Any:
        if codec.name != "fast":
            return honest(codec, *arguments)
        refused.append(codec.name)
        raise FitError("no plugin")

    monkeypatch.setattr(Preset, "fit", fit)
    first = run(config, fixed_home, Store(tmp_path))
    assert first.left_out
    assert set(first.left_out.values()) == {"no plugin"}
    before = len(refused)
    assert before > 0
    with monkeypatch.context() as patch:
        patch.setattr(unsplit, "_look", no_look)
        patch.setattr(tables, "choose_usable", no_look)
        again = run(config, fixed_home, Store(tmp_path))
    assert len(refused) == before
    assert again.left_out == first.left_out
    assert figures(again) == figures(first)
    monkeypatch.setattr(unsplit, "_look", no_look)
    with pytest.raises(LookedError):  # other inputs
        run(msgspec.structs.replace(config, search=SearchConfig(seed=3)), fixed_home, Store(tmp_path))


class LookedError(Exception):
    """Something was looked at again."""


def no_look(*arguments: object, **named: object) -> None:
    raise LookedError


def test_a_killed_run_loses_the_work_in_flight_only(config: PlanConfig, fixed_home: Path, tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; import msgspec\n"
        "from splitpoint.planner.quality.evaluate import Evaluator\n"
        "from splitpoint.planner.flow import plan\n"
        "from splitpoint.planner.setup.config import PlanConfig, SearchConfig, read_config\n"
        "from splitpoint.planner.setup.loading import load_problem\n"
        "from splitpoint.planner.store.store import Store\n"
        "home, folder = Path(sys.argv[1]), Path(sys.argv[2]); honest, left = Evaluator._run, [5]\n"
        "def run(self, candidate, inputs):\n"
        "    left[0] -= 1\n"
        "    if left[0] == 0: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return honest(self, candidate, inputs)\n"
        "Evaluator._run = run\n"
        "config = msgspec.structs.replace(read_config(home / 'labelled.yaml'), device=str(home / 'slow.yaml'),\n"
        "    search=SearchConfig(evaluations=10, codecs=('raw', 'fast', 'kltq-ctx'), max_cuts=2))\n"
        "plan(load_problem(config), stored_profile=home / 'fixed.yaml', store=Store(folder))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(fixed_home), str(tmp_path)], check=False, timeout=200)
    assert done.returncode == -9
    again = run(config, fixed_home, Store(tmp_path))
    assert again.recalled == 4
    assert figures(again) == figures(run(config, fixed_home, None))


def test_what_code_of_the_users_judges_is_measured_each_time(
    config: PlanConfig, fixed_home: Path, tmp_path: Path
) -> None:
    """The metric depends on a file beside it that changes between two runs; its own file and hash stay the same."""
    (tmp_path / "metric.py").write_text(
        "from pathlib import Path\n"
        "def share(outputs, truth):\n"
        "    return float(Path(__file__).with_name('worth.txt').read_text())\n"
    )
    custom = msgspec.structs.replace(config, metric=f"{tmp_path / 'metric.py'}:share", need=Need())
    store = Store(tmp_path / "kept")
    worths = []
    for worth in (1.0, 0.5):
        (tmp_path / "worth.txt").write_text(str(worth))
        result = run(custom, fixed_home, store)
        assert result.recalled == 0
        worths.append({p.outcomes.inputs[0].counts[0] for p in result.points if p.outcomes is not None})
    assert worths == [{1.0}, {0.5}]
    assert {entry.kind for entry in store.entries()} == {"coding-work", "cuts", "fitted-codec", "sensitivities"}


@pytest.fixture
def fits(tmp_path: Path) -> kept.KeptFits:
    results = Results(store=Store(tmp_path), runtime=runtime_on(this_machine(threads=1)))
    return kept.KeptFits(results=results, input_block=InputSpec(kind="tensor"), data_sha256="", seed=0)


@pytest.fixture
def graph(fixed_home: Path) -> ModelGraph:
    return load_graph((fixed_home / "model.onnx").read_bytes(), name="model")


def test_a_module_whose_code_cannot_be_compared_is_planned_as_without_a_store(
    fits: kept.KeptFits, graph: ModelGraph, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_source(module: object) -> str:
        raise ProfileError("a class without a source file")

    monkeypatch.setattr(kept, "module_sha256", no_source)
    monkeypatch.setattr(kept, "is_torch_spec", lambda source: True)
    monkeypatch.setattr(kept, "load_module", lambda source: None)
    found = Sensitivities()
    assert fits.sensitivities(graph, [], lambda: found) is found
    assert list(fits.results.store.entries()) == []


@pytest.mark.parametrize(
    ("found", "entries"),
    [
        (Sensitivities(gradients={"a": np.ones((2, 3))}, missing={"a": "there is no torch"}), 1),
        (Sensitivities(gradients={"a": np.ones((2, 3))}, missing={"b": "out of memory"}), 0),
    ],
    ids=["found", "failed"],
)
def test_sensitivities_that_failed_are_not_kept(
    fits: kept.KeptFits, graph: ModelGraph, found: Sensitivities, entries: int
) -> None:
    fits.sensitivities(graph, [], lambda: found)
    again = fits.sensitivities(graph, [], lambda: found)
    assert len(list(fits.results.store.entries())) == entries
    assert np.array_equal(again.gradients["a"], found.gradients["a"])
    assert again.missing == found.missing
