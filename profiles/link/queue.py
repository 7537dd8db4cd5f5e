"""Streams of frames: throughput of pipelined stages, and the wait at a shared server (M/D/1).

Frames come as a Poisson stream and each takes the same service time D at one server; rho = rate x D < 1.
References: Khinchine 1932 (mean wait); Franx 2001, "A simple solution for the M/D/c waiting time distribution".
"""

from __future__ import annotations

import math
from collections.abc import Mapping

__all__ = ["bottleneck", "md1_mean_wait_s", "md1_wait_quantile_s", "md1_within", "throughput_s"]


def __dir__() -> list[str]:
    return __all__


def throughput_s(stages_s: Mapping[str, float]) -> float:
    """Frames a second of stages that work on successive frames at once: the slowest one sets the pace."""
    slowest_s = max(stages_s.values(), default=0.0)
    return math.inf if slowest_s <= 0 else 1 / slowest_s


def bottleneck(stages_s: Mapping[str, float]) -> str:
    """The slowest stage; the first of several that are equally slow."""
    return max(stages_s, key=lambda name: stages_s[name])


_EXACT = 100  # service times up to which the distribution of the wait is summed; its tail behind is exponential


def md1_mean_wait_s(rate_s: float, service_s: float) -> float:
    """Mean seconds a frame waits before its service begins; inf when the server cannot keep up.

    The Pollaczek-Khinchine formula for a Poisson stream, W = lambda E[S^2] / (2 (1 - rho)), with a service time S = D
    without variance: E[S^2] = D^2 and lambda D = rho give rho D / (2 (1 - rho)).
    """
    rho = _load(rate_s, service_s)
    return math.inf if rho >= 1 else rho * service_s / (2 * (1 - rho))


def md1_within(rate_s: float, service_s: float, wait_s: float) -> float:
    """P(wait <= wait_s); 0 when the server cannot keep up."""
    rho = _load(rate_s, service_s)
    if rho >= 1 or wait_s < 0:
        return 0.0
    if rho == 0:
        return 1.0
    if wait_s > _EXACT * service_s:  # the sum has (wait / service)^2 terms
        beyond = 1 - md1_within(rate_s, service_s, _EXACT * service_s)
        return 1 - beyond * math.exp(-_decay(rho) * (wait_s / service_s - _EXACT))
    k = math.floor(wait_s / service_s) + 1
    # Franx: for (k - 1) D <= x < k D, exp(-u) sum over j < k of Q(k - 1 - j) u^j / j!, u = rate (k D - x), with
    # Q(m) the probability that at most m frames wait. Every term is positive, so nothing cancels.
    u = rate_s * (k * service_s - wait_s)
    system = _in_system(rho, k + 1)
    waiting_at_most = [sum(system[: m + 2]) for m in range(k)]
    term, total = math.exp(-u), 0.0
    for j in range(k):
        total += waiting_at_most[k - 1 - j] * term
        term *= u / (j + 1)
    return min(1.0, total)


def md1_wait_quantile_s(rate_s: float, service_s: float, p: float) -> float:
    """The wait that a share p of the frames does not exceed."""
    if not 0 < p < 1:
        raise ValueError(f"expected a probability between 0 and 1, got {p!r}")
    rho = _load(rate_s, service_s)
    if rho >= 1:
        return math.inf
    if p <= 1 - rho:
        return 0.0  # a frame finds an idle server with probability 1 - rho
    high = service_s
    while md1_within(rate_s, service_s, high) < p:
        high *= 2
    low = 0.0
    for _ in range(60):  # bisection: md1_within grows with the wait, and 2^-60 is below a float's precision
        middle = (low + high) / 2
        low, high = (middle, high) if md1_within(rate_s, service_s, middle) < p else (low, middle)
    return high


def _load(rate_s: float, service_s: float) -> float:
    if not (rate_s >= 0 and service_s > 0 and math.isfinite(rate_s) and math.isfinite(service_s)):
        raise ValueError(f"expected a rate >= 0 and a service time > 0, got {rate_s!r} /s and {service_s!r} s")
    return rate_s * service_s


def _decay(rho: float) -> float:
    """The z > 0 by which the tail of the wait falls, exp(-z) in a service time: rho (exp(z) - 1) = z.

    The pole of the wait's Laplace transform (Pollaczek-Khinchine) nearest to 0; the next ones are complex and so much
    further that their terms vanish within a few service times.
    """
    low, high = 0.0, 1.0
    while rho * math.expm1(high) < high:
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if rho * math.expm1(middle) < middle else (low, middle)
    return low


def _in_system(rho: float, most: int) -> list[float]:
    """P(n frames waiting or in service), n = 0 .. most.

    A frame leaves behind one less than it found and what arrived in D, which is Poisson(rho); setting the flow up
    across each level equal to the flow down gives p(n) a(0) = p(0) b(n-1) + sum over 0 < i < n of p(i) b(n - i),
    with a the Poisson probabilities and b(k) = P(more than k arrive).
    """
    a = [math.exp(-rho)]
    for k in range(1, most + 1):
        a.append(a[-1] * rho / k)
    more = [_poisson_tail(rho, k) for k in range(most + 1)]
    p = [1 - rho]
    for n in range(1, most + 1):
        p.append((p[0] * more[n - 1] + sum(p[i] * more[n - i] for i in range(1, n))) / a[0])
    return p


def _poisson_tail(mean: float, k: int) -> float:
    """P(more than k) of a Poisson variable, summed from its largest term on."""
    term = math.exp(-mean + (k + 1) * math.log(mean) - math.lgamma(k + 2))
    total, i = 0.0, k + 1
    while term > 1e-18 * total and term > 0:
        total += term
        i += 1
        term *= mean / i
    return total
