"""What a trial tells others: its cost, its quality and where it was measured, and results under their content keys.

A result of another machine is used where its key is the one that is computed here, which contains the runtime: then
it is bit for bit what this machine would compute. Of a machine with another runtime only the told values are used: they
steer the search, and `worth_measuring` says which of its candidates are measured here again before a plan uses them.
"""

from __future__ import annotations

import datetime
import functools
import math
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from splitpoint import __version__
from splitpoint.planner.search.pareto import pareto
from splitpoint.planner.store.results import Results
from splitpoint.planner.study.artifacts import Artifacts, Blob
from splitpoint.planner.values.candidate import Evaluated
from splitpoint.planner.values.keys import Runtime, content_key
from splitpoint.profiles.errors import ProfileError

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.trial import FrozenTrial

__all__ = ["describe_point", "is_of", "offered_results", "share_results", "worth_measuring"]


def __dir__() -> list[str]:
    return __all__


RESULTS, PROVENANCE = "results", "provenance"  # attributes of a trial
OF_TRIALS = ("outcomes", "fitted-codec")  # kinds of results that belong to a candidate
MOST_BYTES = 256 << 20  # of one result
NEAREST = 3  # candidates that are measured again where nothing is feasible

Floats = np.ndarray[tuple[int, int], np.dtype[np.float64]]


def describe_point(point: Evaluated, runtime: Runtime) -> dict[str, Any]:
    """User attributes of a measured trial, as JSON: parts of the cost, quality with its interval, provenance."""
    cost, accuracy = point.cost, point.accuracy
    quality = ("metric", "value", "drop", "low", "high", "drop_high", "n", "relative_error", "payload_bytes")
    totals = {"latency_s": cost.latency_s, "energy_j": cost.energy_j, "usd": cost.usd}
    return {
        "rate": point.label,
        "layer": point.layer,
        "cost": _json({**msgspec.to_builtins(cost), **totals}),
        "quality": _json({name: getattr(accuracy, name) for name in quality}),
        PROVENANCE: {
            "host": socket.gethostname(),
            "cpu": runtime.cpu,
            "runtime": _runtime_key(runtime),
            "splitpoint": __version__,
            "onnxruntime": runtime.onnxruntime,
            "measured": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        },
    }


def share_results(trial: Trial, results: Results, since: int, artifacts: Artifacts) -> dict[str, Any]:
    """Store the results that were used after the first `since` of `results.used`; gives the trial's attribute."""
    rows = []
    for kind, key in dict.fromkeys(results.used[since:]):
        content = results.store.get(kind, key) if kind in OF_TRIALS else None
        if content is not None and len(content) <= MOST_BYTES:
            rows.append([kind, key, msgspec.to_builtins(artifacts.put(content, f"{kind}.bin", trial))])
    return {RESULTS: rows}


def offered_results(trial: FrozenTrial, artifacts: Artifacts) -> dict[tuple[str, str], Callable[[], bytes | None]]:
    """How to read the results of a trial, by kind and key; what cannot be read, or is not what it says, gives None."""

    def read(blob: object) -> bytes | None:
        try:
            return artifacts.get(msgspec.convert(blob, Blob))
        except (ProfileError, msgspec.ValidationError):
            return None

    rows = trial.user_attrs.get(RESULTS, ())
    return {(kind, key): functools.partial(read, blob) for kind, key, blob in rows if kind in OF_TRIALS}


def is_of(trial: FrozenTrial, runtime: Runtime) -> bool:
    """Whether the trial was measured under that very runtime, so that its results are what this process would get."""
    return bool(trial.user_attrs.get(PROVENANCE, {}).get("runtime") == _runtime_key(runtime))


def worth_measuring(told: Sequence[tuple[Sequence[float], Mapping[str, float]]], own: Floats) -> list[int]:
    """Which candidates of other runtimes to measure here: those on the front of all, by index.

    `told` are their objectives and the limits that they miss, `own` (n, d) the objectives of the feasible points that
    were measured here. Where nothing is feasible, it is those that miss their limits by least.
    """
    feasible = [i for i, (_, missed) in enumerate(told) if not missed]
    if not feasible and not len(own):
        return sorted(range(len(told)), key=lambda i: sum(told[i][1].values()))[:NEAREST]
    rows = np.array([*own.tolist(), *(told[i][0] for i in feasible)], np.float64)
    return [i for i, keep in zip(feasible, pareto(rows)[len(own) :], strict=True) if keep]


def _runtime_key(runtime: Runtime) -> str:
    return content_key("runtime", runtime=runtime)[:16]


def _json(value: Any) -> Any:
    """`value` with None in place of numbers that JSON does not have."""
    if isinstance(value, Mapping):
        return {name: _json(inner) for name, inner in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
