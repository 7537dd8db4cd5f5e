"""Progress in a notebook is one output of the cell."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from splitpoint.planner.face.notebook import CellLines
from splitpoint.planner.face.plans import progress_of
from splitpoint.planner.output.terminal import console


@pytest.fixture
def outputs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a stand-in for IPython shows below the cell: it is not among the tests' dependencies."""
    shown: list[str] = []

    def display(data: dict[str, str], *, raw: bool, display_id: bool) -> Any:
        assert raw
        assert display_id
        number = len(shown)
        shown.append(data["text/plain"])

        def update(data: dict[str, str], *, raw: bool) -> None:
            assert raw
            shown[number] = data["text/plain"]

        return SimpleNamespace(update=update)

    module = ModuleType("IPython.display")
    module.display = display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    return shown


def test_a_line_takes_the_place_of_a_passing_one(outputs: list[str]) -> None:
    lines = CellLines()
    lines("profile, 1 s", True)
    lines("profile, 3 s", True)
    lines("profiled", False)
    lines("codecs, 4 s", True)
    assert outputs == ["profiled\ncodecs, 4 s"]
    lines("fitted", False)
    lines("measured", False)
    assert outputs == ["profiled\nfitted\nmeasured"]


def test_stages_of_a_notebook_are_lines_of_one_output(outputs: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = console.PlainConsole(force_jupyter=True)
    monkeypatch.setattr(console, "consoles", lambda: (notebook, notebook))
    progress = progress_of(None)
    for name in ("profile", "codecs"):
        with progress.stage(name, None) as step:
            step("seen\x1b[2K")
    assert [line.split()[:3] for line in outputs[0].splitlines()] == [
        ["✓", "profile", r"seen\x1b[2K"],
        ["✓", "codecs", r"seen\x1b[2K"],
    ]
