"""A device profile from latencies of whole networks, and how far it is off for networks that it was not fitted to."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from splitpoint.planner.cost.anchored import NINETY
from splitpoint.planner.profiling.latency_table import KnownLatency
from splitpoint.planner.profiling.published import Kind, Prior, compute_of, features, fit_costs, load_prior
from splitpoint.profiles.machine.device import Device, Published, Runtime

__all__ = ["WORST_ERROR", "LeftOut", "fit_device", "interval_factor", "leave_out"]


def __dir__() -> list[str]:
    return __all__


WORST_ERROR = 2.0  # mean factor of left-out networks above which a profile is not used; none ships above it, either
FEW = 2.0  # times the variance, over the number of networks; docs/profiles.md has what is inside with it
POOLED = 10.0  # networks that what all devices miss by counts as, beside a device's own; as for the shipped profiles


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class LeftOut:
    """What a fit without a network, and without those of its backbone, predicts of it."""

    network: str
    seconds: float  # that the table has
    predicted_s: float

    @property
    def log_error(self) -> float:
        """Logarithm of predicted / measured."""
        return math.log(self.predicted_s / self.seconds)


def fit_device(
    latencies: Sequence[KnownLatency], *, name: str, description: str, runtime: Runtime, unit: Kind
) -> tuple[Device, tuple[LeftOut, ...]]:
    """The device, with the errors of its left-out networks in it, and those errors one by one.

    `unit` says which devices it borrows from: CPUs, or GPUs.
    """
    prior = load_prior(unit)
    amounts = np.stack([features(known.ops) for known in latencies])
    seconds = np.array([known.seconds for known in latencies])
    left_out = leave_out(latencies, prior)
    errors = [one.log_error for one in left_out]
    device = Device(
        name=name,
        description=description,
        runtime=runtime,
        compute=compute_of(fit_costs(amounts, seconds, prior), runtime.precision),
        prediction_error=round(math.exp(float(np.mean(np.abs(errors)))), 2),
        interval_factor=round(interval_factor(errors, prior), 2),
        fitted_on=tuple(Published(net=known.network, seconds=known.seconds) for known in latencies),
    )
    return device, left_out


def leave_out(latencies: Sequence[KnownLatency], prior: Prior) -> tuple[LeftOut, ...]:
    """Each network as the others predict it.

    The prior is the shipped one, which has seen the published networks on other devices: expect a little more.
    """
    amounts = np.stack([features(known.ops) for known in latencies])
    seconds = np.array([known.seconds for known in latencies])
    backbones = np.array([known.backbone for known in latencies])
    predicted = np.empty(len(latencies))
    for name in dict.fromkeys(backbones.tolist()):
        out = backbones == name
        costs = np.exp(fit_costs(amounts[~out], seconds[~out], prior))
        predicted[out] = amounts[out] @ costs
    return tuple(
        LeftOut(network=known.network, seconds=known.seconds, predicted_s=float(value))
        for known, value in zip(latencies, predicted, strict=True)
    )


def interval_factor(log_errors: Sequence[float], prior: Prior) -> float:
    """The factor that 90 % of other networks are within: the errors here, and as ten more those of all devices.

    Those of all devices are of tables of twenty networks: few networks tell less, so that their variance is larger.
    """
    pooled = (math.log(prior.interval_factor) / NINETY) ** 2
    variance = (sum(error**2 for error in log_errors) + POOLED * pooled) / (len(log_errors) + POOLED)
    variance *= 1 + FEW / len(log_errors)
    return math.exp(NINETY * math.sqrt(variance))
