"""The table from which the search starts: for every promising cut, codec and rate an estimated cost and loss.

A first look runs a few calibration inputs through the real bitstream and tail at two rates of each codec; payload and
output error of the other rates are interpolated on log scales. Estimates
order the search and are never shown: what is shown was measured by `planner.quality.evaluate`.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec
import numpy as np

from splitpoint.codecs.contract.protocol import Array, Codec, FitError
from splitpoint.planner.coding.crossing import applies
from splitpoint.planner.coding.runs import NetworkRuns
from splitpoint.planner.deploy.cost import Cost
from splitpoint.planner.quality.observe import relative_error
from splitpoint.planner.search.pareto import pareto
from splitpoint.planner.values.candidate import Candidate
from splitpoint.planner.values.cut import Cut
from splitpoint.planner.values.keys import content_key
from splitpoint.profiles.errors import ProfileError

__all__ = ["PROBE_INPUTS", "Entry", "estimated_bits", "promising", "starting_points", "tabulate"]


def __dir__() -> list[str]:
    return __all__


PROBE_INPUTS = 2  # calibration inputs of the first look
PROBE_BITS = 4  # uniform bits at which cuts are compared before any codec is fitted
PROBE_RATES = (0.25, 0.75)  # of the way from a codec's coarsest rate to its finest
LEAST_ERROR = 1e-9  # float32 noise: below it an error is as good as none
LEAST_PAYLOAD = 0.5  # of the estimate: what all inputs need is not less
SLACK = 1.5  # a deeper cut stays although an earlier one has fewer bits, up to this factor

_Look = tuple[float, float] | str  # payload bytes and distance, or why the codec cannot be fitted
Distance = Callable[[Sequence[Array], Sequence[Array]], float]  # of outputs from the exact ones


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One line of the table."""

    candidate: Candidate
    cut: Cut
    cost: Cost  # with the estimated payload
    least_cost: Cost  # with the least payload that the estimate leaves open
    error: float  # estimated distance of the outputs from the exact ones


def promising(runs: NetworkRuns, cuts: Sequence[Cut], *, limit: int, ceiling_bit: float = np.inf) -> list[Cut]:
    """At most `limit` cuts that no earlier cut beats in entropy (at 4 bits, zero-order, summed over the tensors).

    Head time grows along the network and, with a server faster than the device, so does the total, so an earlier cut
    of fewer bits dominates. `SLACK` keeps near ties, since equal bits do not mean equal loss. A cut above `ceiling_bit`
    (a picture of high quality) loses to sending the picture, in bits and in head time; the cut of fewest bits stays.
    """
    bits = estimated_bits(runs, cuts)
    order = sorted(range(len(cuts)), key=lambda i: (cuts[i].head_macs, len(cuts[i].head)))
    best, kept = np.inf, []
    for i in order:
        if bits[i] <= SLACK * best and bits[i] <= ceiling_bit:
            kept.append(i)
        best = min(best, bits[i])
    kept = kept or [int(np.argmin(bits))]
    while len(kept) > limit:  # thin where bits change least from one kept cut to the next
        steps = [abs(np.log(bits[a] / bits[b])) for a, b in itertools.pairwise(kept)]
        kept.pop(int(np.argmin(steps[:-1])) + 1 if len(steps) > 1 else 0)
    return [cuts[i] for i in kept]


def estimated_bits(runs: NetworkRuns, cuts: Sequence[Cut]) -> list[float]:
    """Estimated bits of each cut: zero-order entropy of its tensors at `PROBE_BITS`, mean over the probe inputs."""
    totals = np.zeros(len(cuts))
    for tensors in runs.sweep(cuts, "calibration", PROBE_INPUTS):
        bits = {name: entropy_bits(tensors[name], PROBE_BITS) for cut in cuts for name in cut.tensors}
        for i, cut in enumerate(cuts):
            totals[i] += sum(bits[name] for name in cut.tensors)
    return [max(1.0, total / PROBE_INPUTS) for total in totals]


def entropy_bits(x: Array, bits: int) -> float:
    """Zero-order entropy of `x` quantized uniformly between its own extremes, in bits of the whole tensor."""
    values = np.asarray(x, np.float64).ravel()
    low, span = values.min(), np.ptp(values)
    if span == 0:
        return 0.0
    counts = np.bincount(np.rint((values - low) / span * (2**bits - 1)).astype(np.int64))
    shares = counts[counts > 0] / values.size
    return float(-(shares * np.log2(shares)).sum() * values.size)


def tabulate(
    runs: NetworkRuns,
    cuts: Sequence[Cut],
    codecs: Sequence[Codec],
    price: Callable[[Candidate, float], Cost],
    *,
    variant: str,
    left_out: dict[str, str],
    distance: Distance = relative_error,
    distance_key: str | None = "relative error",
    workers: int = 1,
) -> Iterator[list[Entry]]:
    """The table, one (cut, codec) at a time; `distance` of the outputs from the exact ones is a candidate's error.

    `workers` codecs are fitted at once; the table is the same for any number of them.

    `distance_key` is another text for another distance: what an earlier run kept is looked up by it; None: nothing is.

    What is left out goes to `left_out` with the reason: a codec whose seconds nobody has measured (a profile stored by
    an older version), and "codec after node" where it cannot be fitted at some or all rates.
    """
    with concurrent.futures.ThreadPoolExecutor(workers, thread_name_prefix="splitpoint-fit") as pool:
        try:
            for cut in cuts:
                probe = _Probe(runs, cut, distance, distance_key)
                rows = functools.partial(_rows_of, probe, price=price, variant=variant)
                able = [codec for codec in codecs if codec.name not in left_out and runs.lacks(codec, cut) is None]
                for entries, missing in pool.map(rows, able):
                    left_out.update(missing)
                    yield entries
        finally:
            pool.shutdown(cancel_futures=True)


def starting_points(entries: Sequence[Entry], *, deadline_s: float | None, count: int) -> list[Candidate]:
    """The table's Pareto front over latency, payload and probe error, at most `count`, spread over payload.

    Points that meet the deadline come first.
    """
    if not entries:
        return []
    rows = np.array([[e.cost.latency_s, e.cost.size, e.error] for e in entries])
    front = [entry for entry, keep in zip(entries, pareto(rows), strict=True) if keep]
    front.sort(key=lambda e: (e.cost.size, e.cost.latency_s))
    in_time = [e for e in front if deadline_s is None or e.cost.deadline_latency_s <= deadline_s]
    late = [e for e in front if deadline_s is not None and e.cost.deadline_latency_s > deadline_s]
    chosen = _spread(in_time, count)
    return [entry.candidate for entry in chosen + _spread(late, max(0, count - len(chosen)))]


def _spread(entries: Sequence[Entry], count: int) -> list[Entry]:
    if count <= 0 or not entries:
        return []
    picks = np.unique(np.linspace(0, len(entries) - 1, min(count, len(entries))).round().astype(int))
    return [entries[i] for i in picks]


class _Probe:
    """The probe inputs at one cut: payload sizes and output errors, each distinct reconstruction run once."""

    def __init__(self, runs: NetworkRuns, cut: Cut, distance: Distance, distance_key: str | None) -> None:
        self.runs, self.cut, self._distance, self._distance_key = runs, cut, distance, distance_key
        self._errors: dict[tuple[int, bytes], float] = {}

    def look(self, codec: str, rate: int) -> tuple[float, float]:
        """Mean payload bytes and mean distance of the outputs; raises `FitError`. An earlier run may have looked."""
        kept = self.runs.kept
        if kept is None or self._distance_key is None:
            return self._run(codec, rate)
        key = content_key(
            "probe",
            fitted=self.runs.fitted_key(self.cut, codec, rate),
            inputs=PROBE_INPUTS,
            distance=self._distance_key,
            runtime=kept.results.runtime,
        )
        seen: _Look
        seen, _ = kept.results.get(
            "probe", key, lambda: self._seen(codec, rate), encode=msgspec.msgpack.encode, decode=_decode_look
        )
        if isinstance(seen, str):
            raise FitError(seen)
        return seen

    def _seen(self, codec: str, rate: int) -> _Look:
        try:
            return self._run(codec, rate)
        except FitError as refusal:
            return str(refusal)

    @functools.cached_property
    def _rows(self) -> list[dict[str, Array]]:
        return [self.runs.activation(self.cut, "calibration", i) for i in range(PROBE_INPUTS)]

    @functools.cached_property
    def _exact(self) -> list[list[Array]]:
        return [self.runs.tail(self.cut, row) for row in self._rows]

    def _run(self, codec: str, rate: int) -> tuple[float, float]:
        runs, cut = self.runs, self.cut
        fitted = runs.fit(cut, codec, rate)

        def one(i: int) -> tuple[int, float]:
            coded = runs.decode(cut, fitted, runs.encode(cut, fitted, self._rows[i]), draw=i)
            if (i, coded.key) not in self._errors:
                self._errors[i, coded.key] = self._distance(runs.tail(cut, coded.tensors), self._exact[i])
            return len(coded.payload), self._errors[i, coded.key]

        sizes, errors = zip(*runs.map(one, range(len(self._rows))), strict=True)
        return float(np.mean(sizes)), float(np.mean(errors))


def _decode_look(content: bytes) -> _Look:
    found: _Look = msgspec.msgpack.decode(content, type=_Look)
    return found


def _rows_of(
    probe: _Probe, codec: Codec, *, price: Callable[[Candidate, float], Cost], variant: str
) -> tuple[list[Entry], dict[str, str]]:
    """The lines of one codec at the probe's cut, and what is left out there."""
    left_out: dict[str, str] = {}
    try:
        return list(_entries(probe, codec, price, variant, left_out)), left_out
    except ProfileError as error:
        return [], {codec.name: error.message}


def _entries(
    probe: _Probe,
    codec: Codec,
    price: Callable[[Candidate, float], Cost],
    variant: str,
    left_out: dict[str, str],
) -> Iterator[Entry]:
    cut = probe.cut
    tensors = [probe.runs.graph.tensors[name] for name in cut.tensors]
    if not applies(codec, tensors):
        return

    def candidate(rate: int) -> Candidate:
        return Candidate(variant=variant, placement="split", cut=cut.name, codec=codec.name, rate=rate)

    seen: dict[int, tuple[float, float]] = {}
    probed = {round(share * (len(codec.rates) - 1)) for share in PROBE_RATES}
    if codec.boundary == "channel_symbols":  # each rate has a number of symbols that no other stands for
        probed = set(range(len(codec.rates)))
    for rate in sorted(probed):
        try:
            seen[rate] = probe.look(codec.name, rate)
        except FitError as refusal:
            left_out[f"{codec.name} {codec.rates[rate].label} after {cut.layer or cut.after}"] = str(refusal)
    for rate in range(len(codec.rates)) if seen else ():
        payload_bytes, error = (_interpolate(rate, {r: look[i] for r, look in seen.items()}) for i in (0, 1))
        nearest = min(seen, key=lambda r: abs(r - rate))  # its codec graphs and tables stand for those of this rate
        cost, least_cost = (price(candidate(nearest), share * payload_bytes) for share in (1.0, LEAST_PAYLOAD))
        yield Entry(candidate=candidate(rate), cut=cut, cost=cost, least_cost=least_cost, error=error)


def _interpolate(rate: int, seen: Mapping[int, float]) -> float:
    """Log-linear through the two looks, also beyond them; constant from one."""
    rates = sorted(seen)
    logs = [math.log(max(seen[r], LEAST_ERROR)) for r in rates]
    if len(rates) == 1:
        return math.exp(logs[0])
    slope = (logs[-1] - logs[0]) / (rates[-1] - rates[0])
    return math.exp(logs[0] + slope * (rate - rates[0]))
