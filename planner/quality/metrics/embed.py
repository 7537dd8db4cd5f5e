"""A vector that is compared with other vectors: nearest neighbours, and the cosine similarity of each vector."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from splitpoint.codecs.contract.protocol import Array
from splitpoint.planner.deploy.accuracy import Figure
from splitpoint.planner.deploy.requirements import Bound
from splitpoint.planner.deploy.schema import IOTensor
from splitpoint.planner.deploy.task import MetricUse, Task
from splitpoint.planner.limits.limits import COSINE
from splitpoint.planner.quality.intervals import cluster_mean
from splitpoint.planner.quality.metrics.base import Common, only_output
from splitpoint.planner.quality.metrics.protocol import Answer, Floats
from splitpoint.planner.samples.dataset import Sample
from splitpoint.planner.values.outcomes import InputOutcome
from splitpoint.profiles.errors import ProfileError

__all__ = ["Embed", "make_embed"]


def __dir__() -> list[str]:
    return __all__


LEAST_COSINE = 0.90  # default floor
SAME = 1e-9  # 1 - cosine of two vectors that are the same up to rounding in float32
SPREAD = 1e-5  # of vectors that differ, relative to their length; float32 rounds at 6e-8


@dataclasses.dataclass(frozen=True, kw_only=True)
class Embed(Common):
    """Recall@1 by cosine similarity, in the gallery of the unsplit network's vectors of the set.

    Without labels a truth is the unsplit network's vector of the same input, which must be the nearest. With labels it
    is that vector and the class: the nearest vector of the *other* inputs must have the class. A constant answer has
    one nearest vector, so it is right for one input of N, or for one class.

    Retrieval compares vectors as they are, as an application does: a component that all vectors share does not change
    which one is nearest. It would hide differences in the cosine similarity, which is therefore of vectors minus the
    mean of the gallery.
    """

    size: int
    gallery: Array | None = None  # (N, D) of length 1; from `prepare`
    classes: Array | None = None  # (N,) their labels; None without labels
    mean: Array | None = None  # (D,) of the vectors as they are

    statistic: Literal["proportion", "mean", "ratio"] = dataclasses.field(default="proportion", init=False)

    @property
    def use(self) -> MetricUse:
        """Recall@1, and what is right."""
        right = (
            "is of the same class (the gallery without the input itself)" if self.against == "labels" else "is its own"
        )
        return MetricUse(
            name="recall@1",
            unit="share of inputs",
            definition="share of inputs whose nearest vector (by cosine similarity) among the unsplit network's vectors"
            f" of the set {right}; cosine: mean cosine similarity with the unsplit network's vector, both minus the"
            " mean vector of the set",
            against=self.against,
        )

    @property
    def figures(self) -> tuple[str, ...]:
        """The cosine similarity may have a bound."""
        return (COSINE,)

    @property
    def floors(self) -> tuple[Bound, ...]:
        """Cosine similarity of at least 0.90: retrieval in a small set is easier than in the application's."""
        return (Bound(limit=COSINE, value=LEAST_COSINE),)

    def answer(self, outputs: Mapping[str, Array]) -> Answer | None:
        """The vector as float64 (D,)."""
        arrays = self.read(outputs)
        return None if arrays is None else np.asarray(arrays[0], np.float64).ravel()

    def label(self, sample: Sample) -> Answer:
        """The class."""
        if sample.label is None:
            raise ProfileError(
                "task embed takes classes as labels",
                at=sample.name,
                fix="a folder for each class, or y (N,) of integers in the .npz;"
                " --min-agreement 0.9 compares with the unsplit network instead",
            )
        return sample.label

    def truth_of(self, sample: Sample, answer: Answer) -> Answer:
        """The unsplit network's vector, and the class or None."""
        return self.known(sample, answer), self.label(sample) if self.against == "labels" else None

    def prepare(self, truths: Iterable[Answer]) -> Embed:
        """With the gallery; raises `ProfileError` when no answer could be told from another."""
        rows = list(truths)
        vectors = np.stack([vector for vector, _ in rows])
        mean = vectors.mean(axis=0)
        lengths = np.linalg.norm(vectors, axis=1)
        if np.linalg.norm(vectors - mean, axis=1).max() <= SPREAD * lengths.max():
            raise ProfileError(
                f"the unsplit network gives the same vector for all {len(rows)} inputs of the set",
                at="$.task",
                fix="check the input block (mean, std, scale) and the data",
            )
        classes = None
        if self.against == "labels":
            classes = np.array([label for _, label in rows])
            if max(Counter(classes.tolist()).values()) < 2 or len(set(classes.tolist())) < 2:
                raise ProfileError(
                    f"the {len(rows)} inputs of the set need two classes, and two inputs of a class", at="$.data"
                )
        return dataclasses.replace(self, gallery=_unit(vectors), classes=classes, mean=mean)

    def compare(self, answer: Answer | None, truth: Answer) -> tuple[float, ...]:
        """Whether the nearest vector is right, and the cosine similarity."""
        assert self.gallery is not None  # `prepare` came first
        vector, label = truth
        if answer is None or not answer.any() or not vector.any():  # a vector of length 0 is near to nothing
            return 0.0, 0.0
        cosine = float(_unit(answer - self.mean) @ _unit(vector - self.mean))
        likeness = self.gallery @ _unit(answer)
        own = self.gallery @ _unit(vector) >= 1 - SAME  # itself, and inputs with the same vector
        if label is None:
            return float(not own.all() and likeness[own].max() > likeness[~own].max()), cosine
        assert self.classes is not None
        likeness[int(own.argmax())] = -np.inf
        return float(self.classes[int(likeness.argmax())] == label), cosine

    def also(self, inputs: Sequence[InputOutcome]) -> tuple[Figure, ...]:
        """The mean cosine similarity."""
        values = np.array([row.counts[1] for row in inputs])
        whole = float(np.mean([row.unsplit_counts[1] for row in inputs]))
        low, high = cluster_mean(values, [row.group for row in inputs], within=(-1.0, 1.0))
        value = float(values.mean())
        return (Figure(name=COSINE, value=value, drop=whole - value, low=low, high=high),)

    def value(self, sums: Floats) -> Floats:
        """The share of right neighbours."""
        return np.asarray(sums[..., 0] / sums[..., -1])


def make_embed(task: Task, outputs: Sequence[IOTensor], against: Literal["labels", "unsplit"]) -> Embed:
    """The metric of an output with one vector; raises `ProfileError`."""
    reads = only_output(task, [tensor.name for tensor in outputs])
    shape = next(tensor.shape for tensor in outputs if tensor.name == reads[0])
    size = int(np.prod(shape))
    if size < 2 or max(shape) != size:
        raise ProfileError(
            f"task embed reads one vector, such as [1, 512]; {reads[0]!r} is {list(shape)}",
            at="$.task",
            fix="name another output with --output, or --task tensor",
        )
    return Embed(task=task, against=against, reads=reads, size=size)


def _unit(vectors: Any) -> Any:
    """Vectors (..., D) divided by their lengths; a vector of length 0 stays 0."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)
