"""A plan that cannot be written where it was asked for goes to another folder: what took minutes is not lost."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Callable
from pathlib import Path

from splitpoint.planner.deploy.plan import Plan
from splitpoint.planner.plandir.placing import NotWrittenError, Place
from splitpoint.planner.plandir.writing import write_plan
from splitpoint.planner.search.result import SearchResult
from splitpoint.planner.store.results import Results
from splitpoint.planner.values.candidate import Evaluated
from splitpoint.profiles.errors import ProfileError

__all__ = ["write_plan_somewhere"]


def __dir__() -> list[str]:
    return __all__


def write_plan_somewhere(
    result: SearchResult,
    point: Evaluated,
    place: Place,
    *,
    keep_data: bool = True,
    advance: Callable[[], None] = lambda: None,
    results: Results | None = None,
) -> tuple[Plan | None, Path, ProfileError | None]:
    """The plan, where it was written, and the error to raise after it was shown when that is not the place.

    A fallback is a new folder in the system's folder for temporary files, or else in the home folder; when those cannot
    be written either, there is no plan.
    """
    try:
        plan = write_plan(result, point, place, keep_data=keep_data, advance=advance, results=results)
    except NotWrittenError as error:
        first = error
    else:
        return plan, place.directory, None
    for parent in (Path(tempfile.gettempdir()), Path.home()):
        folder = parent / f"splitpoint-{secrets.token_hex(4)}"
        try:
            plan = write_plan(result, point, folder, keep_data=keep_data, results=results)
        except NotWrittenError:
            continue
        elsewhere = ProfileError(
            f"the plan was written to {folder}, because {first.message}",
            at=str(place.directory),
            fix=f"mv {folder} DIR, or splitpoint verify {folder}",
        )
        return plan, folder, elsewhere
    return None, place.directory, first
