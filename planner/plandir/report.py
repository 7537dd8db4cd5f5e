"""The report set as a file, and the quality of a finished plan on it, from the plan's files and payloads alone.

What was measured is kept by the content of those files (`kept_report`): the report set is run for a new point only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import msgspec
import numpy as np

from splitpoint.codecs.contract.protocol import Array
from splitpoint.codecs.npz import npz_bytes
from splitpoint.planner.deploy.accuracy import Accuracy
from splitpoint.planner.deploy.file_names import REFERENCE, WHOLE
from splitpoint.planner.deploy.plan import Plan
from splitpoint.planner.deploy.schema import ModelSource, PayloadRange, PlanFile
from splitpoint.planner.deploy.task import Task
from splitpoint.planner.quality.accuracy import judge
from splitpoint.planner.quality.metrics.protocol import Metric
from splitpoint.planner.quality.observe import observe
from splitpoint.planner.samples.archive import read_arrays
from splitpoint.planner.samples.dataset import Dataset, NetworkInput, Sample, network_input
from splitpoint.planner.samples.npz import group_name, label_name
from splitpoint.planner.samples.truths import pack_truths
from splitpoint.planner.setup.trust import code_of_task
from splitpoint.planner.store.results import Results
from splitpoint.planner.values.keys import content_key
from splitpoint.planner.values.outcomes import Outcomes
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.network.input_shapes import DeclaredInput
from splitpoint.profiles.network.runtime import open_session

__all__ = ["Reported", "check_trusted", "declared", "kept_report", "plan_input", "report_bytes", "run_report"]


def __dir__() -> list[str]:
    return __all__


class Reported(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the report set says of a plan."""

    accuracy: Accuracy
    payload_range: PayloadRange


def report_bytes(dataset: Dataset) -> bytes:
    """The bytes of report-inputs.npz: inputs, labels and groups as `planner.samples.npz.load_npz` reads them.

    Tensors keep the shape that the network takes, behind an axis that counts the samples.
    """
    rows = [sample.arrays for sample in dataset.samples]
    arrays = {name or "x": np.stack([row[name] for row in rows]) for name in rows[0]}
    names = list(arrays) if dataset.spec.kind == "tensors" else ["x"]
    arrays[group_name(names)[0]] = np.array([s.group for s in dataset.samples])
    if dataset.labels is not None:
        arrays[label_name(names)[0]] = dataset.labels
    truths = [s.truth for s in dataset.samples if s.truth is not None]
    if truths:
        arrays |= pack_truths(truths)
    return npz_bytes(arrays)


def declared(model: ModelSource) -> tuple[DeclaredInput, ...]:
    """The network's inputs, by which report-inputs.npz is read."""
    return tuple(DeclaredInput(name=t.name, dims=t.shape, dtype=t.dtype) for t in model.inputs)


def check_trusted(task: Task, *, trust_code: bool) -> None:
    """Raise `ProfileError` when the task of a plan names code or files outside the plan that are not trusted."""
    outside = code_of_task(task)
    if outside and not trust_code:
        raise ProfileError(
            f"the plan's task uses {', '.join(outside)}, which is not part of the plan",
            at="task of the plan",
            fix="--trust-code uses it, if you trust whoever wrote the plan and that file",
        )


def kept_report(file: PlanFile, results: Results | None, measure: Callable[[], Reported]) -> Reported:
    """What an earlier run measured through files of these very bytes, or what `measure` gives.

    `file` lists every file that runs or that a run is compared with. Where code of the user's judges it is always
    measured: what that code depends on is not known.
    """
    if results is None or code_of_task(file.task):
        return measure()
    key = content_key(
        "report",
        files=file.files,
        placement=file.placement,
        model=file.model,
        input_block=file.input,
        cut=file.cut,
        codec=file.codec,
        symbols=file.predicted.symbols,
        seed=None if file.predicted.symbols is None else file.found_by.seed,  # of their noise
        task=file.task,
        metric=file.metric,
        runtime=results.runtime,
    )
    reported: Reported
    reported, _ = results.get("report", key, measure, encode=msgspec.msgpack.encode, decode=_decode_reported)
    return reported


def _decode_reported(content: bytes) -> Reported:
    return msgspec.msgpack.decode(content, type=Reported)


def run_report(
    plan: Plan, dataset: Dataset, metric: Metric, *, sent: Callable[[int], None] = lambda length: None
) -> Accuracy:
    """Every report input through `plan.head`, what arrives of it through `plan.tail`: compared with the labels, or with
    the unsplit network's answers. `metric` reads the plan's outputs, `sent` is told the length of each payload."""
    references = zip(dataset.samples, _references(plan, dataset), strict=True)
    metric = metric.prepare(metric.truth_of(sample, metric.answer(reference)) for sample, reference in references)
    rows, sizes = [], []
    for draw, (sample, reference) in enumerate(zip(dataset.samples, _references(plan, dataset), strict=True)):
        payload = plan.head(plan_input(plan, sample))
        y = plan.tail(plan.received(payload, draw=draw))
        outputs = y if isinstance(y, dict) else {name: y for name in reference}
        rows.append(observe(metric, outputs, reference, sample))
        sizes.append(0 if plan.file.placement == "device" else len(payload))
        sent(sizes[-1])
    outcomes = Outcomes(subset="report", inputs=tuple(rows), payload_bytes=tuple(sizes))
    return judge(outcomes, metric, output_names=[tensor.name for tensor in plan.file.model.outputs], shown=True)


def _references(plan: Plan, dataset: Dataset) -> Iterator[dict[str, Array]]:
    """The given network's outputs by name for each input: stored, or from whole.onnx when that is the given network."""
    model = plan.file.model
    if REFERENCE in plan.file.files:
        arrays = _stored_references(plan)
        names = [tensor.name for tensor in model.outputs]
        yield from (dict(zip(names, row, strict=True)) for row in zip(*arrays, strict=True))
        return
    whole = open_session(plan.read(WHOLE), level="all", name=plan.stored.at(WHOLE))
    for sample in dataset.samples:
        x = network_input(sample, dataset.spec)
        exact = whole.run(x if isinstance(x, Mapping) else {model.inputs[0].name: x})
        yield {tensor.name: exact[tensor.name] for tensor in model.outputs}


def _stored_references(plan: Plan) -> list[Array]:
    """The arrays of reference.npz, (N, ...) each, in the order of the outputs."""
    arrays = read_arrays(plan.read(REFERENCE), at=plan.stored.at(REFERENCE))
    names = [f"out{i}" for i in range(len(plan.file.model.outputs))]
    if set(arrays) != set(names):
        raise ProfileError(f"expected the arrays {names}, got {sorted(arrays)}", at=plan.stored.at(REFERENCE))
    return [arrays[name] for name in names]


def plan_input(plan: Plan, sample: Sample) -> NetworkInput:
    """What `plan.head` takes for a sample: the picture where there is one, else the tensor or tensors."""
    return sample.arrays if sample.tensors is not None else sample.arrays[""]
