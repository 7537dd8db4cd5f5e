"""Lines of `splitpoint verify`: a mark for every status, and the count."""

from __future__ import annotations

import io

import pytest
from rich.console import Console, RenderableType

from splitpoint.planner.output.documents.verify import CheckCount
from splitpoint.planner.output.terminal.verify import check_line, count_line
from splitpoint.planner.plandir.verify import Check

WIDTH = 80


def rendered(view: RenderableType) -> str:
    console = Console(width=WIDTH, color_system=None, force_terminal=False, _environ={}, file=io.StringIO())
    console.print(view)
    text = console.file.getvalue()  # type: ignore[attr-defined]  # the StringIO above
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines())


@pytest.mark.parametrize(
    ("count", "text"),
    [
        ({"passed": 6, "failed": 0, "warning": 0, "not_checked": 0}, "6 passed, 0 failed"),
        ({"passed": 4, "failed": 1, "warning": 1, "not_checked": 0}, "4 passed, 1 failed, 1 warning"),
        ({"passed": 1, "failed": 0, "warning": 2, "not_checked": 5}, "1 passed, 0 failed, 2 warnings, 5 not checked"),
    ],
)
def test_the_count_of_checks(count: dict[str, int], text: str) -> None:
    assert rendered(count_line(CheckCount(**count))) == f"{text}\n"


def test_a_check_has_a_mark_for_its_status() -> None:
    marks = [
        rendered(check_line(Check(name="hashes", status=status, text="5 files")))[0]
        for status in ("passed", "failed", "warning", "not checked")
    ]
    assert marks == ["✓", "✗", "!", "-"]
