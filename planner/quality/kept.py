"""What became of every input under a candidate, kept between runs by everything that it depends on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from splitpoint.planner.coding.runs import NetworkRuns
from splitpoint.planner.deploy.task import Task
from splitpoint.planner.store.results import Results
from splitpoint.planner.values.candidate import Candidate
from splitpoint.planner.values.cut import Cut
from splitpoint.planner.values.keys import content_key, outcomes_key, picture_key
from splitpoint.planner.values.outcomes import Outcomes
from splitpoint.profiles.network.inputs import InputSpec

__all__ = ["KeptOutcomes"]


def __dir__() -> list[str]:
    return __all__


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class KeptOutcomes:
    """Where outcomes are kept, and what they depend on beside the candidate (`planner.values.keys.outcomes_key`)."""

    results: Results
    model_sha256: str
    reference_sha256: str  # of the given network
    input_block: InputSpec
    data_sha256: str
    subset: Literal["search", "report"]
    task: Task
    against: Literal["labels", "unsplit"]

    def get(
        self,
        runs: NetworkRuns,
        cut_of: Callable[[str], Cut],
        candidate: Candidate,
        inputs: Sequence[int],
        run: Callable[[], Outcomes],
    ) -> tuple[Outcomes, bool]:
        """The candidate's outcomes of `inputs`, and whether they were kept; what `run` raises is raised.

        So is a `FitError` of what is coded.
        """
        key = self._key(runs, cut_of, candidate, inputs)
        return self.results.get("outcomes", key, run, encode=msgspec.msgpack.encode, decode=_decode)

    def sizes(
        self, runs: NetworkRuns, cut_of: Callable[[str], Cut], candidate: Candidate, run: Callable[[], tuple[int, ...]]
    ) -> tuple[int, ...]:
        """Bytes of the candidate's payload of every input of the set; what `run` raises is raised."""
        key = content_key("sizes", of=self._key(runs, cut_of, candidate, None))
        sizes: tuple[int, ...]
        sizes, _ = self.results.get("sizes", key, run, encode=msgspec.msgpack.encode, decode=_decode_sizes)
        return sizes

    def _key(
        self, runs: NetworkRuns, cut_of: Callable[[str], Cut], candidate: Candidate, inputs: Sequence[int] | None
    ) -> str:
        coding, rate, runtime = None, None, self.results.runtime
        if candidate.placement == "server":
            rate = candidate.rate
            codec = runs.picture_codec(candidate.codec, self.input_block)
            coding = picture_key(codec=codec, rate=rate, runtime=runtime)
        elif candidate.placement == "split":
            rate = candidate.rate
            coding = runs.fitted_key(cut_of(candidate.cut), candidate.codec, rate)
        return outcomes_key(
            model_sha256=self.model_sha256,
            reference_sha256=self.reference_sha256,
            coding=coding,
            rate=rate,
            input_block=self.input_block,
            data_sha256=self.data_sha256,
            subset=self.subset,
            inputs=inputs,
            task=self.task,
            against=self.against,
            metric_sha256="",  # no code of the user's: `planner.measuring.measurer` sees to it
            runtime=runtime,
        )


def _decode(content: bytes) -> Outcomes:
    return msgspec.msgpack.decode(content, type=Outcomes)


def _decode_sizes(content: bytes) -> tuple[int, ...]:
    return msgspec.msgpack.decode(content, type=tuple[int, ...])
