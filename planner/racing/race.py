"""The race: candidates are measured on growing parts of the search set, until it is settled that they cannot win.

Candidates that cannot win whatever they lose are not here (`planner.racing.contenders`). The others are
measured on the first block of inputs. Then, from the least lossy on, each goes on block by block until it is complete,
or surely loses too much, or is surely lossier than a complete candidate that costs no more. "Surely" is a test that
holds at every look at once (`planner.racing.sequential`); docs/notes/search.md derives it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from splitpoint.planner.deploy.cost import Cost
from splitpoint.planner.deploy.requirements import Requirements
from splitpoint.planner.limits.objectives import OBJECTIVES
from splitpoint.planner.quality.estimates import losses, with_estimates
from splitpoint.planner.quality.intervals import paired_drop
from splitpoint.planner.quality.metrics.protocol import Metric
from splitpoint.planner.racing.contenders import QUALITY_OBJECTIVES, loses_nothing
from splitpoint.planner.racing.sequential import surely_above
from splitpoint.planner.samples.blocks import Blocks
from splitpoint.planner.search.decide import QUALITY, misses_quality, violations
from splitpoint.planner.search.pareto import pareto
from splitpoint.planner.values.candidate import Candidate, Evaluated
from splitpoint.planner.values.outcomes import InputOutcome
from splitpoint.planner.values.place import kind_of

__all__ = ["Measurements", "Race"]


def __dir__() -> list[str]:
    return __all__


SURE = 4.0  # standard errors by which mean bytes do not differ
LEAST_GROUPS = 20  # by which a standard error is known
ERROR = 0.005  # probability that one of a candidate's two tests is ever wrong

Floats = NDArray[np.float64]


class Measurements(Protocol):
    """Where the race's figures come from: measured now, or recorded."""

    @property
    def blocks(self) -> Blocks:
        """The blocks of the search set."""

    def measure(self, candidate: Candidate, blocks: int) -> Evaluated | None:
        """The candidate on the first `blocks` blocks, with its own estimate; None when it cannot be fitted."""

    def payload(self, candidate: Candidate) -> float:
        """Mean bytes of its payloads over the whole search set, coded and not decoded; raises `FitError`."""

    def price(self, candidate: Candidate, payload_bytes: float) -> Cost:
        """Its cost with this mean payload; raises `FitError`."""


class Race:
    """Candidates that enter, how far each is measured, and why some were stopped."""

    def __init__(
        self,
        measurements: Measurements,
        metric: Metric,
        needs: Requirements,
        objectives: Sequence[str],
        *,
        complete: Sequence[Evaluated],
    ) -> None:
        """`complete` are points measured on the whole search set, at least one.

        A metric whose value is no mean over inputs is measured on whole sets: there is no test for it.
        """
        self._from, self._needs = measurements, needs
        self._blocks = measurements.blocks
        self._looks = len(self._blocks.ends)
        self._first_look = 1 if metric.statistic == "proportion" else self._looks
        self._metric = metric
        self._labelled, self._smooth = metric.against == "labels", metric.task.name == "classify"
        self._looked_up = [name for name in objectives if name not in QUALITY_OBJECTIVES]
        self._template = complete[0]
        self._complete = list(complete)
        self._lossy = [point for point in complete if self._misses_surely(point)]  # of them: surely beyond the limit
        self._progress: dict[Candidate, int] = {}  # looks
        self.points: dict[Candidate, Evaluated] = {}  # of all that were measured, whole or in part
        self.stopped: dict[Candidate, str] = {}  # not measured, or not wholly, and why

    @property
    def complete(self) -> list[Evaluated]:
        """The points that are measured on the whole search set, in the order in which they entered."""
        return [point for point in self.points.values() if self._progress[point.candidate] == self._looks]

    def enter(self, candidate: Candidate) -> Evaluated | None:
        """The candidate on the first block; None when it cannot be fitted."""
        return self._grow(candidate, self._first_look)

    def finish(self, *, enough: Callable[[], bool] = lambda: False, step: Callable[[], None] = lambda: None) -> None:
        """Measure on until every candidate is complete or stopped, or `enough` says so; `step` is told of each."""
        for candidate in self._order([c for c in self.points if self._progress[c] < self._looks]):
            rival = self._rival(self.points[candidate])
            while self._progress[candidate] < self._looks and not enough():
                why = self._settled(candidate, rival)
                if why:
                    self.stopped[candidate] = why
                    break
                self._grow(candidate, self._progress[candidate] + 1)
            step()
        if not any(kind_of(point) == "split" for point in self._complete):
            self._measure_nearest()

    def _measure_nearest(self) -> None:
        """The split that seems fastest of those that were stopped: the answer says by how much splits miss."""
        stopped = sorted(self.stopped, key=lambda c: (self.points[c].cost.deadline_latency_s, c))
        stopped = [c for c in stopped if kind_of(self.points[c]) == "split"]
        nearest = next((c for c in stopped if self._grow(c, self._looks) is not None), None)
        if nearest is not None:
            del self.stopped[nearest]

    def _order(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Those that seem good enough before the others, front by front; on each the cheaper and so lossier first.

        A complete point is a rival of those after it: cheap ones that lose little stop dear ones that lose less. Of
        those that lose too much the best comes first: it stops the worse.
        """
        if not candidates:
            return []
        points = [p for p in with_estimates([*self._complete, *self.points.values()], self._metric)]
        points = list({p.candidate: p for p in points if p.candidate in set(candidates)}.values())
        drops = np.array([OBJECTIVES["drop"].read(point) for point in points])
        ranks = _fronts(np.column_stack([[self._row(point) for point in points], drops]))
        keys = {}
        for point, rank, drop in zip(points, ranks.tolist(), drops.tolist(), strict=True):
            too_lossy = misses_quality(point, self._needs)
            keys[point.candidate] = (too_lossy, rank, drop if too_lossy else -drop, point.candidate)
        return sorted(candidates, key=lambda candidate: keys[candidate])

    def summary(self) -> str:
        """What was measured and what was not, in words: "120 candidates, 80 of them settled early, ...".

        A run is saved where an input of a measured candidate did not go through the tail.
        """
        whole, ends = self._blocks.inputs, self._blocks.ends
        inputs = [sum(map(len, self._blocks.groups[:end])) for end in ends]
        saved = sum(whole - inputs[self._progress[c] - 1] for c in self.stopped)
        settled = f", {len(self.stopped)} of them settled early, {saved:,} tail runs saved" if self.stopped else ""
        return f"{len(self.points)} candidates{settled}"

    def _grow(self, candidate: Candidate, looks: int) -> Evaluated | None:
        point = self._from.measure(candidate, looks)
        if point is not None:
            self.points[candidate], self._progress[candidate] = point, looks
            if looks == self._looks:
                self._complete.append(point)
                self._lossy += [point] if self._misses_surely(point) else []
        return point

    def _something_is_feasible(self) -> bool:
        """Otherwise the nearest misses are asked for, and whatever misses less than others is of interest."""
        return any(not violations(point, self._needs) for point in self._complete)

    # What the look-ups decide.

    def _beyond(self, candidate: Candidate, cost: Cost) -> str:
        missed = self._missed(candidate, cost)
        if missed:
            return _too_dear(missed[0])
        row = self._row(self._priced(candidate, cost))
        for point in self._complete:
            if loses_nothing(point) and (self._row(point) <= row).all() and not violations(point, self._needs):
                return "a point that loses nothing costs no more"
        return ""

    def _least_costs(self, point: Evaluated) -> Iterator[Cost]:
        """Costs that the whole set does not fall below: by the measured inputs' bytes, then by those of every input.

        The first is enough for most: only where it is not are the others coded. Few groups (three scenes, one of which
        is left) say little of the bytes of the others, however many inputs they have.
        """
        assert point.outcomes is not None
        groups = self._measured_groups(point)
        if len(groups) >= LEAST_GROUPS:
            by_input = dict(zip(self._inputs(point), point.outcomes.payload_bytes, strict=True))
            scale = len(self._blocks.groups) / self._blocks.inputs  # so that the mean over groups is that over inputs
            sizes = scale * np.array([sum(by_input[i] for i in group) for group in groups], np.float64)
            least = sizes.mean() - SURE * sizes.std(ddof=1) / np.sqrt(len(sizes))
            yield self._from.price(point.candidate, max(0.0, float(least)))
        yield self._from.price(point.candidate, self._from.payload(point.candidate))

    def _missed(self, candidate: Candidate, cost: Cost) -> list[str]:
        """Names of the limits of cost that are missed."""
        missed = violations(self._priced(candidate, cost), self._needs)
        return [violation.name for violation in missed if violation.name not in QUALITY]

    def _priced(self, candidate: Candidate, cost: Cost) -> Evaluated:
        """A point with this cost, and with a quality that is not read."""
        return msgspec.structs.replace(self._template, candidate=candidate, cost=cost)

    def _row(self, point: Evaluated) -> Floats:
        return np.array([OBJECTIVES[name].read(point) for name in self._looked_up], np.float64)

    # What the outcomes decide.

    def _settled(self, candidate: Candidate, rival: Evaluated | None) -> str:
        """Why measuring on cannot bring the candidate onto the front; "": it can."""
        if not self._something_is_feasible():
            return ""
        point = self.points[candidate]
        if self._surely_too_lossy(point):
            return "surely loses too much"
        if self._beyond(candidate, point.cost):
            for cost in self._least_costs(point):
                beyond = self._beyond(candidate, cost)
                if beyond:
                    return beyond
        if rival is None or not self._surely_lossier(point, rival):
            return ""
        if misses_quality(rival, self._needs):
            return "surely lossier than a point that loses too much"
        rows = (self._row(self._priced(candidate, cost)) for cost in self._least_costs(point))
        cheaper = any((self._row(rival) <= row).all() for row in rows)
        return "surely lossier than a point that costs no more" if cheaper else ""

    def _rival(self, point: Evaluated) -> Evaluated | None:
        """The least lossy complete point that seems to cost no more, or else one that surely loses too much.

        It is chosen before the point's losses are looked at, so that one test decides and not the best of many.
        """
        row = self._row(point)
        cheaper = [r for r in self._complete if (self._row(r) <= row).all() and not self._missed(r.candidate, r.cost)]
        cheaper = [r for r in cheaper if not misses_quality(r, self._needs)] or self._lossy
        return min(cheaper, key=lambda r: (float(np.mean(self._losses(r))), r.candidate), default=None)

    def _misses_surely(self, point: Evaluated) -> bool:
        """Whether the interval of a complete point's quality, looked at once, is beyond the limit."""
        assert point.outcomes is not None
        rows, bounds = point.outcomes.inputs, {bound.limit: bound.value for bound in self._needs.bounds}
        if "quality" in bounds and point.accuracy.high < bounds["quality"]:
            return True
        if "drop" not in bounds or not self._labelled:
            return False
        before, after = (np.array([c[0] > 0 for c in counts]) for counts in zip(*_counts(rows), strict=True))
        return paired_drop(before, after, [row.group for row in rows]).low > bounds["drop"]

    def _surely_too_lossy(self, point: Evaluated) -> bool:
        """Whether the drop on the whole search set is surely above its limit, or the quality below."""
        assert point.outcomes is not None
        counts = {i: pair for i, pair in zip(self._inputs(point), _counts(point.outcomes.inputs), strict=True)}
        groups = self._measured_groups(point)
        scale = len(self._blocks.groups) / self._blocks.inputs  # so that the mean over groups is that over inputs
        most = scale * max(map(len, self._blocks.groups))
        for bound in self._needs.bounds:
            if bound.limit not in ("drop", "quality"):
                continue
            of_drop = bound.limit == "drop" and self._labelled
            limit = bound.value if bound.limit == "drop" else 1 - bound.value
            lost = [sum((counts[i][0][0] if of_drop else 1.0) - counts[i][1][0] for i in group) for group in groups]
            low = -most if of_drop else 0.0
            values = scale * np.array(lost)
            if surely_above(values, limit, total=len(self._blocks.groups), low=low, high=most, error=ERROR):
                return True
        return False

    def _surely_lossier(self, point: Evaluated, rival: Evaluated) -> bool:
        """Whether `point` surely has the larger loss: the relative difference on the same inputs, mean over groups.

        The measure from which drops are estimated may not say the contrary.
        """
        if self._finer_loss(point, self._inputs(point)) < self._finer_loss(rival, self._inputs(point)):
            return False
        mine, other = self._by_input(point), self._by_input(rival)
        groups = self._measured_groups(point)
        values = np.array([np.mean([_relative(mine[i], other[i]) for i in group]) for group in groups])
        total = len(self._blocks.groups)
        return surely_above(values, 0.0, total=total, low=-1.0, high=1.0, error=ERROR)

    def _finer_loss(self, point: Evaluated, inputs: Sequence[int]) -> float:
        """The mean of the smooth loss (`planner.quality.estimates`) on these inputs, all of them measured."""
        assert point.outcomes is not None
        rows = dict(zip(self._inputs(point), point.outcomes.inputs, strict=True))
        return float(losses([rows[i] for i in inputs], self._metric)[1].mean())

    def _measured_groups(self, point: Evaluated) -> Sequence[tuple[int, ...]]:
        return self._blocks.groups[: self._blocks.ends[self._progress[point.candidate] - 1]]

    def _inputs(self, point: Evaluated) -> Sequence[int]:
        assert point.outcomes is not None
        return range(self._blocks.inputs) if point.outcomes.indices is None else point.outcomes.indices

    def _by_input(self, point: Evaluated) -> dict[int, float]:
        return dict(zip(self._inputs(point), self._losses(point).tolist(), strict=True))

    def _losses(self, point: Evaluated) -> Floats:
        """A loss in 0..1 of each measured input, (n,): of answers where there are no scores.

        Of scores it is the square root of 1 - exp(-divergence), which bounds how far the probabilities of any set of
        classes are apart (Bretagnolle and Huber 1978). Scores that are not finite lose all.
        """
        assert point.outcomes is not None
        if not self._smooth:
            return np.array([1 - row.counts[0] for row in point.outcomes.inputs], np.float64)
        known = np.array([np.inf if row.divergence is None else row.divergence for row in point.outcomes.inputs])
        losses: Floats = np.sqrt(-np.expm1(-np.maximum(known, 0.0)))
        return losses


def _fronts(rows: Floats) -> NDArray[np.intp]:
    """(n,): the number of the front on which each row lies when those before it are taken away."""
    ranks = np.full(len(rows), -1)
    while (ranks < 0).any():
        left = np.flatnonzero(ranks < 0)
        ranks[left[pareto(rows[left])]] = ranks.max() + 1
    return ranks


def _too_dear(limit: str) -> str:
    return f"misses the limit of {limit} whatever it loses"


def _counts(rows: Sequence[InputOutcome]) -> list[tuple[tuple[float, ...], tuple[float, ...]]]:
    """Of each input what the unsplit network's and the candidate's answer count."""
    return [(row.unsplit_counts, row.counts) for row in rows]


def _relative(loss: float, other: float) -> float:
    """The difference of two losses as a share of their sum, -1..1; 0 where nothing is lost."""
    return 0.0 if loss == other else (loss - other) / (loss + other)
