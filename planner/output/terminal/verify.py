"""The view of a verification: one line a check, then how many there are of each status."""

from __future__ import annotations

from rich.text import Text

from splitpoint.planner.output.documents.verify import CheckCount
from splitpoint.planner.output.escape import printable_line
from splitpoint.planner.plandir.verify import Check
from splitpoint.planner.values.plurals import count_text

__all__ = ["check_line", "count_line"]


def __dir__() -> list[str]:
    return __all__


MARKS = {"passed": ("✓", "green"), "failed": ("✗", "red"), "warning": ("!", "yellow"), "not checked": ("-", "dim")}


def check_line(check: Check) -> Text:
    """One check of `planner.plandir.verify`."""
    mark, style = MARKS[check.status]
    return Text.assemble((f"{mark} ", style), f"{printable_line(check.name):<13} ", printable_line(check.text))


def count_line(count: CheckCount) -> Text:
    """The end of a verification; what was not checked is not among the passed."""
    texts = [f"{count.passed} passed", f"{count.failed} failed"]
    if count.warning:
        texts.append(count_text(count.warning, "warning"))
    if count.not_checked:
        texts.append(f"{count.not_checked} not checked")
    return Text(", ".join(texts), style="red" if count.failed else "")
