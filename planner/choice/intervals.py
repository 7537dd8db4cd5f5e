"""How far a modelled latency may be off: its 90 % interval, and how probably one point is faster than another.

The seconds of a side are a factor times what its profile predicts, and the logarithm of the factor is normal. The
factors of device, server and their coders are common to all points of a plan; how a network divides into head and tail
is a split's own. The same draws serve every point, so that errors which two points share cancel.
docs/notes/choice.md derives it; "eq. (7)" in a comment is an equation of that note.

References: Hickernell 1998 ("A generalized discrepancy and quadrature error bound") on lattices in place of random
draws; Roberts 2018 ("The unreasonable effectiveness of quasirandom sequences") for the generator.
"""

from __future__ import annotations

import functools
import math
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from splitpoint.planner.choice.errors import SpeedErrors, division_error
from splitpoint.planner.deploy.cost import Cost, LatencyInterval

__all__ = ["LEVEL", "chance_faster", "deadline_interval", "latency_interval"]


def __dir__() -> list[str]:
    return __all__


Floats = NDArray[np.float64]

LEVEL = 0.9  # share of the draws that an interval contains
DRAWS = 1021
COMMON = 4  # factors of device, server, device's coders, server's coders
OWN = 2  # factors of a point's own head and tail


def latency_interval(cost: Cost, errors: SpeedErrors) -> LatencyInterval | None:
    """The 90 % interval of the mean latency; None where nothing is modelled or in doubt, or nothing arrives."""
    return _interval(cost, errors, cost.latency_s)


def deadline_interval(cost: Cost, errors: SpeedErrors) -> LatencyInterval | None:
    """The same of the latency that is compared with a deadline."""
    return _interval(cost, errors, cost.deadline_latency_s)


def chance_faster(cost: Cost, other: Cost, errors: SpeedErrors) -> float:
    """The share of the draws in which `cost` has the smaller mean latency, from 0 to 1; ties count half.

    Both have the same common factors in every draw, and own divisions into head and tail. Eq. (9).
    """
    gap = _computing(other, errors, own=1) - _computing(cost, errors, own=0)
    gap += (other.link_s + other.wait_s) - (cost.link_s + cost.wait_s)
    return float(np.mean((gap > 0) + 0.5 * (gap == 0)))


def _interval(cost: Cost, errors: SpeedErrors, latency_s: float) -> LatencyInterval | None:
    """The quantiles of the draws around `latency_s`, which contains the link. Eq. (8)."""
    if cost.how != "modelled" or not math.isfinite(latency_s):
        return None
    computing = _computing(cost, errors, own=0)
    rest_s = latency_s - cost.device_s - cost.server_s
    low, high = np.quantile(computing, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) + rest_s
    if low == high:
        return None
    return LatencyInterval(low_s=max(0.0, float(low)), high_s=max(0.0, float(high)))


def _computing(cost: Cost, errors: SpeedErrors, *, own: int) -> Floats:
    """Seconds that device and server compute, of every draw; `own` is which point it is of two. Eq. (7)."""
    normal, (device, server, device_coder, server_coder) = _normals(), _common(errors)
    first = COMMON + OWN * own
    head = np.exp(division_error(cost, "head") * normal[first])
    tail = np.exp(division_error(cost, "tail") * normal[first + 1])
    prepared = (cost.prepare_s, 0.0) if cost.prepared_by == "device" else (0.0, cost.prepare_s)
    head *= _wider(errors.device, cost.head_extra_error, normal[0])
    tail *= _wider(errors.server, cost.tail_extra_error, normal[1])
    here = device * (cost.head_s * head + device_coder * (cost.encode_s + prepared[0]))
    there = server * (cost.tail_s * tail + server_coder * (cost.decode_s + prepared[1]))
    return np.asarray(here + there)


def _wider(factor: float, extra: float, normal: Floats) -> Floats:
    """What makes the common factor one whose logarithm has the variance of both errors, of every draw. Eq. (12).

    The same draws serve it, so that the errors of two heads of the same operators cancel in their difference.
    """
    known = math.log(factor)
    return np.asarray(np.exp((math.hypot(known, extra) - known) * normal))


@functools.lru_cache(maxsize=32)
def _common(errors: SpeedErrors) -> Floats:
    """The four factors that all points share, of every draw; shape (4, DRAWS)."""
    factors = np.array([errors.device, errors.server, errors.device_coder, errors.server_coder])
    return np.asarray(np.exp(np.log(factors)[:, None] * _normals()[:COMMON]))


@functools.cache
def _normals() -> Floats:
    """Standard normal numbers that are the same in every run; shape (8, DRAWS).

    Row j is the j-th coordinate of a Kronecker sequence with the powers of 1 / g, where g > 1 solves
    g^(d+1) = g + 1, through the inverse of the normal distribution.
    """
    rows = COMMON + 2 * OWN
    g = 2.0
    for _ in range(64):  # a contraction: 1 / (d + 1) at most
        g = (1 + g) ** (1 / (rows + 1))
    steps = (1 / g) ** np.arange(1, rows + 1)
    uniform = (0.5 + steps[:, None] * np.arange(1, DRAWS + 1)) % 1.0
    inverse = NormalDist().inv_cdf
    return np.array([[inverse(value) for value in row] for row in uniform.tolist()])
