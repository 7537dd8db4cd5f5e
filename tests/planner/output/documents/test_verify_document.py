"""Checks by status."""

from __future__ import annotations

from splitpoint.planner.output.documents.verify import CheckCount, verify_document
from splitpoint.planner.plandir.verify import Check


def test_checks_are_counted_by_status_and_kept_in_order() -> None:
    statuses = ["passed", "not checked", "warning", "failed", "passed", "failed", "passed", "warning", "failed"]
    statuses += ["failed", "not checked", "not checked", "not checked", "not checked"]
    checks = [Check(name=f"c{i}", status=status, text="t") for i, status in enumerate(statuses)]  # type: ignore[arg-type]  # literals
    document = verify_document(checks)
    assert [(row.name, row.status) for row in document.checks] == [(check.name, check.status) for check in checks]
    assert document.count == CheckCount(passed=3, failed=4, warning=2, not_checked=5)
