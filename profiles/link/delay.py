"""How long a message takes, as a distribution: exact where a closed form exists, seeded draws elsewhere."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["BlockRate", "Delay", "adaptive", "draws", "lost", "outage_attempts", "point", "shifted"]


def __dir__() -> list[str]:
    return __all__


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Delay:
    """Seconds of one message. `infeasible` is why it can never arrive; its seconds are then inf."""

    mean_s: float
    how: Literal["exact", "drawn"]
    infeasible: str | None = None
    within: Callable[[float], float] = dataclasses.field(repr=False)  # P(seconds <= t)
    quantile: Callable[[float], float] = dataclasses.field(repr=False)

    def quantile_s(self, p: float) -> float:
        """The seconds that a share `p` of the messages (0 < p < 1) does not exceed."""
        if not 0 < p < 1:
            raise ValueError(f"expected a probability between 0 and 1, got {p!r}")
        return self.quantile(p)

    def probability(self, deadline_s: float) -> float:
        """The share of the messages that arrives within `deadline_s`."""
        return self.within(deadline_s)


def point(seconds: float, infeasible: str | None = None) -> Delay:
    """Always the same seconds."""
    return Delay(
        mean_s=seconds,
        how="exact",
        infeasible=infeasible,
        within=lambda deadline_s: float(seconds <= deadline_s),
        quantile=lambda p: seconds,
    )


def shifted(delay: Delay, seconds: float) -> Delay:
    """`delay` and a constant."""
    if seconds == 0:
        return delay
    return dataclasses.replace(
        delay,
        mean_s=delay.mean_s + seconds,
        within=lambda deadline_s: delay.within(deadline_s - seconds),
        quantile=lambda p: delay.quantile(p) + seconds,
    )


def draws(seconds: NDArray[np.float64]) -> Delay:
    """The empirical distribution of drawn seconds, shape (n,)."""
    ordered = np.sort(seconds)
    return Delay(
        mean_s=float(ordered.mean()),
        how="drawn",
        within=lambda deadline_s: float(np.searchsorted(ordered, deadline_s, side="right")) / len(ordered),
        quantile=lambda p: float(ordered[min(len(ordered) - 1, math.ceil(p * len(ordered)) - 1)]),
    )


def lost(
    n: int, packet_s: float, loss: float, rtt_s: float, mean_s: float, rng: np.random.Generator, n_draws: int
) -> Delay:
    """Seconds of n packets sent in rounds, each round repeating what was lost, a round trip apart.

    The mean is exact, n packet_s / (1 - loss) + rtt_s (E rounds - 1); the rest is drawn when it is asked for.
    """

    @functools.cache
    def drawn() -> Delay:
        return draws(_rounds(n, packet_s, loss, rtt_s, rng, n_draws))

    return Delay(
        mean_s=mean_s,
        how="drawn",
        within=lambda deadline_s: drawn().within(deadline_s),
        quantile=lambda p: drawn().quantile(p),
    )


def _rounds(
    n: int, packet_s: float, loss: float, rtt_s: float, rng: np.random.Generator, n_draws: int
) -> NDArray[np.float64]:
    missing = np.full(n_draws, n, dtype=np.int64)
    sent = np.zeros(n_draws)
    rounds = np.zeros(n_draws)
    while missing.any():
        sent += missing
        rounds += missing > 0
        missing = rng.binomial(missing, loss)
    seconds: NDArray[np.float64] = sent * packet_s + (rounds - 1) * rtt_s
    return seconds


def outage_attempts(successes: int, failure: float, slot_s: float, last_s: float, again_s: float) -> Delay:
    """Blocks that each fail independently and are sent again; exact.

    `successes` blocks must get through, in slots of `slot_s`, the last of which needs only `last_s`; a failure
    costs its slot and `again_s` for the answer that asks for it again. The number of failures is negative binomial:
    P(f) = C(successes - 1 + f, f) failure^f (1 - failure)^successes.
    """
    base_s = (successes - 1) * slot_s + last_s
    step_s = slot_s + again_s

    def within(deadline_s: float) -> float:
        # A tolerance of 1e-9 of a step: the quantile's own seconds must count as met.
        most = math.floor(min((deadline_s - base_s) / step_s + 1e-9, 1e18))  # a deadline may be without end
        return _negative_binomial(successes, failure, most) if most >= 0 else 0.0

    def quantile(p: float) -> float:
        probability = math.exp(successes * math.log1p(-failure))
        total, f = probability, 0
        if probability == 0:
            mean, spread = successes * failure / (1 - failure), math.sqrt(successes * failure) / (1 - failure)
            return base_s + step_s * (mean + spread * _normal_quantile(p))
        while total < p and probability > 0:
            probability *= failure * (successes + f) / (f + 1)
            f += 1
            total += probability
        return base_s + step_s * f

    mean_s = base_s + step_s * successes * failure / (1 - failure)
    return Delay(mean_s=mean_s, how="exact", within=within, quantile=quantile)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class BlockRate:
    """Bits a second of blocks of `coherence_s` seconds, each drawn anew."""

    reached: Callable[[NDArray[np.float64]], NDArray[np.float64]]  # the rate that this share of the blocks reaches
    carrying: float  # share of the blocks whose rate is above 0
    mean_bit_s: float
    coherence_s: float


def adaptive(
    bits: float,
    rate: BlockRate,
    survival: Callable[[float], float],
    inverse: Callable[[float], float],
    rng: np.random.Generator,
    n_draws: int,
) -> Delay:
    """Seconds over blocks whose rate follows a fading SNR.

    Up to the first block's end the distribution is exact: P(seconds <= t) = `survival`(bits / t), the probability
    of a rate of at least bits / t, with `inverse` the rate that a share p reaches. Behind it, and for the mean,
    blocks are drawn.
    """
    coherence_s = rate.coherence_s
    behind = _blocks(bits, rate, rng, n_draws)
    in_first = survival(bits / coherence_s)

    def within(deadline_s: float) -> float:
        if deadline_s <= 0:
            return 0.0
        return survival(bits / deadline_s) if deadline_s <= coherence_s else behind.within(deadline_s)

    def quantile(p: float) -> float:
        if p <= in_first:
            return bits / max(
                inverse(p), bits / coherence_s
            )  # not below the rate that fills the block, but for rounding
        return max(coherence_s, behind.quantile(p))

    return Delay(mean_s=behind.mean_s, how="drawn", within=within, quantile=quantile)


_MOST_BLOCKS = 20_000  # of a message; the relative spread of a sum of that many blocks is below 1 %
_MOST_WORK = 20_000_000  # block draws in all


def _blocks(bits: float, rate: BlockRate, rng: np.random.Generator, n_draws: int) -> Delay:
    expected = rate.carrying * bits / (rate.mean_bit_s * rate.coherence_s)  # blocks that carry something
    if expected > _MOST_BLOCKS:
        return point(bits / rate.mean_bit_s)
    n_draws = min(n_draws, max(500, int(_MOST_WORK / (expected + 1))))
    seconds = np.zeros(n_draws)
    missing = np.full(n_draws, float(bits))
    open_ = np.arange(n_draws)
    while len(open_):
        if rate.carrying < 1:  # blocks that carry nothing, until one does, in one draw: there may be millions
            seconds[open_] += rate.coherence_s * _failures(rate.carrying, 1 - rng.random(len(open_)))
        rates = rate.reached(rate.carrying * (1 - rng.random(len(open_))))
        room = rates * rate.coherence_s
        done = room >= missing[open_]
        ends = open_[done]
        seconds[ends] += missing[ends] / rates[done]
        missing[open_] -= room
        open_ = open_[~done]
        seconds[open_] += rate.coherence_s
    return draws(seconds)


def _failures(success: float, uniform: NDArray[np.float64]) -> NDArray[np.float64]:
    """Numbers of failures before the first success, geometric, by inversion of uniform numbers in (0, 1]."""
    failures: NDArray[np.float64] = np.floor(np.log(uniform) / math.log1p(-success))
    return failures


def _negative_binomial(successes: int, failure: float, most: int) -> float:
    """P(failures <= most); the normal approximation where the first term underflows."""
    probability = math.exp(successes * math.log1p(-failure))  # a power of 1 - 1e-20 would be 1
    if probability == 0:
        mean, spread = successes * failure / (1 - failure), math.sqrt(successes * failure) / (1 - failure)
        return 0.5 * math.erfc((mean - most) / (spread * math.sqrt(2)))
    total = 0.0
    for f in range(most + 1):
        total += probability
        probability *= failure * (successes + f) / (f + 1)
        if probability < 1e-18 * total:
            break
    return min(1.0, total)


def _normal_quantile(p: float) -> float:
    """By bisection of erfc: called once where an exact sum underflows, so its speed does not matter."""
    low, high = -40.0, 40.0
    for _ in range(80):
        middle = (low + high) / 2
        if 0.5 * math.erfc(-middle / math.sqrt(2)) < p:
            low = middle
        else:
            high = middle
    return (low + high) / 2
