"""A synthetic landscape of candidates with analytic costs, for tests of the search."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from splitpoint.planner.values.candidate import Candidate, Evaluated

Make = Callable[..., Any]
OBJECTIVES = ("latency", "payload", "drop")
CUTS, CODECS, RATES = 8, 6, 8
EMPTY = {(0, 1), (3, 2), (7, 5)}  # places that a codec cannot code


class Landscape:
    """Candidates with analytic costs: deeper cuts take longer and send less, finer rates send more and lose less."""

    def __init__(self, make_point: Make, *, unfit: bool = False) -> None:
        rng = np.random.default_rng(3)
        self._strength = rng.uniform(0.3, 3.0, CODECS)  # a codec loses this much for its bytes
        self._make, self._unfit = make_point, unfit
        self.asked: list[Candidate] = []
        self.options = [
            [
                [] if (cut, codec) in EMPTY else [self._name(cut, codec, rate) for rate in range(RATES)]
                for codec in range(CODECS)
            ]
            for cut in range(CUTS)
        ]
        self.candidates = [c for row in self.options for rates in row for c in rates]

    def _name(self, cut: int, codec: int, rate: int) -> Candidate:
        return Candidate(variant="given", placement="split", cut=str(cut), codec=str(codec), rate=rate)

    def point(self, candidate: Candidate) -> Evaluated:
        cut, codec, rate = int(candidate.cut), int(candidate.codec), candidate.rate
        payload = 20_000 * 0.6**cut * 1.6 ** (rate - RATES + 1)
        drop = 0.3 * self._strength[codec] * 0.5**rate * (1 + 0.3 * cut)
        latency = 0.010 + 0.008 * cut + payload / 1e6 + 0.002 * codec
        point: Evaluated = self._make(
            cut=candidate.cut, codec=candidate.codec, rate=rate, payload=payload, latency=latency, drop=drop
        )
        return point

    def evaluate(self, candidate: Candidate) -> Evaluated | None:
        self.asked.append(candidate)
        return None if self._unfit and candidate.rate == 0 else self.point(candidate)
