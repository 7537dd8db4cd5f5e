"""The figures of docs/notes/accuracy.md are what the intervals give."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from splitpoint.planner.quality.intervals import proportion, tango, wilson

ROOT = Path(__file__).parents[3]
NOTE = ROOT / "docs" / "notes" / "accuracy.md"
CODE = ROOT / "planner" / "quality" / "intervals.py"


def percent(value: float) -> str:
    return f"{100 * value:.1f} %".replace("-0.0", "0.0")


def test_the_table_of_drops() -> None:
    rows = re.findall(r"^\| (\d+) \| (\d+) \| (\d+) \| (.*?) \| (.*?) \| (.*?) \| ?(.*?) ?\|$", NOTE.read_text(), re.M)
    assert len(rows) == 8
    for lost, won, inputs, *texts in rows:
        b, c, n = int(lost), int(won), int(inputs)
        got = tango(b, c, n)
        exact = percent(1 - 0.05 ** (1 / n)) if b == c == 0 else ""
        assert texts == [percent((b - c) / n), percent(got.low), percent(got.high), exact]


def test_the_figures_in_the_text() -> None:
    text = NOTE.read_text()
    low, _ = wilson(30, 30)
    assert f"(2) gives {percent(low)} to 100 %" in text
    enough = next(n for n in range(1, 1000) if tango(0, 0, n).high < 0.02)
    assert f"at least {enough}\ninputs of which none is lost" in text
    right = np.arange(100) >= 3
    for groups in (np.arange(100), np.arange(100) // 10):
        got = proportion(right, groups)
        assert f"{percent(got.low)} to {percent(got.high).replace('100.0', '100')}" in text


def test_the_code_names_equations_that_the_note_has() -> None:
    listed = {int(number) for number in re.findall(r" {2,}\((\d+)\)$", NOTE.read_text(), re.M)}
    assert listed == set(range(1, 19))
    named = {int(number) for number in re.findall(r"[Ee]q\. \((\d+)\)", CODE.read_text())}
    assert named <= listed
    assert len(named) > 8
