"""The campaign counts what became of each case, goes on from its state, and fails when anything foreign was found."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from splitpoint.tests.fuzz import campaign
from splitpoint.tests.fuzz.target import Target


def run_one(case: int) -> str:
    if case % 10 == 7:
        raise KeyError("missing")
    return "accepted" if case % 10 == 3 else "refused"


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    seen: list[int] = []

    def remember(case: int) -> str:
        seen.append(case)
        return "refused"

    targets = [Target(name="bad/one", run=run_one), Target(name="good/one", run=remember)]
    monkeypatch.setattr(campaign, "find_targets", lambda: targets)
    return seen


@pytest.mark.usefixtures("calls")
def test_outcomes_are_counted_and_foreign_ones_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert campaign.main(["--target", "bad", "--cases", "20", "--state", str(tmp_path / "state")]) == 1
    printed = capsys.readouterr().out
    assert ["bad/one", "20", "16", "2", "2", "0"] in [line.split()[:6] for line in printed.splitlines()]
    assert "bad/one: case 7 foreign: KeyError: 'missing' (test_campaign.py:" in printed
    assert "bad/one: case 17 foreign" in printed
    assert "good" not in printed


def test_a_campaign_goes_on_where_it_stopped(
    calls: list[int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = tmp_path / "state.json"
    for cases in (5, 12, 12):
        assert campaign.main(["--target", "good", "--cases", str(cases), "--state", str(state)]) == 0
    assert calls == list(range(12))
    assert json.loads(state.read_text())["good/one"]["outcomes"] == {"refused": 12}
    assert campaign.main(["--cases", "8", "--state", str(state)]) == 1  # of all targets
    assert calls == list(range(12))
    assert list(tmp_path.iterdir()) == [state]


def test_what_was_found_before_still_counts(calls: list[int], tmp_path: Path) -> None:
    state = ["--state", str(tmp_path / "state.json")]
    assert campaign.main(["--target", "bad", "--cases", "8", *state]) == 1
    assert campaign.main(["--target", "bad", "--cases", "8", *state]) == 1
    assert campaign.main(["--target", "good", "--cases", "8", *state]) == 0


def test_time_ends_a_campaign(calls: list[int]) -> None:
    assert campaign.main(["--target", "good", "--cases", "1000000000", "--minutes", "0.002"]) == 0
    assert calls == list(range(len(calls)))


def test_a_case_is_slow_when_it_is_so_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    took = {0: [0.1], 1: [2.2, 0.1], 2: [2.2, 2.3], 3: [2.0]}
    clock = [0.0]

    def wait(case: int) -> str:
        clock[0] += took[case].pop(0)
        return "refused"

    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    tally = campaign.Tally()
    for _ in range(4):
        tally.run(Target(name="slow", run=wait))
    assert tally.outcomes == {"refused": 4, "slow": 1}
    assert [(row["case"], row["what"]) for row in tally.cases] == [(2, "2.2 s")]
    assert tally.found == 1


@pytest.mark.usefixtures("calls")
def test_an_unknown_target_is_refused_with_the_names_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        campaign.main(["--target", "other"])
    assert "there are bad/one, good/one" in capsys.readouterr().err


def test_every_module_that_attacks_has_targets() -> None:
    names = [target.name for target in campaign.find_targets()]
    assert len(names) == len(set(names))
    assert {"payload/fast", "payload/png", "codec.npz/rans"} <= set(names)
