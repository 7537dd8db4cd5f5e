"""Candidates of one network measured and priced: runs, evaluator and pricer, closed together."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import TracebackType

import msgspec
import numpy as np

from splitpoint.codecs.contract.protocol import FittedCodec
from splitpoint.codecs.pictures.quant_tables import QuantTables
from splitpoint.codecs.store import save_coders
from splitpoint.planner.coding.cache import ByteCache
from splitpoint.planner.coding.kept import KeptFits
from splitpoint.planner.coding.runs import NetworkRuns
from splitpoint.planner.cost.message import symbol_channel
from splitpoint.planner.cost.price import CodingWork, work_of
from splitpoint.planner.deploy.cost import Cost
from splitpoint.planner.measuring.network import Network
from splitpoint.planner.measuring.pricing import Pricer, host_times
from splitpoint.planner.measuring.trained import codec_trainings
from splitpoint.planner.quality.estimates import with_estimates
from splitpoint.planner.quality.evaluate import Evaluator
from splitpoint.planner.quality.kept import KeptOutcomes
from splitpoint.planner.samples.blocks import Blocks, make_blocks
from splitpoint.planner.samples.dataset import NetworkInputs
from splitpoint.planner.setup.loading import Problem
from splitpoint.planner.setup.trust import code_of_task
from splitpoint.planner.store.results import Results
from splitpoint.planner.training.trainer import Trainer
from splitpoint.planner.values.candidate import Candidate, Evaluated
from splitpoint.planner.values.keys import content_key
from splitpoint.profiles.machine.device import Device

__all__ = ["Measurer", "Measurers"]


def __dir__() -> list[str]:
    return __all__


class Measurer:
    """A context manager that measures candidates of one network on the search set."""

    def __init__(
        self,
        problem: Problem,
        network: Network,
        *,
        host: Device,
        cache: ByteCache,
        given: Measurer | None,
        results: Results | None = None,
        trainer: Trainer | None = None,
    ) -> None:
        """Agreement and drop are against the `given` network's measurer; None: this is the given network.

        Fitted codecs and outcomes are looked up in `results` and kept there. Outcomes that code or files of the user's
        judge are not: what that code imports is not known, so its hash would not say when it changes. The `trainer`
        trains codecs (`planner.measuring.trained.codec_trainings`).
        """
        split, spec, task = network.variant.split, network.variant.spec, problem.metric.task
        fits = outcomes = None
        by_content = not code_of_task(task)
        if results is not None:
            calibration_sha256 = split.calibration.sha256()
            seed = problem.config.search.seed
            fits = KeptFits(results=results, input_block=spec, data_sha256=calibration_sha256, seed=seed)
        if results is not None and by_content:
            outcomes = KeptOutcomes(
                results=results,
                model_sha256=network.graph.sha256,
                reference_sha256=problem.graph.sha256,
                input_block=spec,
                data_sha256=split.search.sha256(),
                subset="search",
                task=task,
                against=problem.metric.against,
            )
        self.distance_key = content_key("distance", task=task) if by_content else None  # of `evaluator.distance`
        self.network, self.host, self._metric = network, host, problem.metric
        self.trainings = codec_trainings(problem, trainer, network.variant)
        self.runs = NetworkRuns(
            network.graph,
            {"calibration": NetworkInputs(split.calibration), "search": NetworkInputs(split.search)},
            threads=problem.threads,
            seed=problem.config.search.seed,
            labels=split.calibration.labels,
            name=network.name,
            cache=cache,
            kept=fits,
            training=None if self.trainings is None else self.trainings.get,
            channel=symbol_channel(problem.link),
            trained_snr_db=problem.trained_snr_db,
        )
        self.evaluator: Evaluator = Evaluator(
            self.runs,
            split.search,
            problem.metric,
            network.cut,
            [tensor.name for tensor in problem.graph.outputs],
            reference=None if given is None else given.evaluator.whole,
            shown=problem.needs.confident,
            kept=outcomes,
            blocks=make_blocks([sample.group for sample in split.search.samples], seed=problem.config.search.seed),
        )
        times = host_times(network, threads=problem.threads)
        self.pricer = Pricer(problem, network, host=host, work_of=self._work_of, times=times)

    def __enter__(self) -> Measurer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.runs.close()

    def evaluate(self, candidate: Candidate, blocks: int | None = None) -> Evaluated | None:
        """Quality and cost of one candidate; None when its codec cannot be fitted to this cut.

        It is measured on the first `blocks` blocks of the search set; None: on all of it. What it loses is estimated
        from its own outcomes, smooth ones too: the counts of few inputs say little to a sampler or a race.
        """
        measured = self.evaluator.measure(candidate, blocks)
        if measured is None:
            return None
        cut = self.network.cut(candidate.cut) if candidate.placement == "split" else None
        point = Evaluated(
            candidate=candidate,
            cost=self.pricer.price(candidate, measured.accuracy.payload_bytes),
            accuracy=measured.accuracy,
            label=measured.label,
            outcomes=measured.outcomes,
            layer=None if cut is None else cut.layer if cut.head else "",
            head_share=float(candidate.placement == "device") if cut is None else cut.head_share,
        )
        return with_estimates([point], self._metric)[0]

    def reprice(self, point: Evaluated) -> Evaluated:
        """`point` with its cost as it is known by now."""
        return msgspec.structs.replace(point, cost=self.pricer.price(point.candidate, point.cost.payload_bytes))

    def fitted(self, candidate: Candidate) -> tuple[FittedCodec, ...]:
        """The codecs of a split candidate, one a crossing tensor."""
        return self.runs.fit(self.network.cut(candidate.cut), candidate.codec, candidate.rate)

    def quant_tables(self, candidate: Candidate) -> QuantTables | None:
        """The tables of a candidate that sends the picture, where they are fitted; None for every other candidate."""
        if candidate.placement != "server":
            return None
        codec = self.runs.picture_codec(candidate.codec, self.network.variant.spec)
        return codec.tables

    def _work_of(self, candidate: Candidate) -> CodingWork:
        """What the candidate's codec asks of both sides: kept, since fitted codecs are large to read."""

        def compute() -> CodingWork:
            fitted = self.fitted(candidate)
            return work_of(fitted, table_bytes=len(save_coders([codec.coder for codec in fitted])))

        kept = self.runs.kept
        if kept is None:
            return compute()
        cut = self.network.cut(candidate.cut)
        key = content_key("coding work", fitted=self.runs.fitted_key(cut, candidate.codec, candidate.rate))
        work: CodingWork
        work, _ = kept.results.get("coding-work", key, compute, encode=msgspec.msgpack.encode, decode=_decode_work)
        return work


def _decode_work(content: bytes) -> CodingWork:
    found: CodingWork = msgspec.msgpack.decode(content, type=CodingWork)
    return found


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Measurers:
    """The measurers of all networks: each candidate goes to that of its own."""

    by_variant: Mapping[str, Measurer]

    @property
    def blocks(self) -> Blocks:
        """Of the search set, which holds the same inputs for every network."""
        return next(iter(self.by_variant.values())).evaluator.blocks

    def measure(self, candidate: Candidate, blocks: int) -> Evaluated | None:
        """The candidate on the first `blocks` blocks; None when it cannot be fitted."""
        return self.by_variant[candidate.variant].evaluate(candidate, blocks)

    def payload(self, candidate: Candidate) -> float:
        """Mean bytes of its payloads over the whole search set; raises `FitError`."""
        return float(np.mean(self.by_variant[candidate.variant].evaluator.sizes(candidate)))

    def price(self, candidate: Candidate, payload_bytes: float) -> Cost:
        """Its cost with this mean payload; raises `FitError`."""
        return self.by_variant[candidate.variant].pricer.price(candidate, payload_bytes)
