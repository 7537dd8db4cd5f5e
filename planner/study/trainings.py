"""What is trained for a plan, in the order of what it could add to the front, within a budget of minutes.

What a training gives is not known before it. A candidate is judged as if it lost nothing: a codec by the bytes of its
untrained start at the coarsest rate, a pruned network by the multiply-adds that an equal share of all layers leaves.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

import msgspec
import numpy as np

from splitpoint.codecs.contract.protocol import Codec, FitError, LossTerm, TrainingCost
from splitpoint.codecs.registry import get as get_codec
from splitpoint.codecs.store import save_coders
from splitpoint.planner.coding.codec_training import CodecTraining, stages
from splitpoint.planner.coding.runs import NetworkRuns
from splitpoint.planner.cost.price import CodingWork, work_of
from splitpoint.planner.deploy.cost import Cost
from splitpoint.planner.limits.objectives import OBJECTIVES
from splitpoint.planner.limits.preferences import with_preferred
from splitpoint.planner.measuring.measurer import Measurer
from splitpoint.planner.measuring.network import Network
from splitpoint.planner.measuring.trained import trained_codecs, trained_cuts
from splitpoint.planner.networks.end_to_end import STAGES, EndToEndTraining
from splitpoint.planner.networks.variants import Variant, check_names, end_to_end_variant, pruned_variant
from splitpoint.planner.search.pruned_costs import pruned_costs
from splitpoint.planner.search.table import PROBE_INPUTS
from splitpoint.planner.setup.loading import Problem
from splitpoint.planner.study.plateau import order_by_gain, reference_point
from splitpoint.planner.training.checkpoint import CheckpointError
from splitpoint.planner.training.spent import Spent
from splitpoint.planner.training.trained_files import TrainedCodec
from splitpoint.planner.training.trainer import Trainer
from splitpoint.planner.values.candidate import GIVEN, Candidate, Evaluated
from splitpoint.planner.values.cut import Cut
from splitpoint.planner.values.keys import content_key
from splitpoint.planner.values.progress import Progress
from splitpoint.profiles.errors import ProfileError

if TYPE_CHECKING:
    from torch import nn

    from splitpoint.planner.networks.pruning import Pruning

__all__ = ["Kind", "State", "Training", "Trainings", "budget_text", "train_all", "train_behind", "train_end_to_end"]


def __dir__() -> list[str]:
    return __all__


LOOKED_UP = ("latency", "payload", "energy", "cost")  # objectives that are known before a training
Kind = Literal["codec", "pruned network", "network end to end"]
State = Literal["kept", "trained", "loaded", "not begun", "refused"]
Say = Callable[[str], None]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Training:
    """One candidate, and what became of it."""

    kind: Kind
    name: str  # "dynamic-switch", "pruned .25 by Taylor"
    where: str  # "after r0"
    state: State
    reason: str | None = None  # why it was not trained
    spent: Spent | None = None  # in this run or an earlier one; None: not trained, or no longer known


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Trainings:
    """All candidates in the order in which they were trained, the networks among them, and notes."""

    rows: tuple[Training, ...] = ()
    variants: tuple[Variant, ...] = ()
    notes: tuple[str, ...] = ()
    left: float | None = None  # minutes of the budget; None: there is none

    def then(self, later: Trainings) -> Trainings:
        """These and what was trained after them."""
        return Trainings(
            rows=(*self.rows, *later.rows),
            variants=(*self.variants, *later.variants),
            notes=(*self.notes, *later.notes),
            left=later.left,
        )


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Job:
    """A candidate before it is trained."""

    kind: Kind
    name: str
    where: str
    key: str  # of what the trainer keeps
    stages: Mapping[str, float]  # share of the minutes of each of its trainings
    costs: tuple[Cost, ...]  # of its points, if it is as good as it can be
    train: Callable[[Say], tuple[list[Variant], list[str]]]  # networks and notes; raises `ProfileError` and `FitError`
    loaded: TrainedCodec | None = None  # what was trained elsewhere: nothing is trained here
    leave: Callable[[str], list[str]]  # is told why it is not trained; gives notes of what nobody else tells


class _Start(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A trained codec before its training, at its coarsest rate."""

    key: str  # of what is trained from it
    stages: dict[str, float]  # its trainings, each with its share of the minutes
    loaded: TrainedCodec | None  # what was trained elsewhere, in place of these
    payload_bytes: float
    work: CodingWork


class _Asked:
    """Notes what a codec would train, and trains nothing."""

    def __init__(self, training: CodecTraining | EndToEndTraining) -> None:
        self.key, self._training, self.asset = training.key, training, ""
        self.stages: dict[str, float] = {}
        self.loaded: TrainedCodec | None = None

    def __call__(
        self,
        module: nn.Module,
        *,
        rates: int,
        losses: Sequence[LossTerm],
        first: Sequence[LossTerm] = (),
        codec: str = "",
    ) -> TrainingCost:
        if isinstance(self._training, CodecTraining):
            self.loaded = self._training.loaded(module, codec)
        if self.loaded is not None:
            return TrainingCost(steps=0, images=0, losses={})
        self._training.check_gradients((*first, *losses))
        self.asset = self._training.asset_key(module, rates=rates, losses=losses, first=first)
        self.stages = dict(STAGES if isinstance(self._training, EndToEndTraining) else stages(first))
        return TrainingCost(steps=0, images=0, losses={})


def train_all(problem: Problem, given: Measurer, trainer: Trainer, progress: Progress) -> Trainings:
    """Train codecs at the cuts of the `given` network and pruned networks, or find what earlier runs trained.

    What does not fit into the budget is not begun; what cannot be trained is left to the reason. Raises `ProfileError`
    where the folder of checkpoints takes no file.
    """
    refused: list[Training] = []
    with progress.stage("candidates", None) as step:
        jobs, notes = _pruned_jobs(problem, given, trainer)
        jobs = [*_codec_jobs(problem, given, refused), *jobs]
        order = _order(problem, given, jobs)
        step(f"{len(jobs)} to train, those first that could add most to the front")
    budget = None if problem.config.train is None else problem.config.train.budget
    found = _train(problem, [jobs[number] for number in order], trainer, progress, budget)
    return dataclasses.replace(found, rows=(*found.rows, *refused), notes=(*notes, *found.notes))


def train_behind(
    problem: Problem,
    given: Measurer,
    pruned: Sequence[Measurer],
    trainer: Trainer,
    progress: Progress,
    left: float | None,
) -> Trainings:
    """Train codecs at the cuts of `pruned` networks, within the minutes that are `left`; raises `ProfileError`."""
    refused: list[Training] = []
    with progress.stage("candidates", None) as step:
        jobs = [job for measurer in pruned for job in _codec_jobs(problem, measurer, refused)]
        order = _order(problem, given, jobs)
        step(f"{len(jobs)} to train behind pruned heads")
    found = _train(problem, [jobs[number] for number in order], trainer, progress, left)
    return dataclasses.replace(found, rows=(*found.rows, *refused))


def train_end_to_end(
    problem: Problem,
    given: Measurer,
    behind: Sequence[Measurer],
    trainer: Trainer,
    progress: Progress,
    left: float | None,
) -> Trainings:
    """Train the networks of `behind` with codecs in them, within the minutes that are `left`; raises `ProfileError`."""
    refused: list[Training] = []
    with progress.stage("candidates", None) as step:
        jobs = [job for measurer in behind for job in _network_jobs(problem, measurer, trainer, refused)]
        order = _order(problem, given, jobs)
        step(f"{len(jobs)} networks to train end to end")
    found = _train(problem, [jobs[number] for number in order], trainer, progress, left)
    return dataclasses.replace(found, rows=(*found.rows, *refused))


def _train(
    problem: Problem, jobs: Sequence[_Job], trainer: Trainer, progress: Progress, left: float | None
) -> Trainings:
    """Train `jobs` in their order while there are minutes `left`."""
    rows: list[Training] = []
    variants: list[Variant] = []
    notes: list[str] = []
    budget = None if problem.config.train is None else problem.config.train.budget
    minutes = [0.0 if job.loaded else trainer.minutes_left(job.key, job.stages) for job in jobs]
    progress.expect("training", 60 * (sum(minutes) if left is None else min(sum(minutes), left)))
    with progress.stage("training", len(jobs)) as step:
        for job, needed in zip(jobs, minutes, strict=True):
            if left is not None and budget is not None and needed > left:
                reason = budget_text(needed, left, budget)
                notes += job.leave(reason)
                rows.append(_row(job, "not begun", reason=reason))
                continue
            left = None if left is None else left - needed
            try:
                made, remarks = job.train(step)
            except CheckpointError:
                raise  # a full disk is no property of the network
            except (FitError, ProfileError) as error:
                reason = error.message if isinstance(error, ProfileError) else str(error)
                notes += job.leave(reason)
                rows.append(_row(job, "refused", reason=reason))
                continue
            variants += made
            notes += remarks
            state: State = "trained" if needed else "loaded" if job.loaded else "kept"
            rows.append(_row(job, state, spent=job.loaded.spent if job.loaded else trainer.spent(job.key)))
            notes += [f"{job.name} {job.where} was trained elsewhere: {job.loaded.name}"] if job.loaded else []
            step("")
        step(_summary(rows))
    return Trainings(rows=tuple(rows), variants=tuple(variants), notes=tuple(notes), left=left)


def budget_text(needed: float, left: float, budget: float) -> str:
    """Why a training was not begun; all in minutes."""
    minutes = f"{left:.3g} of {budget:.3g} minutes are left, it takes {needed:.3g}"
    return f"not trained: {minutes}; splitpoint train CONFIG trains it ahead"


def _row(job: _Job, state: State, *, reason: str | None = None, spent: Spent | None = None) -> Training:
    return Training(kind=job.kind, name=job.name, where=job.where, state=state, reason=reason, spent=spent)


def _say(step: Say, name: str, text: str) -> None:
    step(f"{text} · {name}")


def _summary(rows: Sequence[Training]) -> str:
    """How many candidates are in each state, those that are."""
    counts = {state: sum(row.state == state for row in rows) for state in get_args(State)}
    return ", ".join(f"{count} {state}" for state, count in counts.items() if count) or "nothing to train"


def _order(problem: Problem, given: Measurer, jobs: Sequence[_Job]) -> list[int]:
    """Numbers of the jobs, those first that could add most to the front of the network that is not split."""
    config = problem.config
    names = [name for name in with_preferred(config.objectives, config.prefer) if name in LOOKED_UP]
    if not jobs or not names:
        return list(range(len(jobs)))
    on_device = Candidate(variant=GIVEN, placement="device", cut="", codec="-", rate=0)
    exact = given.evaluate(on_device)
    assert exact is not None  # nothing is fitted
    sent = next((cut for cut in given.network.cuts.cuts if not cut.head), None)
    unsplit = [exact.cost, *([] if sent is None else [given.pricer.uncompressed(sent)])]

    def rows(costs: Sequence[Cost]) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
        points = [msgspec.structs.replace(exact, cost=cost) for cost in costs]
        return np.array([[_value(name, point) for name in names] for point in points], np.float64)

    candidates, known = [rows(job.costs) for job in jobs], rows(unsplit)
    reference = reference_point(np.vstack([known, *candidates]), problem.needs, names)
    return order_by_gain(candidates, known, reference)


def _value(name: str, point: Evaluated) -> float:
    return float(OBJECTIVES[name].read(point))


def _codec_jobs(problem: Problem, measurer: Measurer, refused: list[Training]) -> list[_Job]:
    """One job a trained codec and cut of a network; what cannot be trained there goes to `refused`."""
    network, trainings = measurer.network, measurer.trainings
    cuts, codecs = trained_cuts(problem, network.variant), trained_codecs(problem)
    if not cuts or not codecs or trainings is None:
        return []
    runs, jobs = measurer.runs, []
    of = "" if network.name == GIVEN else f" of {network.name}"
    runs.prepare(cuts, codecs)
    only = network.variant.trained_with
    for cut in cuts:
        training = trainings[cut.tensors[0]]
        for codec in codecs:
            if only not in (None, codec.name):
                runs.leave_untrained(cut, codec, f"is not trained there: this network is trained with {only}")
                continue
            where = f"after {cut.layer or cut.after}{of}"
            lacking = runs.lacks(codec, cut) or codec.refuses(*_shape(network, cut))
            start = lacking or _start(runs, cut, codec, training)
            if isinstance(start, str):
                runs.leave_untrained(cut, codec, start)
                refused.append(Training(kind="codec", name=codec.name, where=where, state="refused", reason=start))
                continue
            jobs.append(
                _Job(
                    kind="codec",
                    name=codec.name,
                    where=where,
                    key=start.key,
                    stages=start.stages,
                    loaded=start.loaded,
                    costs=(measurer.pricer.split(cut, start.work, start.payload_bytes),),
                    train=functools.partial(_train_codec, runs, cut, codec, training),
                    leave=functools.partial(_leave_codec, runs, cut, codec),
                )
            )
    return jobs


def _shape(network: Network, cut: Cut) -> tuple[tuple[int, ...], str]:
    tensor = network.graph.tensors[cut.tensors[0]]
    return tensor.shape, tensor.dtype


def _train_codec(
    runs: NetworkRuns, cut: Cut, codec: Codec, training: CodecTraining, say: Say
) -> tuple[list[Variant], list[str]]:
    training.report = functools.partial(_say, say, f"{codec.name} after {cut.layer or cut.after}")
    runs.fit(cut, codec.name, 0)
    return [], []


def _network_jobs(problem: Problem, measurer: Measurer, trainer: Trainer, refused: list[Training]) -> list[_Job]:
    """One job a codec and cut with which the network is trained; what cannot be trained goes to `refused`."""
    network, trainings, runs, jobs = measurer.network, measurer.trainings, measurer.runs, []
    if problem.config.train is None or trainings is None:
        return []
    for cut in trained_cuts(problem, network.variant):
        for codec in map(get_codec, problem.config.train.end_to_end):
            alone = trainings[cut.tensors[0]]
            training = EndToEndTraining(network.graph, cut, trainer, alone, given=problem.graph)
            asked = _Asked(training)
            start = runs.lacks(codec, cut) or codec.refuses(*_shape(network, cut)) or _start(runs, cut, codec, alone)
            try:
                if not isinstance(start, str):
                    runs.fit_trained(cut, codec, [0], asked)
            except FitError as refusal:
                start = str(refusal)
            of = "" if network.name == GIVEN else f" of {network.name}"
            about: dict[str, Any] = {
                "kind": "network end to end",
                "name": f"with {codec.name}",
                "where": f"after {cut.layer or cut.after}{of}",
            }
            if isinstance(start, str):
                refused.append(Training(state="refused", reason=start, **about))
                continue
            jobs.append(
                _Job(
                    key=asked.asset,
                    stages=STAGES,
                    costs=(measurer.pricer.split(cut, start.work, start.payload_bytes),),
                    train=functools.partial(_train_network, measurer, cut, codec, training),
                    leave=functools.partial(_leave_network, f"end to end with {codec.name} {about['where']}"),
                    **about,
                )
            )
    return jobs


def _train_network(
    measurer: Measurer, cut: Cut, codec: Codec, training: EndToEndTraining, say: Say
) -> tuple[list[Variant], list[str]]:
    training.report = functools.partial(_say, say, f"network with {codec.name} after {cut.layer or cut.after}")
    measurer.runs.fit_trained(cut, codec, range(len(codec.rates)), training)
    assert training.made is not None  # the codec called it
    return [end_to_end_variant(measurer.network.variant, training.made, cut, codec.name)], []


def _leave_codec(runs: NetworkRuns, cut: Cut, codec: Codec, reason: str) -> list[str]:
    """The tables then name it with the reason."""
    runs.leave_untrained(cut, codec, reason)
    return []


def _start(runs: NetworkRuns, cut: Cut, codec: Codec, training: CodecTraining) -> _Start | str:
    """The codec before its training, or why it cannot be trained here, as an earlier run found it or as it is now."""

    def look() -> _Start | str:
        asked = _Asked(training)
        try:
            (fitted,) = runs.fit_trained(cut, codec, [0], asked)
        except FitError as refusal:
            return str(refusal)
        sizes = [
            len(runs.encode(cut, [fitted], runs.activation(cut, "calibration", i)))
            for i in range(min(PROBE_INPUTS, runs.count("calibration")))
        ]
        work = work_of([fitted], table_bytes=len(save_coders([fitted.coder])))
        return _Start(
            key=asked.asset, stages=asked.stages, loaded=asked.loaded, payload_bytes=float(np.mean(sizes)), work=work
        )

    if runs.kept is None:
        return look()
    key = content_key("training-start", fitted=runs.fitted_key(cut, codec.name, 0))
    found: _Start | str
    found, _ = runs.kept.results.get("training-start", key, look, encode=msgspec.msgpack.encode, decode=_decode_start)
    return found


def _decode_start(content: bytes) -> _Start | str:
    found: _Start | str = msgspec.msgpack.decode(content, type=_Start | str)
    return found


def _pruned_jobs(problem: Problem, given: Measurer, trainer: Trainer) -> tuple[list[_Job], list[str]]:
    """One job a pruned network that is trained, and notes on what is not pruned; raises `ProfileError`."""
    if problem.config.prune is None or not problem.trains_pruned:
        return [], []
    from splitpoint.planner.networks.pruned_network import ROUND_SHARES
    from splitpoint.planner.networks.pruning import prunings

    wanted, notes = prunings(problem.graph, problem.config.prune, problem.split.calibration, trainer)
    check_names([GIVEN, *(other.name for other in problem.config.models), *(pruning.name for pruning in wanted)])
    jobs = []
    for pruning in wanted:
        name, _, place = pruning.name.partition(" before ")
        jobs.append(
            _Job(
                kind="pruned network",
                name=name,
                where=f"before {place}",
                key=pruning.key or "",
                stages=ROUND_SHARES,
                costs=pruned_costs(problem, given, pruning),
                train=functools.partial(_train_pruned, problem, pruning),
                leave=functools.partial(_leave_network, pruning.name),
            )
        )
    return jobs, notes


def _train_pruned(problem: Problem, pruning: Pruning, say: Say) -> tuple[list[Variant], list[str]]:
    pruned, notes = pruning.make(say)
    return [pruned_variant(problem, pruned)], notes


def _leave_network(name: str, reason: str) -> list[str]:
    return [f"left out: {name}: {reason}"]
