"""What the report shows, read from the files of a plan directory and from nothing else."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

from splitpoint.planner.answers.ask import Changes, ask
from splitpoint.planner.answers.payoff import speed_rows
from splitpoint.planner.answers.prices import Prices, graph_of
from splitpoint.planner.answers.question import Question
from splitpoint.planner.answers.record import Estimate, NetworkRecord, PlanRecord
from splitpoint.planner.answers.stored import record_of
from splitpoint.planner.choice.certainty import is_certain
from splitpoint.planner.cost.anchors import predict_halves
from splitpoint.planner.cost.price import party
from splitpoint.planner.deploy.file_names import CONFIG
from splitpoint.planner.deploy.schema import PlanFile
from splitpoint.planner.deploy.stored import open_plan
from splitpoint.planner.output.asked_again import RATES_BIT_S, SPEEDS
from splitpoint.planner.output.documents.answers.map import MapDocument, map_document
from splitpoint.planner.output.documents.document import Value
from splitpoint.planner.output.documents.point import PointRow, point_row
from splitpoint.planner.output.documents.show import ShowDocument, show_document
from splitpoint.planner.output.escape import printable, printable_lines
from splitpoint.planner.plandir.front import front_row
from splitpoint.planner.search.decide import violations
from splitpoint.planner.values.cut import Cut
from splitpoint.profiles.errors import ProfileError

__all__ = ["Content", "PlaceRow", "Prediction", "read_content"]


def __dir__() -> list[str]:
    return __all__


class PlaceRow(Value, frozen=True, kw_only=True):
    """A place where the network may be cut, and what lies between it and the place before."""

    layer: str
    macs: int  # since the place before
    parameters: int  # since the place before
    raw_bytes: int  # that cross uncompressed
    head_s: float | None  # up to here on the device; None: not known
    tail_s: float | None  # from here on the server
    coded_bytes: float | None  # with the codec of `Content.codec`, as the table estimates them
    bits: float | None  # of an element then
    chosen: bool  # the plan cuts here


class Prediction(Value, frozen=True, kw_only=True):
    """Something that was predicted and measured, in one unit."""

    name: str
    predicted: float
    measured: float


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Content:
    """A plan, everything that was measured for it, and what follows from that."""

    plan: PlanFile
    shown: ShowDocument
    rows: tuple[PointRow, ...]  # every measured point, those of the front first, in the order of their numbers
    places: tuple[PlaceRow, ...]
    codec: str  # with which the places are compared
    sizes: tuple[Prediction, ...]  # bytes of payloads: by the table before the search, and as they were
    halves: tuple[Prediction, ...]  # seconds of halves on the host: by the profile of the whole network, and timed
    map: MapDocument | str  # or why there is none
    config: str  # the text of config.yaml
    folder: str  # what the user calls the directory

    @property
    def recommended(self) -> int:
        """The number of the recommended point."""
        return self.plan.point if self.plan.answer is None else self.plan.answer.number

    @property
    def front(self) -> tuple[PointRow, ...]:
        """The points of the front."""
        return tuple(row for row in self.rows if row.number is not None)


def read_content(directory: Path) -> Content:
    """What the plan in `directory` says; every text is one line that is safe to print. Raises `ProfileError`."""
    stored = open_plan(directory)
    file, record = stored.file, record_of(stored)
    content = Content(
        plan=printable_lines(file),
        shown=printable_lines(show_document(directory, None)),
        rows=(),
        places=(),
        codec="",
        sizes=(),
        halves=(),
        map="This plan does not say what it measured: plan again with this version.",
        config=printable(stored.read(CONFIG).decode(errors="replace")) if CONFIG in file.contents else "",
        folder=printable(str(directory)),
    )
    if record is None:  # written before plans stored what they measured
        return dataclasses.replace(content, rows=content.shown.front)
    prices, question = ask(record, Changes())
    codec, places = _places(record, prices, file)
    return dataclasses.replace(
        content,
        rows=printable_lines(_rows(record, question, file)),
        places=places,
        codec=codec,
        sizes=_sizes(record),
        halves=tuple(row for network in record.networks for row in _halves(network)),
        map=_map(record, name=file.model.name),
    )


def _rows(record: PlanRecord, question: Question, file: PlanFile) -> tuple[PointRow, ...]:
    numbers = {candidate: number for number, candidate in enumerate(record.front, start=1)}
    recommended = file.point if file.answer is None else file.answer.number
    rows = []
    for point in question.points:
        number = numbers.get(point.candidate)
        missed = violations(point, question.needs)
        notes = [*(["recommended"] if number == recommended else []), *(violation.text for violation in missed)]
        misses = [violation.name for violation in missed]
        rows.append(
            point_row(
                front_row(point, question.aim.errors, number=number),
                notes=notes,
                misses=misses,
                not_certain=not is_certain(point.cost, question.needs, question.aim.errors),
            )
        )
    return tuple(sorted(rows, key=lambda row: (row.number is None, row.number or 0, row.payload_bytes)))


def _places(record: PlanRecord, prices: Prices, file: PlanFile) -> tuple[str, tuple[PlaceRow, ...]]:
    """The codec by which places are compared, and the places of the plan's network from the input to the output."""
    network = next((network for network in record.networks if network.name == file.variant), None)
    if network is None:
        return "", ()
    table = [entry for entry in record.table if entry.candidate.variant == network.name and entry.candidate.cut]
    codec, rate = _reference(table, file)
    priced = {candidate for candidate, _ in record.work_of}
    estimates = {e.candidate.cut: e for e in table if (e.candidate.codec, e.candidate.rate) == (codec, rate)}
    anywhere = {entry.candidate.cut: entry.candidate for entry in table if entry.candidate in priced}
    chosen = "" if file.cut is None else "+".join(tensor.name for tensor in file.cut.tensors)
    rows, before = [], (0, 0)
    for cut in sorted(network.cuts, key=lambda cut: (cut.head_macs, cut.index)):
        estimate, candidate = estimates.get(cut.name), anywhere.get(cut.name)
        cost = None if candidate is None else prices.cost(candidate, 0.0)
        coded = None if estimate is None else estimate.payload_bytes
        rows.append(
            PlaceRow(
                layer=_layer(cut),
                macs=cut.head_macs - before[0],
                parameters=cut.head_parameters - before[1],
                raw_bytes=cut.bytes,
                head_s=None if cost is None else cost.head_s,
                tail_s=None if cost is None else cost.tail_s,
                coded_bytes=coded,
                bits=None if coded is None or not cut.elements else 8 * coded / cut.elements,
                chosen=cut.name == chosen,
            )
        )
        before = cut.head_macs, cut.head_parameters
    rows.append(_rest(network, before))
    label = next((entry.label for entry in estimates.values()), "")
    return f"{codec} {label}".strip(), tuple(printable_lines(rows))


def _rest(network: NetworkRecord, before: tuple[int, int]) -> PlaceRow:
    """What lies behind the last place: the network's own outputs."""
    graph = graph_of(network.graph)
    return PlaceRow(
        layer="output",
        macs=graph.macs - before[0],
        parameters=graph.parameters - before[1],
        raw_bytes=sum(tensor.bytes for tensor in graph.outputs),
        head_s=None,
        tail_s=None,
        coded_bytes=None,
        bits=None,
        chosen=False,
    )


def _reference(table: list[Estimate], file: PlanFile) -> tuple[str, int]:
    """The codec and rate that the table has at most places; of several, the plan's own, or else the plan's codec."""
    own = file.codec.name, file.codec.rate
    counts = Counter((entry.candidate.codec, entry.candidate.rate) for entry in table)
    return max(counts, key=lambda key: (counts[key], key == own, key[0] == own[0], key), default=own)


def _layer(cut: Cut) -> str:
    return cut.layer or cut.after


def _sizes(record: PlanRecord) -> tuple[Prediction, ...]:
    estimates = {entry.candidate: entry for entry in record.table}
    pairs = [(estimates[p.candidate], p) for p in record.points if p.candidate in estimates]
    names = {cut.name: _layer(cut) for network in record.networks for cut in network.cuts}
    return tuple(
        Prediction(
            name=printable_lines(
                f"{names.get(entry.candidate.cut, entry.candidate.placement)}, {entry.candidate.codec} {entry.label}"
            ),
            predicted=entry.payload_bytes,
            measured=point.cost.payload_bytes,
        )
        for entry, point in pairs
    )


def _halves(network: NetworkRecord) -> list[Prediction]:
    """Seconds of timed halves, predicted from the operators of the whole network."""
    profile, cuts = network.profile, {cut.tensors: cut for cut in network.cuts}
    timed = [halves for halves in network.halves if halves.tensors in cuts]
    if profile is None or not timed:
        return []
    graph = graph_of(network.graph)
    here = party(profile.host, graph, profile)
    predicted = predict_halves(graph, here, [cuts[halves.tensors] for halves in timed])
    found = []
    for halves, guess in zip(timed, predicted, strict=True):
        layer = printable_lines(f"{network.name}, {_layer(cuts[halves.tensors])}")
        found.append(Prediction(name=f"{layer}: head", predicted=guess.head_s, measured=halves.head.min_s))
        found.append(Prediction(name=f"{layer}: tail", predicted=guess.tail_s, measured=halves.tail.min_s))
    return found


def _map(record: PlanRecord, *, name: str) -> MapDocument | str:
    try:
        rows = speed_rows(record, Changes(), SPEEDS, RATES_BIT_S)
        return printable_lines(map_document(record, Changes(), rows, RATES_BIT_S, name=name, speeds=True))
    except ProfileError as error:
        return printable(f"There is no map: {error.message}.")
