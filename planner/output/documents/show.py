"""The document of ``splitpoint show`` and ``splitpoint export``: a stored plan and the front it was chosen from."""

from __future__ import annotations

from pathlib import Path

from splitpoint.planner.deploy.accuracy import Accuracy
from splitpoint.planner.deploy.cost import How
from splitpoint.planner.deploy.plan import Plan
from splitpoint.planner.deploy.schema import PlanFile, PointFile
from splitpoint.planner.deploy.task import MetricUse, Task
from splitpoint.planner.limits.text import needs_text
from splitpoint.planner.output.documents.document import Document
from splitpoint.planner.output.documents.latency import Halves, LatencySum, halves, latency_sum
from splitpoint.planner.output.documents.point import PointRow, point_row
from splitpoint.planner.plandir.contents import FRONT, POINT, POINTS
from splitpoint.planner.plandir.front import read_front
from splitpoint.profiles.files.structs import read_yaml

__all__ = ["ShowDocument", "show_document"]


def __dir__() -> list[str]:
    return __all__


class ShowDocument(Document, frozen=True, kw_only=True, tag="show"):
    """The answer of ``splitpoint show``, and of ``splitpoint export`` for the plan that it wrote."""

    header: str
    task: Task
    metric: MetricUse  # name, unit and definition of the quality in every table
    need: str
    created: str
    point: int  # on the front, from 1
    variant: str
    cut: str
    codec: str
    parts: LatencySum
    halves: Halves
    how: How
    payload_bytes: float
    search: Accuracy
    report: Accuracy | None  # of the plan's own point only
    front: tuple[PointRow, ...]
    deadline_s: float | None
    deadline_share: float | None


def show_document(directory: Path, number: int | None) -> ShowDocument:
    """A stored plan: its own point, or point `number` of its front. Raises `ProfileError` for a bad file."""
    file = Plan.load(directory).file
    chosen: PlanFile | PointFile = file
    if number is not None and number != file.point:
        chosen = read_yaml(directory / POINTS / str(number) / POINT, PointFile)
    crossing = [] if chosen.cut is None else [tensor.name for tensor in chosen.cut.tensors]
    return ShowDocument(
        header=f"{file.model.name} · {file.device.name} ──{file.link.name}──> {file.server.name}",
        task=file.task,
        metric=file.metric,
        need=needs_text(file.requirements, file.search.metric),
        created=f"{file.created} by {file.created_by}",
        point=number or file.point,
        variant=chosen.variant,
        cut={"device": "all on device", "server": "send picture"}.get(chosen.placement) or "+".join(crossing),
        codec=" ".join(dict.fromkeys((chosen.codec.name, chosen.codec.rate_label))),  # "-" alone without a codec
        parts=latency_sum(chosen.predicted),
        halves=halves(chosen.predicted),
        how=chosen.predicted.how,
        payload_bytes=chosen.predicted.payload_bytes,
        search=chosen.search,
        report=file.report if chosen is file else None,
        front=tuple(
            point_row(row, notes=["recommended"] if row.number == file.point else [])
            for row in read_front(directory / FRONT)
        ),
        deadline_s=file.requirements.value("latency"),
        deadline_share=file.requirements.deadline_share,
    )
