"""A text or a list of tokens: the edit distance, relative to the length of the truth."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from splitpoint.codecs.contract.protocol import Array
from splitpoint.planner.deploy.accuracy import Figure
from splitpoint.planner.deploy.schema import IOTensor
from splitpoint.planner.deploy.task import MetricUse, Task
from splitpoint.planner.quality.intervals import proportion
from splitpoint.planner.quality.metrics.base import Common, only_output
from splitpoint.planner.quality.metrics.protocol import Answer, Floats
from splitpoint.planner.samples.dataset import Sample
from splitpoint.planner.values.outcomes import InputOutcome
from splitpoint.profiles.errors import ProfileError

__all__ = ["TokenSequence", "edit_distance", "make_sequence", "settle_sequence"]


def __dir__() -> list[str]:
    return __all__


DECODERS = {
    "ctc": "the highest score of each position, repeats merged, blanks removed",
    "scores": "the highest score of each position",
    "ids": "the output's integers",
}
PADDING = -1  # in labels and in integer outputs, at the end
SUM_TOLERANCE = 1e-3  # of probabilities in float32 or float16
Tokens = NDArray[np.int64]  # (L,)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenSequence(Common):
    """1 - (edits that turn the answers into the truths) / (tokens of the truths), summed over the inputs."""

    classes: int  # that have scores; 0: the output has the tokens themselves
    blank: int | None = None  # ctc: its index

    @property
    def use(self) -> MetricUse:
        """One minus the error rate."""
        pad = "" if self.task.pad is None else f", without {self.task.pad} at the end"
        pad += "" if self.blank is None else f" ({self.blank})"
        return MetricUse(
            name="1-TER",
            unit="1 - token error rate",
            definition="1 - (tokens inserted, deleted or replaced) / (tokens of the truth), summed over the inputs, not"
            f" below 0; tokens: {DECODERS[self.task.decode]}{pad}; truth: {self.compared_with('labels')}; exact match:"
            " share of inputs without an edit",
            against=self.against,
        )

    def answer(self, outputs: Mapping[str, Array]) -> Answer | None:
        """The tokens."""
        arrays = self.read(outputs)
        if arrays is None:
            return None
        if self.task.decode == "ids":
            return _without_end(arrays[0].ravel().astype(np.int64), self.task.pad)
        tokens = np.asarray(arrays[0].argmax(axis=self.task.axis).ravel(), np.int64)
        if self.task.decode == "scores":
            return _without_end(tokens, self.task.pad)
        merged = tokens[np.append(True, tokens[1:] != tokens[:-1])] if len(tokens) else tokens
        return merged[merged != self.blank]

    def label(self, sample: Sample) -> Answer:
        """The tokens without their padding."""
        given = sample.label if sample.truth is None else sample.truth
        tokens = np.atleast_1d(np.asarray(given))
        if given is None or tokens.ndim != 1 or tokens.dtype.kind not in "iu":
            got = "none" if given is None else f"{tokens.dtype}{list(tokens.shape)}"
            raise ProfileError(
                f"task sequence needs a row of token numbers for each input, got {got}",
                at=sample.name,
                fix="y (N, L) of integers in the .npz, -1 after the end of each row;"
                " --min-agreement 0.9 compares with the unsplit network instead",
            )
        tokens = _without_end(tokens.astype(np.int64), self.task.pad)
        if (tokens < 0).any() or (self.classes and (tokens >= self.classes).any()):
            wrong = int(tokens[(tokens < 0) | (tokens >= (self.classes or np.inf))][0])
            known = f" (0..{self.classes - 1})" if self.classes else ""
            raise ProfileError(f"the label has token {wrong}{known}", at=sample.name, fix="-1 only after the end")
        if self.blank is not None and (tokens == self.blank).any():
            raise ProfileError(
                f"the label has token {self.blank}, which is the blank", at=sample.name, fix="blank: -1 for the last"
            )
        return tokens

    def prepare(self, truths: Iterable[Answer]) -> TokenSequence:
        """This metric; raises `ProfileError` when all truths are empty."""
        if not any(len(truth) for truth in truths):
            whose = "labels" if self.against == "labels" else "unsplit network's answers"
            raise ProfileError(
                f"the {whose} have no tokens for any input of the set",
                at="$.task",
                fix="check --decode and, for ctc, blank: (the index of the blank, -1 for the last)",
            )
        return self

    def compare(self, answer: Answer | None, truth: Answer) -> tuple[float, ...]:
        """Edits, length of the truth, and whether there are no edits; no answer loses all tokens."""
        edits = len(truth) if answer is None else edit_distance(answer, truth)
        return float(edits), float(len(truth)), float(answer is not None and edits == 0)

    def value(self, sums: Floats) -> Floats:
        """1 - edits / length."""
        edits, length = sums[..., 0], sums[..., 1]
        rate = np.divide(edits, length, out=np.where(edits > 0, 1.0, 0.0), where=length > 0)
        return np.asarray(np.clip(1 - rate, 0, 1))

    def also(self, inputs: Sequence[InputOutcome]) -> tuple[Figure, ...]:
        """The share of exact matches."""
        hits, whole = (np.array([getattr(row, name)[2] > 0 for row in inputs]) for name in ("counts", "unsplit_counts"))
        low, high = proportion(hits, [row.group for row in inputs])
        value = float(hits.mean())
        return (Figure(name="exact match", value=value, drop=float(whole.mean()) - value, low=low, high=high),)


def edit_distance(first: Tokens, second: Tokens) -> int:
    """Least number of insertions, deletions and replacements (Levenshtein), a row of the table at a time.

    Within a row a cell may also come from its left neighbour plus 1; with the column's number subtracted that is a
    running minimum, so 500 by 500 tokens take 500 steps of numpy.
    """
    columns = np.arange(len(second) + 1)
    row = columns.copy()
    for token in first:
        above = row + 1  # delete `token`
        above[1:] = np.minimum(above[1:], row[:-1] + (second != token))  # replace or keep it
        row = np.minimum.accumulate(above - columns) + columns  # insert
    return int(row[-1])


def settle_sequence(
    task: Task, outputs: Sequence[IOTensor], values: Sequence[Mapping[str, Array]], input_shape: Sequence[int]
) -> Task:
    """The task with its decoder where outputs are integers, the axis of the classes, the blank, and the padding token.

    CTC's blank is the first or the last class, whichever is more often the highest. Classes are on the last axis,
    unless probabilities (or their logarithms) add up along another one. Padding is the token that ends every sequence,
    in some of them more than once: counted as text it would be right in any answer.
    """
    (name,) = only_output(task, [tensor.name for tensor in outputs])
    tensor = next(tensor for tensor in outputs if tensor.name == name)
    if not task.decode and not tensor.dtype.startswith("float"):
        task = msgspec.structs.replace(task, decode="ids")
    make_sequence(task, outputs, "unsplit")  # the output has a shape of the decoder's, or this raises
    arrays = [np.asarray(row[name]) for row in values]
    if task.decode in ("ctc", "scores") and task.axis is None and len(tensor.shape) == 3:
        task = msgspec.structs.replace(task, axis=1 if _normalized(arrays, 1) and not _normalized(arrays, 2) else 2)
    if task.decode == "ctc" and task.blank is None:
        found = np.concatenate([a.argmax(axis=task.axis).ravel() for a in arrays])
        last = tensor.shape[2 if task.axis is None else task.axis] - 1
        task = msgspec.structs.replace(task, blank=last if (found == last).sum() > (found == 0).sum() else 0)
    if task.decode in ("ids", "scores") and task.pad is None:
        metric = make_sequence(task, outputs, "unsplit")
        pad = _padding([metric.answer(row) for row in values])
        task = task if pad is None else msgspec.structs.replace(task, pad=pad)
    return task


def make_sequence(task: Task, outputs: Sequence[IOTensor], against: Literal["labels", "unsplit"]) -> TokenSequence:
    """The metric of scores (1, T, C), (T, 1, C) or (1, C, T), or of token numbers; raises `ProfileError`."""
    reads = only_output(task, [tensor.name for tensor in outputs])
    tensor = next(tensor for tensor in outputs if tensor.name == reads[0])
    shape, floating = tensor.shape, tensor.dtype.startswith("float")
    decode = task.decode or ("" if floating else "ids")
    if decode not in DECODERS:
        listed = "; ".join(f"{key} ({what})" for key, what in DECODERS.items())
        got = f"no decoder {decode!r} of sequences" if decode else "task sequence needs a decoder"
        raise ProfileError(f"{got}: {listed}", at="$.task.decode", fix="--decode ctc, --decode scores or --decode ids")
    if decode == "ids":
        if floating or max(shape, default=1) != int(np.prod(shape)):
            raise ProfileError(
                f"decode: ids reads a row of integers, such as int64[1, 64]; {reads[0]!r} is"
                f" {tensor.dtype}{list(shape)}",
                at="$.task.decode",
                fix="--decode ctc or --decode scores" if floating else "name another output with --output",
            )
        return TokenSequence(task=msgspec.structs.replace(task, decode="ids"), against=against, reads=reads, classes=0)
    axis = 2 if task.axis is None else task.axis
    if not floating or len(shape) != 3 or not (1 <= axis <= 2) or 1 not in (shape[0], shape[3 - axis]):
        raise ProfileError(
            f"decode: {decode} reads scores [1, positions, classes], [positions, 1, classes] or [1, classes, positions]"
            f" (axis: 1); {reads[0]!r} is {tensor.dtype}{list(shape)}",
            at="$.task",
            fix="name another output with --output, or --task tensor",
        )
    classes = shape[axis]
    blank = (task.blank or 0) if decode == "ctc" else None
    if blank is not None and not -classes <= blank < classes:
        raise ProfileError(f"blank {blank} of {classes} classes", at="$.task.blank", fix="-1: the last")
    settled = msgspec.structs.replace(task, axis=axis)
    blank = None if blank is None else blank % classes
    return TokenSequence(task=settled, against=against, reads=reads, classes=classes, blank=blank)


def _without_end(tokens: Tokens, pad: int | None) -> Tokens:
    """Without the padding at the end: negative numbers, and `pad` where there is one."""
    text = np.flatnonzero((tokens >= 0) & (tokens != pad) if pad is not None else tokens >= 0)
    return tokens[: text[-1] + 1] if len(text) else tokens[:0]


def _padding(rows: Sequence[Any]) -> int | None:
    """The token that ends all of `rows`, in one of them at least twice; None without one."""
    ends = {int(row[-1]) for row in rows if len(row)}
    if len(rows) < 2 or len(ends) != 1 or any(not len(row) for row in rows):
        return None
    runs = [len(row) - 1 - int(np.append(-1, np.flatnonzero(row != row[-1]))[-1]) for row in rows]
    return ends.pop() if max(runs) > 1 else None


def _normalized(arrays: Sequence[Array], axis: int) -> bool:
    """Whether all values along `axis` are probabilities, or logarithms of probabilities."""
    for form in (lambda a: a, np.exp):
        sums = [form(np.asarray(a, np.float64).clip(max=50)).sum(axis=axis) for a in arrays]
        if all(np.allclose(s, 1, atol=SUM_TOLERANCE) for s in sums):
            return True
    return False
