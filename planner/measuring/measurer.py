"""Candidates of one network measured and priced: runs, evaluator and pricer, closed together."""

from __future__ import annotations

from types import TracebackType

import msgspec

from splitpoint.codecs.contract.protocol import FittedCodec
from splitpoint.codecs.store import save_coders
from splitpoint.planner.coding.cache import ByteCache
from splitpoint.planner.coding.runs import NetworkRuns
from splitpoint.planner.cost.price import CodingWork, work_of
from splitpoint.planner.measuring.network import Network
from splitpoint.planner.measuring.pricing import Pricer, host_times
from splitpoint.planner.quality.evaluate import Evaluator
from splitpoint.planner.samples.dataset import NetworkInputs
from splitpoint.planner.setup.loading import Problem
from splitpoint.planner.values.candidate import Candidate, Evaluated
from splitpoint.profiles.machine.device import Device

__all__ = ["Measurer"]


def __dir__() -> list[str]:
    return __all__


class Measurer:
    """A context manager that measures candidates of one network on the search set."""

    def __init__(
        self, problem: Problem, network: Network, *, host: Device, cache: ByteCache, given: Measurer | None
    ) -> None:
        """Agreement and drop are against the `given` network's measurer; None: this is the given network."""
        split = network.variant.split
        self.network = network
        self.runs = NetworkRuns(
            network.graph,
            {"calibration": NetworkInputs(split.calibration), "search": NetworkInputs(split.search)},
            threads=problem.threads,
            seed=problem.config.search.seed,
            labels=split.calibration.labels,
            name=network.name,
            cache=cache,
        )
        self.evaluator: Evaluator = Evaluator(
            self.runs,
            split.search,
            problem.metric,
            network.cut,
            [tensor.name for tensor in problem.graph.outputs],
            reference=None if given is None else given.evaluator.whole,
        )
        times = host_times(network, threads=problem.threads)
        self.pricer = Pricer(problem, network, host=host, work_of=self._work_of, times=times)

    def __enter__(self) -> Measurer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.runs.close()

    def evaluate(self, candidate: Candidate) -> Evaluated | None:
        """Quality and cost of one candidate; None when its codec cannot be fitted to this cut."""
        measured = self.evaluator.measure(candidate)
        if measured is None:
            return None
        return Evaluated(
            candidate=candidate,
            cost=self.pricer.price(candidate, measured.accuracy.payload_bytes),
            accuracy=measured.accuracy,
            label=measured.label,
            outcomes=measured.outcomes,
        )

    def reprice(self, point: Evaluated) -> Evaluated:
        """`point` with its cost as it is known by now."""
        return msgspec.structs.replace(point, cost=self.pricer.price(point.candidate, point.cost.payload_bytes))

    def fitted(self, candidate: Candidate) -> tuple[FittedCodec, ...]:
        """The codecs of a split candidate, one a crossing tensor."""
        return self.runs.fit(self.network.cut(candidate.cut), candidate.codec, candidate.rate)

    def _work_of(self, candidate: Candidate) -> CodingWork:
        fitted = self.fitted(candidate)
        return work_of(fitted, table_bytes=len(save_coders([codec.coder for codec in fitted])))
