"""Accuracy of a candidate through the real codec and the real tail, each distinct reconstruction run only once."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from splitpoint.codecs.container import pack, unpack
from splitpoint.codecs.contract.protocol import Array, FitError
from splitpoint.codecs.pictures.picture import PICTURES
from splitpoint.codecs.registry import CODEC_IDS, REGISTRY
from splitpoint.planner.coding.bench import PLACEHOLDER_HASH, Workbench
from splitpoint.planner.deploy.accuracy import Accuracy, Metric
from splitpoint.planner.deploy.cost import Cost
from splitpoint.planner.quality.accuracy import Observed, judge
from splitpoint.planner.samples.dataset import Dataset, Sample
from splitpoint.planner.values.candidate import Candidate, Evaluated
from splitpoint.planner.values.cut import Cut
from splitpoint.profiles.network.inputs import preprocess

__all__ = ["Evaluator"]


def __dir__() -> list[str]:
    return __all__


Price = Callable[[Candidate, float], Cost]


class Evaluator:
    """Measures candidates on the search set; `price` turns a mean payload into a cost."""

    def __init__(
        self,
        bench: Workbench,
        dataset: Dataset,
        metric: Metric,
        cuts: Mapping[str, Cut],
        price: Price,
        *,
        reference: Callable[[], list[list[Array]]] | None = None,
    ) -> None:
        """`cuts` maps the names that candidates use to cuts.

        `reference` gives the outputs of the given network on the same inputs; None: this is the given network.
        """
        self._bench = bench
        self._dataset = dataset
        self._metric = metric
        self._cuts = cuts
        self._price = price
        self._elsewhere = reference
        self._whole: list[list[Array]] | None = None
        self._tails: dict[tuple[str, bytes], list[Array]] = {}
        self.runs = 0  # inputs that went through a tail
        self.reused = 0  # inputs whose reconstruction had been seen

    def evaluate(self, candidate: Candidate) -> Evaluated | None:
        """Measure one candidate; None when its codec cannot be fitted to this cut."""
        if candidate.placement == "device":
            outputs, sizes = self.whole, [0] * len(self._dataset)
            label = "-"
        elif candidate.placement == "server":
            outputs, sizes = self._pictures(candidate)
            label = PICTURES[candidate.codec].rates[candidate.rate].label
        else:
            try:
                outputs, sizes = self._split(candidate)
            except FitError:
                return None
            label = REGISTRY[candidate.codec].rates[candidate.rate].label
        observed = [
            Observed(outputs=y, reference=y0, label=sample.label, group=sample.group, payload_bytes=size)
            for y, y0, size, sample in zip(outputs, self.reference, sizes, self._dataset.samples, strict=True)
        ]
        accuracy: Accuracy = judge(observed, self._metric, "search")
        return Evaluated(
            candidate=candidate, cost=self._price(candidate, accuracy.payload_bytes), accuracy=accuracy, label=label
        )

    @property
    def reference(self) -> list[list[Array]]:
        """Outputs of the given, unsplit network on every input: what agreement and drop are against."""
        return self.whole if self._elsewhere is None else self._elsewhere()

    @property
    def whole(self) -> list[list[Array]]:
        """Outputs of this network, unsplit, on every input."""
        if self._whole is None:
            self._whole = self._bench.map(self._bench.whole, self._bench.inputs("search"))
        return self._whole

    def _split(self, candidate: Candidate) -> tuple[list[list[Array]], list[int]]:
        bench, cut = self._bench, self._cuts[candidate.cut]
        fitted = bench.fit(cut, candidate.codec, candidate.rate)
        coded = bench.map(
            lambda row: bench.decode(cut, fitted, bench.encode(cut, fitted, row)), bench.activations(cut, "search")
        )
        new = {c.key: c for c in coded if (candidate.cut, c.key) not in self._tails}
        outputs = bench.map(lambda c: bench.tail(cut, c.tensors), new.values())
        self._tails |= {(candidate.cut, key): y for key, y in zip(new, outputs, strict=True)}
        self.runs += len(new)
        self.reused += len(coded) - len(new)
        return [self._tails[candidate.cut, c.key] for c in coded], [len(c.payload) for c in coded]

    def _pictures(self, candidate: Candidate) -> tuple[list[list[Array]], list[int]]:
        codec, spec = PICTURES[candidate.codec], self._dataset.spec
        identifier = CODEC_IDS[candidate.codec]

        def send(sample: Sample) -> tuple[list[Array], int]:
            if sample.picture is None:
                raise ValueError(f"{sample.name}: {candidate.codec} needs pictures, the input is a tensor")
            part = codec.encode(sample.picture, candidate.rate)
            payload = pack([part], codec_id=identifier, rate=candidate.rate, plan_hash=PLACEHOLDER_HASH)
            (received,) = unpack(payload, codec_id=identifier, rate=candidate.rate, plan_hash=PLACEHOLDER_HASH, count=1)
            return self._bench.whole(preprocess(codec.decode(received, spec.height_width), spec)), len(payload)

        sent = self._bench.map(send, self._dataset.samples)
        self.runs += len(sent)
        return [outputs for outputs, _ in sent], [size for _, size in sent]
