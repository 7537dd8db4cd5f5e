"""The report set as a file, and the quality of a finished plan on it, from the plan's files and payloads alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from splitpoint.codecs.store import npz_bytes
from splitpoint.planner.accuracy import Metric, Observed, judge
from splitpoint.planner.data import Dataset, Sample, network_input
from splitpoint.planner.plan import Plan
from splitpoint.planner.types import Accuracy
from splitpoint.profiles.runtime import Session

__all__ = ["plan_input", "report_bytes", "run_report"]


def __dir__() -> list[str]:
    return __all__


def report_bytes(dataset: Dataset) -> bytes:
    """The bytes of report-inputs.npz: arrays x, y and group as `planner.loaders.load_npz` reads them."""
    pictures = dataset.samples[0].picture is not None
    rows = [s.picture if pictures else np.asarray(s.tensor)[0] for s in dataset.samples]
    arrays = {"x": np.stack([np.asarray(row) for row in rows]), "group": np.array([s.group for s in dataset.samples])}
    if dataset.labels is not None:
        arrays["y"] = dataset.labels
    return npz_bytes(arrays)


def run_report(
    plan: Plan, dataset: Dataset, whole: Session, metric: Metric, *, advance: Callable[[], None] = lambda: None
) -> Accuracy:
    """Every report input through `plan.head`, its bytes through `plan.tail`, against the unsplit network."""
    model = plan.file.model
    observed = []
    for sample in dataset.samples:
        payload = plan.head(plan_input(plan, sample))
        y = plan.tail(payload)
        exact = whole.run({model.input.name: network_input(sample, dataset.spec)})
        observed.append(
            Observed(
                outputs=list(y.values()) if isinstance(y, dict) else [y],
                reference=[exact[tensor.name] for tensor in model.outputs],
                label=sample.label,
                group=sample.group,
                payload_bytes=0 if plan.file.placement == "device" else len(payload),
            )
        )
        advance()
    return judge(observed, metric, "report")


def plan_input(plan: Plan, sample: Sample) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    """What `plan.head` takes for a sample: the picture where there is one, else the tensor."""
    return np.asarray(sample.picture if sample.picture is not None else sample.tensor)
