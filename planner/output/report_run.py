"""``splitpoint report``: report.html of a plan directory, written into it."""

from __future__ import annotations

import importlib.resources
import importlib.util
import secrets
from pathlib import Path

from splitpoint.planner.deploy.file_names import PAGE
from splitpoint.planner.output.report.content import read_content
from splitpoint.planner.output.report.page import page_text
from splitpoint.profiles.errors import ProfileError

__all__ = ["MISSING", "can_report", "write_report"]


def __dir__() -> list[str]:
    return __all__


MISSING = 'no report.html: it needs plotly (pip install "splitpoint[report]", then splitpoint report DIR)'


def can_report() -> bool:
    """Whether Plotly, which draws the charts, is installed."""
    return importlib.util.find_spec("plotly") is not None


def write_report(directory: Path) -> Path:
    """Write report.html of the plan in `directory` into it, in one step; gives where it is.

    Raises `ProfileError` without Plotly, for a bad file, and where the folder cannot be written.
    """
    if not can_report():
        raise ProfileError("a report needs plotly, which is not installed", fix='pip install "splitpoint[report]"')
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
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        fix = "make room, or copy the plan directory to a folder that can be written"
        raise ProfileError(f"it cannot be written: {error.strerror}", at=str(path), fix=fix) from error
    return path
