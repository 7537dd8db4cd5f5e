"""Lines of progress where standard error is no terminal."""

from __future__ import annotations

import io
import time
from collections.abc import Callable

import pytest

from splitpoint.planner.output.terminal.console import PlainConsole, StageBars

Lines = Callable[[str], list[str]]


@pytest.fixture
def shown() -> tuple[StageBars, list[float], Lines]:
    """Bars that write lines, what their clock says, and a function that waits for a line that ends so."""
    text, now = io.StringIO(), [0.0]
    bars = StageBars(PlainConsole(width=60, _environ={}, file=text), clock=lambda: now[0], every_s=0.01)

    def lines(end: str) -> list[str]:
        deadline = time.monotonic() + 60
        while not text.getvalue().rstrip().endswith(end):
            assert time.monotonic() < deadline
        return text.getvalue().splitlines()

    return bars, now, lines


def test_lines_come_also_between_two_steps_and_the_last_one(shown: tuple[StageBars, list[float], Lines]) -> None:
    bars, now, lines = shown
    with bars.stage("training", 4) as step:
        assert lines("in all")[0] == "… training   0 of 4 · 0:00 in all"
        step("")
        step("loss 0.4 · pruned .25")
        now[0] = 65.0
        assert lines("1:05 in all")[-1] == "… training   1 of 4 · loss 0.4 · pruned .25 · 3 min left · 1:05 in all"
    with bars.stage("profile", None) as step:
        assert lines("profile    1:05 in all")
        step("12 nodes")
    assert lines("0 s")[-1].split() == ["✓", "profile", "12", "nodes", "0", "s"]  # one line, however wide the console


def test_the_time_left_of_the_whole_has_this_stage_and_those_expected(
    shown: tuple[StageBars, list[float], Lines],
) -> None:
    bars, now, lines = shown
    bars.expect("accuracy", 70.0)
    bars.expect("accuracy", 40.0)  # the last word
    with bars.stage("profile", None):
        assert lines("left")[0] == "… profile    0:00 in all, over 40 s left"
    bars.expect("training", 30.0)
    with bars.stage("training", 3) as step:
        now[0] = 10.0
        assert lines("about 60 s left")[-1] == "… training   0 of 3 · 20 s left · 0:10 in all, about 60 s left"
        step("")  # 10 s a step: its own speed, not what was expected
        now[0] = 12.0
        assert lines("about 64 s left")[-1] == "… training   1 of 3 · 24 s left · 0:12 in all, about 64 s left"
    with bars.stage("accuracy", 2):
        now[0] = 20.0
        assert lines("0:20 in all")[-1] == "… accuracy   0 of 2 · 32 s left · 0:20 in all"  # the last stage
        now[0] = 100.0
        assert lines("1:40 in all")[-1] == "… accuracy   0 of 2 · 0 s left · 1:40 in all"
    with bars.stage("report", 1):
        assert lines("report     0 of 1 · 1:40 in all")
