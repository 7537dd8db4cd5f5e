"""The tables of all networks: which cuts are searched, which candidates there are, and which come first."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence

import msgspec

from splitpoint.codecs.contract.protocol import Codec
from splitpoint.codecs.registry import REGISTRY
from splitpoint.codecs.registry import get as get_codec
from splitpoint.planner.measuring.measurer import Measurer
from splitpoint.planner.samples.dataset import SETS, NetworkInputs
from splitpoint.planner.search import table
from splitpoint.planner.search.baselines import picture_bit, sends_pictures
from splitpoint.planner.search.usable_cuts import Unusable, choose_usable
from splitpoint.planner.setup.loading import Problem
from splitpoint.planner.values.candidate import GIVEN, Candidate
from splitpoint.planner.values.cut import Cut
from splitpoint.planner.values.keys import content_key
from splitpoint.planner.values.progress import Progress

__all__ = ["Tables", "fit_tables"]


def __dir__() -> list[str]:
    return __all__


STARTING_SHARE = 0.5  # of the evaluations go to the tables' own fronts before the sampler proposes


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Tables:
    """What can be looked up before any accuracy is paid for."""

    entries: list[list[table.Entry]]  # by network
    searched: list[list[Cut]]  # by network
    codecs: list[Codec]
    left_out: dict[str, str]  # codec, "codec at cuts" or "cut after node" -> why it is not searched
    unusable: list[Unusable] = dataclasses.field(default_factory=list)  # by network: tensors that cannot be sent

    @property
    def size(self) -> int:
        """Candidates in all tables."""
        return sum(map(len, self.entries))

    def only(self, candidates: Collection[Candidate]) -> Tables:
        """The tables without all other candidates; places stay."""
        entries = [[entry for entry in own if entry.candidate in candidates] for own in self.entries]
        return dataclasses.replace(self, entries=entries)

    def options(self) -> list[list[list[Candidate]]]:
        """options[place][codec] = candidates in ascending rate; places are the cuts of all networks in turn."""
        place = {codec.name: i for i, codec in enumerate(self.codecs)}
        options: list[list[list[Candidate]]] = []
        for entries, cuts in zip(self.entries, self.searched, strict=True):
            index = {cut.name: len(options) + i for i, cut in enumerate(cuts)}
            options += [[[] for _ in self.codecs] for _ in cuts]
            for entry in entries:
                options[index[entry.candidate.cut]][place[entry.candidate.codec]].append(entry.candidate)
        return options

    def starting_points(self, *, deadline_s: float | None, evaluations: int) -> list[Candidate]:
        """The front of each network's table, by equal shares: a table knows what coding loses, not what variants do."""
        count = round(STARTING_SHARE * evaluations)
        share = -(-count // len(self.entries))
        fronts = [table.starting_points(entries, deadline_s=deadline_s, count=share) for entries in self.entries]
        return [front[i] for i in range(share) for front in fronts if i < len(front)][:count]


def fit_tables(problem: Problem, measurers: Sequence[Measurer], progress: Progress) -> Tables:
    """Each network's table over its promising cuts."""
    settings = problem.config.search
    codecs = _searched_codecs(problem)
    ceiling_bit = picture_bit(problem)
    tables = Tables(entries=[], searched=[], codecs=codecs, left_out={})
    for measurer in measurers:
        _choose_cuts(measurer, tables, limit=settings.max_cuts, ceiling_bit=ceiling_bit)
    searched = tables.searched
    with progress.stage("codecs", sum(map(len, searched)) * len(codecs)) as step:
        for measurer, cuts in zip(measurers, searched, strict=True):
            name, pricer = measurer.network.name, measurer.pricer
            prefix = "" if name == GIVEN else f"{name}: "
            tables.left_out.update({prefix + key: why for key, why in measurer.runs.prepare(cuts, codecs).items()})
            if sends_pictures(measurer.network):
                unfit = measurer.runs.prepare_pictures(measurer.network.variant.spec)
                tables.left_out.update({prefix + key: why for key, why in unfit.items()})
            rows = table.tabulate(
                measurer.runs,
                cuts,
                codecs,
                pricer.price,
                variant=name,
                left_out=tables.left_out,
                distance=measurer.evaluator.distance,
                distance_key=measurer.distance_key,
                workers=problem.threads,
            )
            tables.entries.append([])
            for row in rows:
                tables.entries[-1] += row
                step("")
        used = len({entry.candidate.codec for entries in tables.entries for entry in entries})
        total = sum(len(m.network.cuttable) for m in measurers)
        places = f"{sum(map(len, searched))} of {total} cuts"
        step(f"{used} presets fitted at {places}, {tables.size} candidates{_known(measurers[0])}")
    return tables


def _searched_codecs(problem: Problem) -> list[Codec]:
    """Those that are named; else all, without the trained ones where nothing is trained."""
    named = problem.config.search.codecs
    if named:
        return [get_codec(name) for name in named]
    return [codec for codec in REGISTRY.values() if problem.training is not None or "training" not in codec.needs]


def _known(measurer: Measurer) -> str:
    """How many of the table's trials, of all networks, an earlier run had made; empty where it made none."""
    kept = measurer.runs.kept
    recalled = 0 if kept is None else kept.results.recalled["probe"]
    return f"; {recalled} of {kept.results.asked['probe']} trials known from earlier runs" if kept and recalled else ""


def _look_at_cuts(measurer: Measurer, *, limit: int, ceiling_bit: float) -> tuple[list[Cut], Unusable]:
    """The cuts that are searched and the tensors that cannot be sent, as an earlier run found them or as they are."""
    network, kept = measurer.network, measurer.runs.kept
    sets = [getattr(network.variant.split, name) for name in SETS]

    def choose() -> tuple[list[str], Unusable]:
        chosen, unusable = choose_usable(
            measurer.runs,
            network.cuttable,
            lambda cuts: table.promising(measurer.runs, cuts, limit=limit, ceiling_bit=ceiling_bit),
            sets=[NetworkInputs(part) for part in sets],
            probes=table.PROBE_INPUTS,
        )
        return [cut.name for cut in chosen], unusable

    if kept is None:
        names, unusable = choose()
    else:
        key = content_key(
            "usable cuts",
            model_sha256=network.graph.sha256,
            input_block=network.variant.spec,
            data_sha256=[part.sha256() for part in sets],
            cuts=[cut.name for cut in network.cuttable],
            limit=limit,
            ceiling_bit=ceiling_bit,
            runtime=kept.results.runtime,
        )
        (names, unusable), _ = kept.results.get("cuts", key, choose, encode=msgspec.msgpack.encode, decode=_decode_cuts)
    return [network.cut(name) for name in names], unusable


def _decode_cuts(content: bytes) -> tuple[list[str], Unusable]:
    return msgspec.msgpack.decode(content, type=tuple[list[str], dict[str, str]])


def _choose_cuts(measurer: Measurer, tables: Tables, *, limit: int, ceiling_bit: float) -> None:
    """Add the network's promising cuts to `tables`, without those that cannot be sent for every input of the data."""
    network = measurer.network
    chosen, unusable = _look_at_cuts(measurer, limit=limit, ceiling_bit=ceiling_bit)
    trained = [cut for cut in network.cuttable if cut.tensors[0] in (measurer.trainings or {}) and cut not in chosen]
    chosen += [cut for cut in trained if unusable.keys().isdisjoint(cut.tensors)]
    tables.searched.append(chosen)
    tables.unusable.append(unusable)
    prefix = "" if network.name == GIVEN else f"{network.name}: "
    for cut in network.cuttable:
        reason = next((unusable[name] for name in cut.tensors if name in unusable), None)
        if reason is not None:
            tables.left_out[f"{prefix}cut after {cut.after}"] = reason
