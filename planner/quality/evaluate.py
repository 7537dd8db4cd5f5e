"""Quality of candidates through real payload bytes and the real tail; each reconstruction of an input runs once."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from splitpoint.codecs.container import Frame
from splitpoint.codecs.contract.protocol import Array, FitError
from splitpoint.codecs.pictures.picture import PICTURES
from splitpoint.codecs.registry import CODEC_IDS, REGISTRY
from splitpoint.planner.coding.runs import PLACEHOLDER_HASH, Coded, NetworkRuns
from splitpoint.planner.quality.accuracy import judge
from splitpoint.planner.quality.kept import KeptOutcomes
from splitpoint.planner.quality.metrics.protocol import Metric
from splitpoint.planner.quality.observe import observe, relative_error
from splitpoint.planner.samples.blocks import Blocks, one_block
from splitpoint.planner.samples.dataset import Dataset, Sample
from splitpoint.planner.values.candidate import Candidate, Evaluated, Measured
from splitpoint.planner.values.cut import Cut
from splitpoint.planner.values.outcomes import InputOutcome, Outcomes
from splitpoint.profiles.network.inputs import preprocess

__all__ = ["Evaluator"]


def __dir__() -> list[str]:
    return __all__


UNSEEN = 0.01  # weight of an error of the outputs that the metric's own scale does not show: it orders equal ones
BOX_BYTES = 80  # of a box that is matched, about
OUTCOME_BYTES = 500  # about what one input's outcome takes in memory

Reference = Callable[[int], list[Array]]  # index of an input -> outputs of the unsplit, given network


class Evaluator:
    """Measures candidates of one network on one set of inputs; keeps outcomes, never output tensors."""

    def __init__(
        self,
        runs: NetworkRuns,
        dataset: Dataset,
        metric: Metric,
        cut_of: Callable[[str], Cut],
        output_names: Sequence[str],
        *,
        subset: Literal["search", "report"] = "search",
        reference: Reference | None = None,
        shown: bool = False,
        kept: KeptOutcomes | None = None,
        blocks: Blocks | None = None,
    ) -> None:
        """`cut_of` gives the cut of a name that a candidate has.

        `output_names` are those of the given network, which the metric knows; another network's outputs are the same
        by position. `reference` gives the outputs of the given network for the same inputs; None: this is that one.
        `shown`: every figure needs its interval (`planner.quality.accuracy.judge`). Outcomes are looked up in `kept`
        and kept there. They are measured in `blocks`; None: all inputs at once.
        """
        self.blocks = blocks or one_block(len(dataset))
        self._runs, self._dataset, self._cut_of = runs, dataset, cut_of
        self._given_metric, self._names = metric, tuple(output_names)
        self._shown, self._kept = shown, kept
        self._subset: Literal["search", "report"] = subset
        self._reference = reference or self.whole
        self.tail_runs = 0  # inputs that went through a tail
        self.tail_reused = 0  # inputs whose reconstruction had run before
        self._measured: set[Candidate] = set()  # by this run
        self.recalled: set[Candidate] = set()  # whose outcomes were kept by an earlier run

    def measure(self, candidate: Candidate, blocks: int | None = None) -> Measured | None:
        """The candidate measured on the first `blocks` blocks; None: on all. None when it cannot be fitted."""
        try:
            outcomes = self._outcomes(candidate, len(self.blocks.ends) if blocks is None else blocks)
        except FitError:
            return None
        accuracy = judge(outcomes, self._metric, output_names=self._names, shown=self._shown)
        return Measured(candidate=candidate, label=_label(candidate), outcomes=outcomes, accuracy=accuracy)

    def sizes(self, candidate: Candidate) -> tuple[int, ...]:
        """Bytes of the payload of every input of the set, (N,); raises `FitError`. Nothing is decoded."""
        if self._kept is None:
            return self._encode(candidate)
        return self._kept.sizes(self._runs, self._cut_of, candidate, lambda: self._encode(candidate))

    def _outcomes(self, candidate: Candidate, blocks: int) -> Outcomes:
        """What becomes of the inputs of the first `blocks` blocks; raises `FitError`."""
        parts: list[tuple[Outcomes, bool]] = []
        for number in range(blocks):
            inputs = self.blocks.block(number)
            run = functools.partial(self._run, candidate, inputs)
            parts.append(
                (run(), False)
                if self._kept is None
                else self._kept.get(self._runs, self._cut_of, candidate, inputs, run)
            )
        if all(recalled for _, recalled in parts) and candidate not in self._measured:
            self.recalled.add(candidate)
        return _join([outcomes for outcomes, _ in parts], total=len(self._dataset))

    def _run(self, candidate: Candidate, inputs: Sequence[int]) -> Outcomes:
        """What becomes of these inputs; raises `FitError`."""
        self._measured.add(candidate)
        self.recalled.discard(candidate)
        if candidate.placement == "device":
            rows = self._runs.map(lambda i: self._observe(i, self.whole(i)), inputs)
            sizes = [0] * len(rows)
        elif candidate.placement == "server":
            rows, sizes = self._pictures(candidate, inputs)
        else:
            rows, sizes = self._split(candidate, inputs)
        return Outcomes(subset=self._subset, indices=tuple(inputs), inputs=tuple(rows), payload_bytes=tuple(sizes))

    def _encode(self, candidate: Candidate) -> tuple[int, ...]:
        runs, cut = self._runs, self._cut_of(candidate.cut)
        fitted = runs.fit(cut, candidate.codec, candidate.rate)
        rows = range(len(self._dataset))
        sizes = runs.map(lambda i: len(runs.encode(cut, fitted, runs.activation(cut, self._subset, i))), rows)
        return tuple(sizes)

    def show(self, point: Evaluated) -> Evaluated:
        """`point` with its other figures as they are shown (`planner.quality.metrics.protocol.Metric.report`)."""
        if point.outcomes is None:  # read back from a file, with the figures as they were shown
            return point
        figures = self._metric.report(point.outcomes.inputs)
        return msgspec.structs.replace(point, accuracy=msgspec.structs.replace(point.accuracy, also=figures))

    @functools.cached_property
    def _metric(self) -> Metric:
        """The metric, prepared with the truths of this set."""
        given = self._given_metric
        answers = (given.answer(self._named(self._reference(index))) for index in range(len(self._dataset)))
        return given.prepare(given.truth_of(s, y) for s, y in zip(self._dataset.samples, answers, strict=True))

    def distance(self, outputs: Sequence[Array], exact: Sequence[Array]) -> float:
        """How far outputs are from `exact`, which the table ranks by: the metric's own scale where it has one."""
        error, metric = relative_error(outputs, exact), self._given_metric
        answer = metric.answer(self._named(exact))
        distance = None if answer is None else metric.distance(metric.answer(self._named(outputs)), answer)
        return error if distance is None else max(distance, UNSEEN * error)

    def whole(self, index: int) -> list[Array]:
        """Outputs of this network, unsplit, for the input number `index`."""
        return self._runs.cache.get(
            ("whole", self._runs.name, self._subset, index),
            lambda: self._runs.whole(self._runs.input(self._subset, index)),
            lambda outputs: sum(y.nbytes for y in outputs),
        )

    def _observe(self, index: int, outputs: Sequence[Array]) -> InputOutcome:
        reference = self._named(self._reference(index))
        return observe(self._metric, self._named(outputs), reference, self._dataset.samples[index])

    def _named(self, outputs: Sequence[Array]) -> dict[str, Array]:
        return dict(zip(self._names, outputs, strict=True))

    def _split(self, candidate: Candidate, inputs: Sequence[int]) -> tuple[list[InputOutcome], list[int]]:
        runs, cut = self._runs, self._cut_of(candidate.cut)
        fitted = runs.fit(cut, candidate.codec, candidate.rate)

        def send(index: int) -> tuple[InputOutcome, int, bool]:
            row = runs.activation(cut, self._subset, index)
            coded: Coded = runs.decode(cut, fitted, runs.encode(cut, fitted, row), draw=index)
            key = ("outcome", runs.name, self._subset, cut.tensors, index, coded.key)
            seen = key in runs.cache
            outcome = runs.cache.get(key, lambda: self._observe(index, runs.tail(cut, coded.tensors)), _outcome_bytes)
            return outcome, len(coded.payload), seen

        sent = runs.map(send, inputs)
        reused = sum(seen for _, _, seen in sent)
        self.tail_runs += len(sent) - reused
        self.tail_reused += reused
        return [outcome for outcome, _, _ in sent], [size for _, size, _ in sent]

    def _pictures(self, candidate: Candidate, inputs: Sequence[int]) -> tuple[list[InputOutcome], list[int]]:
        spec = self._dataset.spec
        codec = self._runs.picture_codec(candidate.codec, spec)
        frame = Frame(codec_id=CODEC_IDS[candidate.codec], rates=(candidate.rate,), plan_hash=PLACEHOLDER_HASH)

        def send(index: int) -> tuple[InputOutcome, int]:
            sample: Sample = self._dataset.samples[index]
            if sample.picture is None:
                raise ValueError(f"{sample.name}: {candidate.codec} needs pictures, the input is a tensor")
            part = codec.encode(sample.picture, candidate.rate)
            payload = frame.pack([part], candidate.rate)
            _, (received,) = frame.unpack(payload)
            picture = codec.decode(received, spec.height_width, channels=spec.channels)
            outputs = self._runs.whole(preprocess(picture, spec))
            return self._observe(index, outputs), len(payload)

        sent = self._runs.map(send, inputs)
        self.tail_runs += len(sent)
        return [outcome for outcome, _ in sent], [size for _, size in sent]


def _join(parts: Sequence[Outcomes], *, total: int) -> Outcomes:
    """Disjoint parts of a set of `total` inputs as one, in the order of the set."""
    rows = [row for part in parts for row in zip(part.indices or (), part.inputs, part.payload_bytes, strict=True)]
    rows.sort(key=lambda row: row[0])
    return Outcomes(
        subset=parts[0].subset,
        indices=None if len(rows) == total else tuple(index for index, _, _ in rows),
        inputs=tuple(row for _, row, _ in rows),
        payload_bytes=tuple(size for _, _, size in rows),
    )


def _label(candidate: Candidate) -> str:
    """What tables print of the candidate's rate."""
    if candidate.placement == "device":
        return "-"
    codec = PICTURES[candidate.codec] if candidate.placement == "server" else REGISTRY[candidate.codec]
    return codec.rates[candidate.rate].label


def _outcome_bytes(outcome: InputOutcome) -> int:
    matches = (outcome.matches, outcome.unsplit_matches)
    return OUTCOME_BYTES + BOX_BYTES * sum(len(m.scores) for m in matches if m is not None)
