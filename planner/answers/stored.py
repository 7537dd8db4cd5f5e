"""The record of a plan directory: the only place that knows where a record comes from."""

from __future__ import annotations

from pathlib import Path

from splitpoint.planner.answers.record import PlanRecord, decode_record
from splitpoint.planner.deploy.file_names import MEASURED
from splitpoint.planner.deploy.stored import StoredPlan, open_plan
from splitpoint.profiles.errors import ProfileError

__all__ = ["read_record", "record_of"]


def __dir__() -> list[str]:
    return __all__


def record_of(stored: StoredPlan) -> PlanRecord | None:
    """What an open plan measured; None for a plan that was written before plans stored it."""
    if MEASURED not in stored.file.contents:
        return None
    return decode_record(stored.read(MEASURED), at=stored.at(MEASURED))


def read_record(directory: Path) -> tuple[StoredPlan, PlanRecord]:
    """The plan in `directory` and what it measured; raises `ProfileError` where it does not say."""
    stored = open_plan(directory)
    record = record_of(stored)
    if record is None:
        raise ProfileError(
            "this plan does not say what it measured", at=stored.at(MEASURED), fix="plan again with this version"
        )
    return stored, record
