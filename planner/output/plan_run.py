"""``splitpoint plan``: a configuration planned and its plan directory written, as one document."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from splitpoint.planner.output.documents.plan import PlanDocument, plan_document
from splitpoint.planner.output.report.writing import add_report
from splitpoint.planner.plandir.fallback import write_plan_somewhere
from splitpoint.planner.plandir.placing import claimed, will_be_kept
from splitpoint.planner.profiling.model_profile import check_profile
from splitpoint.planner.search.result import SearchResult
from splitpoint.planner.setup.config import PlanConfig
from splitpoint.planner.setup.inputs import PictureFlags
from splitpoint.planner.setup.loading import default_threads, load_problem
from splitpoint.planner.store.results import Results, results_here
from splitpoint.planner.store.store import default_store
from splitpoint.planner.study.sampler import require_optuna
from splitpoint.planner.study.storage import Place, check_storage
from splitpoint.planner.values.progress import Progress
from splitpoint.profiles.errors import ProfileError

__all__ = ["PlanRun", "load_and_find", "plan_and_write"]


def __dir__() -> list[str]:
    return __all__


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class PlanRun:
    """What was found, and why the plan is not where it was to be."""

    document: PlanDocument
    failure: ProfileError | None  # the plan was written elsewhere, or could not be
    page: str | None  # where its report.html is, or why there is none; None: there is no plan

    @property
    def meets(self) -> bool:
        """Whether a plan was written that the report set does not contradict."""
        return self.document.directory is not None and self.document.contradicted is None


def plan_and_write(
    config: PlanConfig,
    *,
    pictures: PictureFlags,
    profile: Path | None,
    out: Path,
    keep: int,
    keep_data: bool,
    fresh: bool,
    studies: Place,
    search: Callable[..., SearchResult],
    progress: Progress,
    written: Callable[[str, Path], None],
) -> PlanRun:
    """What `search` (`planner.flow.plan`) finds for `config`, and its plan directory written to `out`.

    `keep` replaced directories are kept there. `profile` is a stored profile, `fresh` measures again what is kept,
    `written` is told of the plan that was written. Raises `ProfileError`.
    """
    require_optuna()
    check_storage(studies)
    with claimed(out, keep=keep) as place:
        old = will_be_kept(place)
        results, result = load_and_find(
            config, pictures=pictures, profile=profile, fresh=fresh, studies=studies, search=search, progress=progress
        )
        problem = result.problem
        chosen, plan_written, where, failure = result.decision.recommended, None, out, None
        page = None
        if chosen is not None:
            with progress.stage("report", len(problem.split.report)) as step:
                plan_written, where, failure = write_plan_somewhere(
                    result,
                    chosen,
                    place,
                    keep_data=keep_data,
                    advance=lambda: step(""),
                    results=results,
                )
                known = ", known from an earlier run" if results.recalled["report"] else ""
                step(f"{len(problem.split.report)} inputs that were never searched{known}")
        if plan_written is not None:
            written("plan", where)
            page = add_report(where)
    kept = old if where == out else None  # nothing is replaced elsewhere
    return PlanRun(document=plan_document(result, plan_written, where, kept=kept), failure=failure, page=page)


def load_and_find(
    config: PlanConfig,
    *,
    pictures: PictureFlags,
    profile: Path | None,
    fresh: bool,
    studies: Place,
    search: Callable[..., SearchResult],
    progress: Progress,
) -> tuple[Results, SearchResult]:
    """What `search` (`planner.flow.plan`) finds for `config`, and the results that are kept. Raises `ProfileError`."""
    require_optuna()
    check_storage(studies)
    if profile is not None:
        check_profile(profile)
    results = results_here(default_store(), threads=config.threads or default_threads(), fresh=fresh)
    problem = load_problem(config, flags=pictures, results=results)
    found = search(
        problem, stored_profile=profile, progress=progress, store=results.store, fresh=fresh, studies=studies
    )
    return results, found
