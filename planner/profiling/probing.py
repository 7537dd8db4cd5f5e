"""How far a calibration is off for networks that none of its rates was measured on: its own prediction error.

Networks of five families (`profiles.measurement.probes`) are timed and predicted. Where their errors, of logarithms,
are normal with mean 0, that of one more network over their root mean square has Student's t distribution with as many
degrees of freedom as there are networks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from splitpoint.planner.cost.price import op_work
from splitpoint.planner.profiling.fitted_device import LeftOut
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.machine.device import Device, predict_run_s
from splitpoint.profiles.measurement.micro import least_s
from splitpoint.profiles.measurement.probes import PROBES
from splitpoint.profiles.measurement.steady import STEADY
from splitpoint.profiles.network.graph import load_graph
from splitpoint.profiles.network.runtime import CPU, Provider

__all__ = ["time_probes", "with_errors"]


def __dir__() -> list[str]:
    return __all__


MOST_PASSES = 5  # over all networks, until the two best seconds of each agree: other work only ever slows
# 95 % quantiles of Student's t by degrees of freedom: 90 % are between their negative and them.
STUDENT: Final[Mapping[int, float]] = {3: 2.353, 4: 2.132, 5: 2.015}


def time_probes(device: Device, *, threads: int, provider: Provider = CPU) -> tuple[LeftOut, ...]:
    """Each network as it was timed here and as `device` predicts it; without those that `provider` cannot run."""
    models = {name: build() for name, build in PROBES.items()}
    timed: dict[str, list[float]] = {}
    for done in range(MOST_PASSES):
        if done >= 2 and all(_agree(seconds) for seconds in timed.values()):
            break
        for name in models if done == 0 else timed:
            try:
                seconds = least_s(models[name], threads=threads, provider=provider)
            except ProfileError:
                if provider == CPU:
                    raise
                continue
            timed.setdefault(name, []).append(seconds)
    return tuple(
        LeftOut(network=name, seconds=min(seconds), predicted_s=_predict_s(device, name, models[name]))
        for name, seconds in timed.items()
    )


def with_errors(device: Device, probed: Sequence[LeftOut]) -> Device:
    """`device` with its mean error and the factor that 90 % are within; unchanged where too few networks ran."""
    if len(probed) not in STUDENT:
        return device
    errors = [one.log_error for one in probed]
    mean = sum(map(abs, errors)) / len(errors)
    rms = math.sqrt(sum(error**2 for error in errors) / len(errors))
    return msgspec.structs.replace(
        device,
        prediction_error=round(math.exp(mean), 2),
        interval_factor=round(math.exp(STUDENT[len(errors)] * rms), 2),
    )


def _agree(seconds: Sequence[float]) -> bool:
    best, second = sorted(seconds)[:2]
    return second - best <= STEADY * second


def _predict_s(device: Device, name: str, model: bytes) -> float:
    graph = load_graph(model, name=name, source=name)
    return predict_run_s(device, [op_work(graph, node) for node in graph.nodes])
