"""Which of the evaluated points are feasible, which is recommended and why, and what is nearest when none is.

Pure functions of evaluated points and requirements.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np

from splitpoint.planner.deploy.schema import Requirements
from splitpoint.planner.search.pareto import knee, pareto
from splitpoint.planner.values.candidate import Evaluated
from splitpoint.profiles.units import format_bytes, format_joules, format_seconds, format_usd

__all__ = [
    "CONSTRAINTS",
    "OBJECTIVES",
    "Decision",
    "Violation",
    "decide",
    "misses_quality",
    "objective_rows",
    "recommend",
    "violations",
]


def __dir__() -> list[str]:
    return __all__


OBJECTIVES: dict[str, Callable[[Evaluated], float]] = {
    "latency": lambda point: math.log10(point.cost.latency_s),
    # Nothing sent is one byte sent on the log scale: below every real payload, and finite.
    "payload": lambda point: math.log10(max(1.0, point.cost.payload_bytes)),
    "drop": lambda point: point.accuracy.drop,
    "energy": lambda point: math.inf if point.cost.energy_j is None else point.cost.energy_j,
    "cost": lambda point: math.inf if point.cost.usd is None else point.cost.usd,
}
CONSTRAINTS = (
    "infeasible",
    "latency",
    "frame rate",
    "payload",
    "device memory",
    "device flash",
    "energy",
    "cost",
    "drop",
    "top1",
    "agreement",
    "fidelity",
)  # every name that a violation can have
INFEASIBLE = 1e3  # excess of what can never work: behind every near miss, and finite for the sampler
UNKNOWN = 1.0  # excess of a limit on what is not known: twice the limit


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Violation:
    """A requirement that a point misses; `excess` is relative, for ranking near misses."""

    name: str
    text: str  # "latency by 4.1 ms"
    excess: float


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """What the search amounts to."""

    front: tuple[Evaluated, ...]  # feasible, not dominated, fewest bytes first
    recommended: Evaluated | None
    reason: str
    knee: Evaluated | None
    nearest: tuple[Evaluated, ...]  # when nothing is feasible: least missed first
    would_fit: tuple[str, ...]  # relaxed requirements under which something fits


def decide(points: Sequence[Evaluated], needs: Requirements, objectives: Sequence[str]) -> Decision:
    """Front, recommendation and knee, or the nearest misses."""
    feasible = [point for point in points if not violations(point, needs)]
    if not feasible:
        ranked = sorted(points, key=lambda point: sum(v.excess for v in violations(point, needs)))
        return Decision(
            front=(),
            recommended=None,
            reason="no candidate meets every requirement",
            knee=None,
            nearest=tuple(ranked[:3]),
            would_fit=_would_fit(points, needs),
        )
    rows = objective_rows(feasible, objectives)
    kept = [point for point, keep in zip(feasible, pareto(rows), strict=True) if keep]
    front = tuple(sorted(kept, key=lambda point: (point.cost.payload_bytes, point.cost.latency_s)))
    recommended, reason = recommend(front, needs)
    bend = knee(objective_rows(front, objectives))
    return Decision(
        front=front,
        recommended=recommended,
        reason=reason,
        knee=None if bend is None else front[bend],
        nearest=(),
        would_fit=(),
    )


def objective_rows(
    points: Sequence[Evaluated], objectives: Sequence[str]
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """One row a point, one column an objective, all to be minimised; shape (points, objectives)."""
    return np.array([[OBJECTIVES[name](point) for name in objectives] for point in points], np.float64)


def recommend(front: Sequence[Evaluated], needs: Requirements) -> tuple[Evaluated, str]:
    """The point to deploy among feasible ones, and why.

    With a deadline the fewest bytes that meet it; else the least latency. Ties go to the higher quality.
    """
    floor = needs.max_drop is not None or needs.min_agreement is not None
    if needs.deadline_s is not None:
        best = min(front, key=lambda p: (p.cost.payload_bytes, p.accuracy.drop, p.cost.latency_s))
        sends = "nothing, alone" if best.cost.payload_bytes == 0 else "the fewest bytes"
        return best, f"it sends {sends} of all that meet the deadline{' and the quality floor' if floor else ''}"
    best = min(front, key=lambda p: (p.cost.latency_s, p.accuracy.drop))
    return best, f"it is the fastest{' of all that meet the quality floor' if floor else ''}"


def violations(point: Evaluated, needs: Requirements) -> tuple[Violation, ...]:
    """Every requirement that `point` misses; constraints bind the estimate, with `confident` the 95 % bound."""
    cost, accuracy = point.cost, point.accuracy
    drop = accuracy.drop_high if needs.confident else accuracy.drop
    value = accuracy.low if needs.confident else accuracy.value
    found = []

    def over(name: str, got: float | None, limit: float | None, text: Callable[[float], str], of: str = "") -> None:
        if limit is None or (got is not None and got <= limit):
            return
        if got is None:
            found.append(Violation(name=name, text=f"{name}, which is not known", excess=UNKNOWN))
            return
        found.append(
            Violation(
                name=name,
                text=f"{name} by {text(got - limit)}{of}",
                excess=min(INFEASIBLE, (got - limit) / max(limit, 1e-9)),
            )
        )

    if cost.infeasible is not None:
        found.append(Violation(name="infeasible", text=f"infeasible: {cost.infeasible}", excess=INFEASIBLE))
    else:
        over("latency", cost.deadline_latency_s, needs.deadline_s, format_seconds)
        over("energy", cost.energy_j, needs.max_energy_j, format_joules)
        over("cost", cost.usd, needs.max_usd, format_usd)
        if needs.min_frame_rate is not None and cost.frame_rate < needs.min_frame_rate:
            short = needs.min_frame_rate - cost.frame_rate
            found.append(
                Violation(name="frame rate", text=f"frame rate by {short:.3g}/s", excess=short / needs.min_frame_rate)
            )
    over("payload", cost.payload_bytes, needs.max_payload_bytes, format_bytes)
    memory = [limit for limit in (needs.max_head_bytes, needs.device_memory_bytes) if limit is not None]
    over("device memory", cost.head_peak_bytes, min(memory, default=None), format_bytes, _has(needs, "memory"))
    over("device flash", cost.head_file_bytes, needs.device_flash_bytes, format_bytes, _has(needs, "flash"))
    if needs.max_drop is not None and drop > needs.max_drop + 1e-12:
        points = 100 * (drop - needs.max_drop)
        found.append(Violation(name="drop", text=f"drop by {points:.1f} points", excess=drop - needs.max_drop))
    if needs.min_agreement is not None and value < needs.min_agreement - 1e-12:
        short = needs.min_agreement - value
        found.append(Violation(name=accuracy.metric, text=f"{accuracy.metric} by {short:.3f}", excess=short))
    return tuple(found)


def _has(needs: Requirements, kind: str) -> str:
    """What the device has, when it is the device's limit that binds."""
    limit = needs.device_memory_bytes if kind == "memory" else needs.device_flash_bytes
    asked = needs.max_head_bytes if kind == "memory" else None
    if limit is None or (asked is not None and asked < limit):
        return ""
    return f" ({needs.device} has {format_bytes(limit)})"


def misses_quality(point: Evaluated, needs: Requirements) -> bool:
    """Whether `point` misses the quality floor, whatever it costs."""
    return any(v.name in ("drop", point.accuracy.metric) for v in violations(point, needs))


def _would_fit(points: Sequence[Evaluated], needs: Requirements) -> tuple[str, ...]:
    """For each requirement alone: the value at which some point would meet all of them."""
    if not points:
        return ()

    def others_met(point: Evaluated, name: str) -> bool:
        return all(violation.name == name for violation in violations(point, needs))

    def least(name: str, got: Callable[[Evaluated], float]) -> float | None:
        found = min((got(point) for point in points if others_met(point, name)), default=math.inf)
        return None if math.isinf(found) else found

    latency_s = least("latency", lambda p: p.cost.deadline_latency_s)
    energy_j = least("energy", lambda p: math.inf if p.cost.energy_j is None else p.cost.energy_j)
    usd = least("cost", lambda p: math.inf if p.cost.usd is None else p.cost.usd)
    rate = least("frame rate", lambda p: -p.cost.frame_rate)
    flash = least("device flash", lambda p: p.cost.head_file_bytes)
    payload = least("payload", lambda p: p.cost.payload_bytes)
    memory = least("device memory", lambda p: p.cost.head_peak_bytes)
    drop = least("drop", lambda p: p.accuracy.drop)
    memory_binds = needs.max_head_bytes is not None or needs.device_memory_bytes is not None
    metric = points[0].accuracy.metric
    value = least(metric, lambda p: -p.accuracy.value)
    texts = [
        None if latency_s is None or needs.deadline_s is None else f"latency <= {format_seconds(latency_s)}",
        None if payload is None or needs.max_payload_bytes is None else f"payload <= {format_bytes(payload)}",
        None if memory is None or not memory_binds else f"device memory of {format_bytes(memory)}",
        None if flash is None or needs.device_flash_bytes is None else f"flash of {format_bytes(flash)}",
        None if energy_j is None or needs.max_energy_j is None else f"energy <= {format_joules(energy_j)}",
        None if usd is None or needs.max_usd is None else f"cost <= {format_usd(usd)}",
        None if rate is None or needs.min_frame_rate is None else f"frame rate >= {-rate:.3g}/s",
        None if drop is None or needs.max_drop is None else f"drop <= {100 * drop:.1f} %",
        None if value is None or needs.min_agreement is None else f"{metric} >= {-value:.2f}",
    ]
    return tuple(text for text in texts if text is not None)
