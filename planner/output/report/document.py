"""The document of ``splitpoint report``: the page that was written."""

from __future__ import annotations

from splitpoint.planner.output.documents.document import Document

__all__ = ["ReportDocument", "report_text"]


def __dir__() -> list[str]:
    return __all__


class ReportDocument(Document, frozen=True, kw_only=True, tag="report"):
    """The answer of ``splitpoint report``."""

    path: str  # of report.html
    size_bytes: int


def report_text(document: ReportDocument) -> str:
    """Where the page is."""
    return f"report: {document.path}"
