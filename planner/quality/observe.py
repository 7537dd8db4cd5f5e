"""The outcome of one input: a candidate's output tensors compared with the truth and with the unsplit network's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from splitpoint.codecs.contract.protocol import Array
from splitpoint.planner.quality.metrics.protocol import Metric
from splitpoint.planner.samples.dataset import Sample
from splitpoint.planner.values.outcomes import InputOutcome

__all__ = ["observe", "relative_error"]


def __dir__() -> list[str]:
    return __all__


def observe(
    metric: Metric, outputs: Mapping[str, Array], reference: Mapping[str, Array], sample: Sample
) -> InputOutcome:
    """The outcome of one input: `outputs` of a candidate, `reference` of the unsplit network, both by name."""
    answer, exact = metric.answer(outputs), metric.answer(reference)
    truth = metric.truth_of(sample, exact)
    margin_change, divergence, truth_margin, unsplit_truth_margin = None, None, None, None
    if metric.task.name == "classify" and exact is not None:
        unsplit_truth_margin = _margin(exact, truth, metric.task.top)
        if answer is not None:
            chosen = int(np.argmax(exact))
            margin_change = _margin(answer, chosen) - _margin(exact, chosen)
            divergence = _divergence(exact, answer)
            truth_margin = _margin(answer, truth, metric.task.top)
    return InputOutcome(
        counts=metric.compare(answer, truth),
        unsplit_counts=metric.compare(exact, truth),
        margin_change=margin_change,
        truth_margin=truth_margin,
        unsplit_truth_margin=unsplit_truth_margin,
        divergence=divergence,
        relative_error=relative_error(outputs.values(), [reference[name] for name in outputs]),
        output_errors=tuple(relative_error([y], [reference[name]]) for name, y in outputs.items()),
        group=sample.group,
        matches=metric.match(answer, truth),
        unsplit_matches=metric.match(exact, truth),
    )


def relative_error(outputs: Iterable[Array], exact: Iterable[Array]) -> float:
    """||y - y0|| / ||y0|| over all outputs; 0 for equal outputs, infinity where y is not finite."""
    pairs = [(np.asarray(y, np.float64), np.asarray(y0, np.float64)) for y, y0 in zip(outputs, exact, strict=True)]
    if any(y.shape != y0.shape for y, y0 in pairs):
        return float("inf")  # an output of another size, such as another number of boxes
    error = sum(float(((y - y0) ** 2).sum()) for y, y0 in pairs)
    power = sum(float((y0**2).sum()) for _, y0 in pairs)
    if not np.isfinite(error):
        return float("inf")
    return 0.0 if error == 0 else float(np.sqrt(error / power)) if power else float("inf")


def _margin(scores: Array, answer: int, top: int = 1) -> float:
    """Score of `answer` minus the best other score, or the best but `top` - 1: above 0 it is among the best `top`."""
    others = np.delete(scores, answer)
    return float(scores[answer] - np.partition(others, -top)[-top])


def _divergence(exact: Array, scores: Array) -> float:
    """KL(p || q) of softmax(exact) and softmax(scores) in nat, never below 0."""
    logs = [x - x.max() - np.log(np.exp(x - x.max()).sum()) for x in (exact, scores)]
    return max(0.0, float((np.exp(logs[0]) * (logs[0] - logs[1])).sum()))
