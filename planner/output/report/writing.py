"""``splitpoint report``: report.html of a plan directory, written into it."""

from __future__ import annotations

import importlib.resources
import importlib.util
import secrets
from pathlib import Path

from splitpoint.planner.deploy.file_names import PAGE
from splitpoint.planner.output.report.content import read_content
from splitpoint.planner.output.report.document import ReportDocument
from splitpoint.planner.output.report.page import page_text
from splitpoint.profiles.errors import ProfileError

__all__ = ["add_report", "write_report"]


def __dir__() -> list[str]:
    return __all__


INSTALL = 'pip install "splitpoint[report]"'


def write_report(directory: Path) -> ReportDocument:
    """Write report.html of the plan in `directory` into it, in one step; gives where it is.

    Raises `ProfileError` without Plotly, for a bad file, and where the folder cannot be written.
    """
    if importlib.util.find_spec("plotly") is None:
        raise ProfileError("report.html needs plotly, which is not installed", fix=INSTALL)
    own = importlib.resources.files("splitpoint.planner.output.report")
    text = page_text(
        read_content(directory),
        plotly=(importlib.resources.files("plotly") / "package_data" / "plotly.min.js").read_text(encoding="utf-8"),
        style=(own / "style.css").read_text(encoding="utf-8"),
        script=(own / "script.js").read_text(encoding="utf-8"),
    )
    path = directory / PAGE
    unfinished = directory / f"{PAGE}.{secrets.token_hex(4)}"
    try:
        unfinished.write_bytes(text.encode())
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        fix = "make room, or copy the plan directory to a folder that can be written"
        raise ProfileError(f"it cannot be written: {error.strerror}", at=str(path), fix=fix) from error
    except BaseException:  # Ctrl-C
        unfinished.unlink(missing_ok=True)
        raise
    return ReportDocument(path=str(path), size_bytes=path.stat().st_size)


def add_report(directory: Path) -> str:
    """Write the report of a plan that was just written; one line: where it is, or why there is none.

    The plan is whole without it, so what prevents a report does not end the command.
    """
    try:
        return f"report: {write_report(directory).path}"
    except ProfileError as error:
        fix = f"; then splitpoint report {directory}" if error.fix == INSTALL else ""
        return f"note: no report.html: {error.message}{'' if error.fix is None else f': {error.fix}'}{fix}"
