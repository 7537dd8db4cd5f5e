"""Recorded outcomes behind the interface of the race: what measuring would have said, and what it would have run."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from splitpoint.planner.deploy.cost import Cost
from splitpoint.planner.quality.accuracy import judge
from splitpoint.planner.quality.drop_curve import estimate_drops, smooth_losses
from splitpoint.planner.quality.estimates import with_estimates
from splitpoint.planner.quality.metrics.protocol import Metric
from splitpoint.planner.samples.blocks import Blocks, make_blocks
from splitpoint.planner.values.candidate import GIVEN, Candidate, Evaluated
from splitpoint.planner.values.outcomes import InputOutcome, Outcomes

__all__ = ["LIMITS", "OBJECTIVES", "Priced", "Replay", "on_device"]

OBJECTIVES = ("latency", "payload", "drop")
LIMITS = {"latency": 0.3, "drop": 0.01}  # seconds, share: of the labelled plan

Floats = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Priced:
    """C candidates of a network on N inputs, with what each costs."""

    candidates: tuple[Candidate, ...]
    latency_s: Floats  # (C,)
    device_s: float  # latency of the network on the device alone
    payload_bytes: Floats  # (C,) mean
    most_bytes: float  # limit of the payload: the picture as it is
    right: NDArray[np.bool_]  # (C, N)
    right_unsplit: NDArray[np.bool_]  # (N,)
    divergence: Floats  # (C, N) nat
    margin: Floats | None  # (C, N) of the true class, on any scale; None: not recorded
    margin_unsplit: Floats | None  # (N,)

    @property
    def reference(self) -> Floats:
        """The limits on the scales of the objectives, (3,)."""
        return np.array([np.log10(LIMITS["latency"]), np.log10(self.most_bytes), LIMITS["drop"]])

    def drops(self, measured: NDArray[np.bool_]) -> Floats:
        """(C,) what every candidate loses, estimated from the inputs (C, N) that were measured; inf where none was."""
        rows = np.flatnonzero(measured.any(axis=1))
        lost = np.where(measured, self.right_unsplit.astype(np.float64) - self.right, np.nan)[rows]
        smooth = lost if self.margin is None else smooth_losses(self.margin[rows], self._margin_unsplit)
        drops = np.full(len(self.candidates), np.inf)
        drops[rows] = estimate_drops(lost, smooth, self.divergence[rows]).drop
        return drops

    def objectives(self, drops: Floats) -> Floats:
        """(C, 3): log latency, log payload, drop."""
        return np.stack([np.log10(self.latency_s), np.log10(self.payload_bytes), drops], axis=1)

    @property
    def _margin_unsplit(self) -> Floats:
        assert self.margin_unsplit is not None
        return self.margin_unsplit


class Replay:
    """Priced outcomes behind the interface of the race; it counts what measuring them would have run."""

    def __init__(self, priced: Priced, metric: Metric, *, seed: int) -> None:
        self._priced, self._metric = priced, metric
        self._row = {candidate: row for row, candidate in enumerate(priced.candidates)}
        self.blocks: Blocks = make_blocks(range(priced.right.shape[1]), seed=seed)
        self.measured = np.zeros(priced.right.shape, bool)

    @property
    def tail_runs(self) -> int:
        """Inputs that would have gone through a tail."""
        return int(self.measured.sum())

    def measure(self, candidate: Candidate, blocks: int) -> Evaluated:
        """The candidate on the first blocks."""
        everything = self._priced
        inputs = sorted(i for number in range(blocks) for i in self.blocks.block(number))
        row = self._row[candidate]
        self.measured[row, inputs] = True
        outcomes = Outcomes(
            subset="search",
            indices=None if len(inputs) == self.blocks.inputs else tuple(inputs),
            inputs=tuple(self._outcome(row, i) for i in inputs),
            payload_bytes=(round(everything.payload_bytes[row]),) * len(inputs),
        )
        point = Evaluated(
            candidate=candidate,
            cost=self.price(candidate, 0.0),
            accuracy=judge(outcomes, self._metric),
            label="",
            outcomes=outcomes,
        )
        return with_estimates([point], self._metric)[0]

    def payload(self, candidate: Candidate) -> float:
        """Mean bytes of the payloads."""
        return float(self._priced.payload_bytes[self._row[candidate]])

    def price(self, candidate: Candidate, payload_bytes: float) -> Cost:
        """The recorded cost: sizes are known before tails run, so that the payload is always the true one."""
        return _cost(float(self._priced.latency_s[self._row[candidate]]), self.payload(candidate))

    def _outcome(self, row: int, index: int) -> InputOutcome:
        r = self._priced
        return InputOutcome(
            counts=(float(r.right[row, index]),),
            unsplit_counts=(float(r.right_unsplit[index]),),
            margin_change=None,
            truth_margin=None if r.margin is None else float(r.margin[row, index]),
            unsplit_truth_margin=None if r.margin_unsplit is None else float(r.margin_unsplit[index]),
            divergence=float(r.divergence[row, index]),
            relative_error=float(r.divergence[row, index]),
            output_errors=(float(r.divergence[row, index]),),
            group=str(index),
        )


def on_device(priced: Priced, metric: Metric) -> Evaluated:
    """The network on the device alone, which loses nothing: a plan knows it before the search."""
    counts = priced.right_unsplit.astype(float).tolist()
    rows = [
        InputOutcome(
            counts=(count,),
            unsplit_counts=(count,),
            margin_change=0.0,
            truth_margin=None if priced.margin_unsplit is None else float(priced.margin_unsplit[i]),
            unsplit_truth_margin=None if priced.margin_unsplit is None else float(priced.margin_unsplit[i]),
            divergence=0.0,
            relative_error=0.0,
            output_errors=(0.0,),
            group=str(i),
        )
        for i, count in enumerate(counts)
    ]
    outcomes = Outcomes(subset="search", inputs=tuple(rows), payload_bytes=(0,) * len(rows))
    return Evaluated(
        candidate=Candidate(variant=GIVEN, placement="device", cut="", codec="-", rate=0),
        cost=_cost(priced.device_s, 0.0),
        accuracy=judge(outcomes, metric),
        label="-",
        outcomes=outcomes,
    )


def _cost(seconds: float, payload_bytes: float) -> Cost:
    """A cost of which only the sum of the seconds and the payload are known."""
    parts = dict.fromkeys(("prepare_s", "encode_s", "link_s", "decode_s", "tail_s"), 0.0)
    sizes = dict.fromkeys(("side_bytes", "head_bytes", "head_peak_bytes"), 0)
    fields: dict[str, Any] = {**parts, **sizes, "head_s": seconds, "how": "modelled"}
    return Cost(payload_bytes=payload_bytes, **fields)
