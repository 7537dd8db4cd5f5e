"""The document of ``splitpoint verify``: every check and how many there are of each status."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from splitpoint.planner.output.documents.document import Document, Value
from splitpoint.planner.plandir.verify import Check, Status

__all__ = ["CheckCount", "CheckRow", "VerifyDocument", "verify_document"]


def __dir__() -> list[str]:
    return __all__


class CheckRow(Value, frozen=True, kw_only=True):
    """One check."""

    name: str
    status: Status
    text: str


class CheckCount(Value, frozen=True, kw_only=True):
    """Checks by status; what was not checked is not among the passed."""

    passed: int
    failed: int
    warning: int
    not_checked: int = msgspec.field(name="not checked")


class VerifyDocument(Document, frozen=True, kw_only=True, tag="verify"):
    """The answer of ``splitpoint verify``."""

    checks: tuple[CheckRow, ...]
    count: CheckCount


def verify_document(checks: Sequence[Check]) -> VerifyDocument:
    """Every check and the count by status."""
    count = Counter(check.status for check in checks)
    return VerifyDocument(
        checks=tuple(CheckRow(name=check.name, status=check.status, text=check.text) for check in checks),
        count=CheckCount(
            passed=count["passed"],
            failed=count["failed"],
            warning=count["warning"],
            not_checked=count["not checked"],
        ),
    )
