"""``splitpoint work``: a worker's run as one document, and its view in the terminal."""

from __future__ import annotations

from splitpoint.planner.output.documents.document import Document
from splitpoint.planner.store.store import default_store
from splitpoint.planner.study.sampler import require_optuna
from splitpoint.planner.study.worker import work
from splitpoint.planner.values.plurals import count_text
from splitpoint.planner.values.progress import Progress

__all__ = ["WorkDocument", "join_and_work", "work_text"]


def __dir__() -> list[str]:
    return __all__


class WorkDocument(Document, frozen=True, kw_only=True, tag="work"):
    """The answer of ``splitpoint work``."""

    study: str
    measured_here: int  # candidates, by this process
    measured: int  # of the study, by all of its processes
    total: int  # that the study asks for
    stopped: str  # why it ended before it had all of them; empty: it did not


def join_and_work(
    study: str,
    *,
    storage: str,
    artifacts: str | None,
    threads: int | None,
    trust_code: bool,
    progress: Progress,
) -> WorkDocument:
    """Measure candidates of `study` until it has all that it asks for; results are kept in the user's cache, too.

    Raises `ProfileError` (`planner.study.worker.work`).
    """
    require_optuna()
    done = work(
        study,
        storage=storage,
        artifacts=artifacts,
        threads=threads,
        trust_code=trust_code,
        store=default_store(),
        progress=progress,
    )
    return WorkDocument(
        study=done.study,
        measured_here=done.measured_here,
        measured=done.measured,
        total=done.total,
        stopped=done.stopped,
    )


def work_text(document: WorkDocument) -> str:
    """What was done, and what to do next."""
    here = f"measured {count_text(document.measured_here, 'candidate')} here"
    state = document.stopped or f"{document.measured} of {document.total} are measured"
    return f"{here}; the study {document.study}: {state}\nnext: the plan is written by the command that made the study"
