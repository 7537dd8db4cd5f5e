"""The document of ``splitpoint train``: what was trained ahead of a plan, what was kept, and what was not begun."""

from __future__ import annotations

from collections.abc import Sequence

from splitpoint.planner.output.documents.document import Document, Value
from splitpoint.planner.study.trainings import Kind, State, Training, Trainings

__all__ = ["TrainDocument", "TrainRow", "train_document"]


def __dir__() -> list[str]:
    return __all__


class TrainRow(Value, frozen=True, kw_only=True):
    """One codec at a cut, or one pruned network."""

    what: Kind
    name: str
    where: str
    state: State
    reason: str | None  # why it is not trained
    steps: int | None  # None: it is not trained, or what it took is no longer kept
    inputs: int | None  # that were seen, each as often as it was
    minutes: float | None  # of the run that ended it
    losses: dict[str, float] | None  # by term, averaged over the last steps


class TrainDocument(Document, frozen=True, kw_only=True, tag="train"):
    """The answer of ``splitpoint train``."""

    rows: tuple[TrainRow, ...]
    notes: tuple[str, ...]
    minutes: float  # of each training
    budget: float | None  # minutes that this run might spend; None: no limit
    complete: bool  # nothing was left for a run with more minutes
    next: str  # what to type next


def train_document(done: Trainings, config: str, *, minutes: float, budget: float | None) -> TrainDocument:
    """What became of every candidate of the configuration file `config`."""
    rows = tuple(_row(row) for row in done.rows)
    complete = all(row.state != "not begun" for row in rows)
    return TrainDocument(
        rows=rows,
        notes=done.notes,
        minutes=minutes,
        budget=budget,
        complete=complete,
        next=_next(rows, config, complete=complete),
    )


def _row(row: Training) -> TrainRow:
    spent = row.spent
    return TrainRow(
        what=row.kind,
        name=row.name,
        where=row.where,
        state=row.state,
        reason=row.reason,
        steps=None if spent is None else spent.steps,
        inputs=None if spent is None else spent.images,
        minutes=None if spent is None else spent.minutes,
        losses=None if spent is None else spent.losses,
    )


def _next(rows: Sequence[TrainRow], config: str, *, complete: bool) -> str:
    if not complete:
        return f"splitpoint train {config}"
    return f"splitpoint plan {config}"
