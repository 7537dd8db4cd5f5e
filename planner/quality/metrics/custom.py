"""A metric of the user's own: a function of outputs and truth, whose sum is relative to the unsplit network's."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from splitpoint.codecs.contract.protocol import Array
from splitpoint.planner.deploy.schema import IOTensor
from splitpoint.planner.deploy.task import MetricUse, Task
from splitpoint.planner.quality.metrics.base import Common, chosen_outputs
from splitpoint.planner.quality.metrics.protocol import Answer, Floats
from splitpoint.planner.samples.dataset import Sample
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.files.user_code import call_user_code, import_named

__all__ = ["Custom", "check_unchanged", "make_custom"]


def __dir__() -> list[str]:
    return __all__


@dataclasses.dataclass(frozen=True, kw_only=True)
class Custom(Common):
    """The function's sum over the inputs, divided by its sum for the unsplit network's outputs, within 0..1.

    An answer is the outputs by name. A truth is what the function is given as truth (the label, or the unsplit
    network's outputs) and the function's value for the unsplit network's outputs.
    """

    function: Callable[[Any, Any], Any]
    sha256: str  # of its file

    @property
    def use(self) -> MetricUse:
        """The function's name and the first line of its docstring."""
        _, _, name = self.task.metric.rpartition(":")
        lines = (self.function.__doc__ or "").strip().splitlines()
        first = lines[0].strip().rstrip(".") if lines else f"{name}(outputs, truth)"
        return MetricUse(
            name=name,
            unit="share of the unsplit network's",
            definition=f"{first}; its mean over the inputs, divided by that of the unsplit network, at most 1; truth:"
            f" {self.compared_with('labels')}",
            against=self.against,
            sha256=self.sha256,
        )

    def answer(self, outputs: Mapping[str, Array]) -> Answer | None:
        """The outputs as they are; the function judges NaN itself."""
        return {name: np.asarray(outputs[name]) for name in self.reads}

    def label(self, sample: Sample) -> Answer:
        """The label: a class, or an array."""
        return sample.label if sample.truth is None else sample.truth

    def truth_of(self, sample: Sample, answer: Answer) -> Answer:
        """What the function is given, and its value for the unsplit network."""
        truth = self.label(sample) if self.against == "labels" else answer
        return truth, self._score(answer, truth)

    def prepare(self, truths: Iterable[Answer]) -> Custom:
        """This metric; raises `ProfileError` unless the unsplit network's mean is above 0."""
        mean = float(np.mean([score for _, score in truths]))
        if mean <= 0:
            raise ProfileError(
                f"the mean of your metric for the unsplit network is {mean:.4g}, expected a number above 0",
                at=self.task.metric,
                fix="larger is better and 0 is worthless: return 1 / (1 + error), or a share of what is right",
            )
        return self

    def compare(self, answer: Answer | None, truth: Answer) -> tuple[float, ...]:
        """The function's value, and its value for the unsplit network."""
        known, whole = truth
        return self._score(answer, known), whole

    def value(self, sums: Floats) -> Floats:
        """The ratio, 0 where the unsplit network's sum is none."""
        own, whole = sums[..., 0], sums[..., 1]
        return np.asarray(np.clip(np.divide(own, whole, out=np.zeros_like(own), where=whole > 0), 0, 1))

    def _score(self, outputs: Answer, truth: Answer) -> float:
        result = call_user_code(lambda: self.function(outputs, truth), at=self.task.metric, doing="calling your metric")
        try:
            score = float(result)
        except (TypeError, ValueError):
            kind = type(result).__name__
            raise ProfileError(
                f"your metric returned {kind} {str(result)[:60]!r}, expected a number", at=self.task.metric
            ) from None
        if not math.isfinite(score):
            raise ProfileError(f"your metric returned {score}, expected a finite number", at=self.task.metric)
        return score


def make_custom(task: Task, outputs: Sequence[IOTensor], against: Literal["labels", "unsplit"]) -> Custom:
    """The metric of "file.py:function" or "package.module:function"; raises `ProfileError`."""
    function = import_named(task.metric)
    if not callable(function):
        raise ProfileError(f"expected a function, got {type(function).__name__}", at=task.metric)
    place, _, name = task.metric.rpartition(":")
    file = _source_file(place)
    settled = msgspec.structs.replace(task, metric=f"{file.resolve()}:{name}" if place.endswith(".py") else task.metric)
    return Custom(
        task=settled,
        against=against,
        reads=chosen_outputs(task, [tensor.name for tensor in outputs]),
        function=function,
        sha256=_sha256(file),
    )


def check_unchanged(task: Task, use: MetricUse) -> None:
    """Raise `ProfileError` unless the file of a metric of the user's own is there and has its hash."""
    if task.name != "custom":
        return
    place, _, _ = task.metric.rpartition(":")
    try:
        got = _sha256(_source_file(place))
    except OSError as error:
        raise ProfileError(f"the metric's file cannot be read: {error.strerror}", at=task.metric) from error
    if got != use.sha256:
        raise ProfileError(
            f"the metric's file is not the one this plan was made with: expected SHA-256 {use.sha256[:12]}…, got"
            f" {got[:12]}…",
            at=task.metric,
            fix="put that file back, or plan again",
        )


def _source_file(place: str) -> Path:
    """The file of "file.py" or "package.module"."""
    if place.endswith(".py"):
        return Path(place)
    try:
        spec = importlib.util.find_spec(place)
    except ImportError:
        spec = None
    if spec is None or spec.origin is None:
        raise ProfileError(f"no source file of module {place!r}", at=place)
    return Path(spec.origin)


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
