"""The document of ``splitpoint show`` and ``splitpoint export``: a stored plan and the front it was chosen from."""

from __future__ import annotations

from pathlib import Path

from splitpoint.planner.answers.ask import Changes, ask
from splitpoint.planner.answers.hypervolume import hypervolume_series
from splitpoint.planner.answers.relax import Relaxation, relax_limits
from splitpoint.planner.answers.stored import record_of
from splitpoint.planner.deploy.accuracy import Accuracy
from splitpoint.planner.deploy.cost import How
from splitpoint.planner.deploy.file_names import FRONT, POINT, POINTS
from splitpoint.planner.deploy.plan import Plan
from splitpoint.planner.deploy.schema import Answer, PayloadRange, PlanFile, PointFile, PolicyRow
from splitpoint.planner.deploy.task import MetricUse, Task
from splitpoint.planner.limits.text import needs_text
from splitpoint.planner.output.documents.document import Document
from splitpoint.planner.output.documents.latency import Halves, LatencySum, halves, latency_sum
from splitpoint.planner.output.documents.point import PointRow, point_row
from splitpoint.planner.output.escape import printable_line
from splitpoint.planner.plandir.front import parse_front
from splitpoint.planner.plandir.misses import doubted_points, point_misses
from splitpoint.planner.values.plurals import count_text

__all__ = ["ShowDocument", "show_document"]


def __dir__() -> list[str]:
    return __all__


INPUT = "input"  # the place of a cut before the first node


class ShowDocument(Document, frozen=True, kw_only=True, tag="show"):
    """The answer of ``splitpoint show``, and of ``splitpoint export`` for the plan that it wrote."""

    header: str
    task: Task
    metric: MetricUse  # name, unit and definition of the quality in every table
    need: str
    created: str
    sha256: str  # of plan.yaml, which has the hashes of all other files
    point: int  # on the front, from 1
    variant: str
    cut: str  # where, in words: "after blocks.3"
    tensor: str | None  # the tensors that cross, joined by "+"
    head_share: float | None  # of the network's MACs
    codec: str
    parts: LatencySum
    latency_low_s: float | None  # 90 % interval of a modelled latency
    latency_high_s: float | None
    halves: Halves
    how: How
    payload_bytes: float
    channel_uses: float | None  # real symbols on air; None: the link has none
    symbols: int | None  # that are sent in place of bits; the payload has them as fp16 for the modem
    search: Accuracy
    report: Accuracy | None  # of the plan's own point only
    payload_range: PayloadRange | None  # of the plan's own point only
    answer: Answer | None  # what was recommended, why, and what the other kinds would cost
    policy: tuple[PolicyRow, ...]  # what would be recommended at other uplink rates
    relax: tuple[Relaxation, ...]  # what a limit that binds would give if it were a tenth looser
    misses: tuple[str, ...]  # limits that the point misses, and how the report set contradicts it
    notes: tuple[str, ...]  # what was assumed, left out or noticed, a line each
    left_out: int  # codecs, cuts and candidates that were not searched
    hypervolume: tuple[float, ...]  # after each measured point, as a share of the last
    front: tuple[PointRow, ...]
    deadline_s: float | None
    deadline_share: float | None


def show_document(directory: Path, number: int | None) -> ShowDocument:
    """A stored plan: its own point, or point `number` of its front. Raises `ProfileError` for a bad file."""
    plan = Plan.load(directory)
    file, stored = plan.file, plan.stored
    chosen: PlanFile | PointFile = file
    if number is not None and number != file.point:
        chosen = stored.read_struct(f"{POINTS}/{number}/{POINT}", PointFile)
    recommended = file.point if file.answer is None else file.answer.number
    record = record_of(stored)
    question = None if record is None else ask(record, Changes())[1]
    front, shown = parse_front(stored.read(FRONT), at=stored.at(FRONT)), number or file.point
    in_doubt = doubted_points(record)
    return ShowDocument(
        header=printable_line(f"{file.model.name} · {file.device.name} ──{file.link.name}──> {file.server.name}"),
        task=file.task,
        metric=file.metric,
        need=needs_text(file.requirements, file.search.metric),
        created=f"{file.created} by {file.created_by}"
        + (f" · {count_text(file.skipped, 'damaged picture')} left out" if file.skipped else ""),
        sha256=plan.sha256,
        point=shown,
        variant=chosen.variant,
        cut=_place_text(chosen),
        tensor=None if chosen.cut is None else "+".join(tensor.name for tensor in chosen.cut.tensors),
        head_share=float(chosen.placement == "device") if chosen.cut is None else chosen.cut.head_share,
        codec=" ".join(dict.fromkeys((chosen.codec.name, chosen.codec.rate_label))),  # "-" alone without a codec
        parts=latency_sum(chosen.predicted),
        latency_low_s=next((row.latency_low_s for row in front if row.number == shown), None),
        latency_high_s=next((row.latency_high_s for row in front if row.number == shown), None),
        halves=halves(chosen.predicted),
        how=chosen.predicted.how,
        payload_bytes=chosen.predicted.payload_bytes,
        channel_uses=chosen.predicted.channel_uses,
        symbols=None if chosen.predicted.symbols is None else chosen.predicted.symbols.count,
        search=chosen.search,
        report=file.report if chosen is file else None,
        payload_range=file.payload_range if chosen is file else None,
        answer=file.answer,
        policy=file.policy,
        misses=point_misses(record, shown, file.requirements, file.report if chosen is file else None),
        notes=file.found_by.notes,
        left_out=file.found_by.left_out,
        relax=() if question is None else relax_limits(question, question.answer()),
        hypervolume=() if question is None else hypervolume_series(question),
        front=tuple(
            point_row(
                row,
                notes=[
                    *(["recommended"] if row.number == recommended else []),
                    *(["shown"] if row.number == shown else []),
                ],
                not_certain=row.number in in_doubt,
            )
            for row in front
        ),
        deadline_s=file.requirements.value("latency"),
        deadline_share=file.requirements.deadline_share,
    )


def _place_text(chosen: PlanFile | PointFile) -> str:
    """As `planner.values.place.place_text` has it, from the stored cut."""
    if chosen.cut is None:
        return "all on device" if chosen.placement == "device" else "send picture"
    if chosen.cut.after == INPUT:
        return "send input"
    return f"after {chosen.cut.layer or chosen.cut.after}"
