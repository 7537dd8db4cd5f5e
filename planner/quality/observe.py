"""The outcome of one input: a candidate's output tensors compared with those of the unsplit network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from splitpoint.codecs.contract.protocol import Array
from splitpoint.planner.values.outcomes import InputOutcome

__all__ = ["observe", "relative_error"]


def __dir__() -> list[str]:
    return __all__


def observe(outputs: Sequence[Array], reference: Sequence[Array], *, label: int | None, group: str) -> InputOutcome:
    """The outcome of one input: a candidate's outputs compared with the unsplit network's; the first is the answer.

    An output that is not finite is no answer: it is neither right nor the same.
    """
    answer, expected = np.asarray(outputs[0]), np.asarray(reference[0])
    finite = bool(np.isfinite(answer).all())
    top, reference_top = int(np.argmax(answer)), int(np.argmax(expected))
    margin_change: float | None = None
    divergence: float | None = None
    if finite and expected.ndim == 2 and expected.shape[0] == 1 and expected.shape[1] > 1:
        scores, exact = (np.asarray(y, np.float64).ravel() for y in (answer, expected))
        margin_change = _margin(scores, reference_top) - _margin(exact, reference_top)
        divergence = _divergence(exact, scores)
    return InputOutcome(
        right=None if label is None else finite and top == label,
        reference_right=None if label is None else reference_top == label,
        same=finite and top == reference_top,
        margin_change=margin_change,
        divergence=divergence,
        relative_error=relative_error(outputs, reference),
        group=group,
    )


def relative_error(outputs: Iterable[Array], exact: Iterable[Array]) -> float:
    """||y - y0|| / ||y0|| over all outputs; 0 for equal outputs, infinity where y is not finite."""
    pairs = [(np.asarray(y, np.float64), np.asarray(y0, np.float64)) for y, y0 in zip(outputs, exact, strict=True)]
    error = sum(float(((y - y0) ** 2).sum()) for y, y0 in pairs)
    power = sum(float((y0**2).sum()) for _, y0 in pairs)
    if not np.isfinite(error):
        return float("inf")
    return 0.0 if error == 0 else float(np.sqrt(error / power)) if power else float("inf")


def _margin(scores: Array, answer: int) -> float:
    """Score of `answer` minus the best other score."""
    others = np.delete(scores, answer)
    return float(scores[answer] - others.max())


def _divergence(exact: Array, scores: Array) -> float:
    """KL(p || q) of softmax(exact) and softmax(scores) in nat, never below 0."""
    logs = [x - x.max() - np.log(np.exp(x - x.max()).sum()) for x in (exact, scores)]
    return max(0.0, float((np.exp(logs[0]) * (logs[0] - logs[1])).sum()))
