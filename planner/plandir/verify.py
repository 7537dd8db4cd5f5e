"""Re-run a plan from its files alone and compare what comes out with what plan.yaml says.

Every check passes, fails or cannot be done, with its reason; what was not checked is not a pass.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import numpy as np

from splitpoint.codecs.contract.protocol import Array, CodecError
from splitpoint.planner.cuts.enumeration import cut_of_tensors
from splitpoint.planner.cuts.halves import split
from splitpoint.planner.deploy.plan import HEAD, REPORT, TAIL, WHOLE, Plan
from splitpoint.planner.plandir.report import plan_input, run_report
from splitpoint.planner.quality.metrics.registry import make_metric
from splitpoint.planner.samples.dataset import Dataset, network_input
from splitpoint.planner.samples.readers import load_npz
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.machine.machine import this_machine
from splitpoint.profiles.measurement.measure import measure_pair
from splitpoint.profiles.network.graph import load_graph
from splitpoint.profiles.network.model import ModelGraph
from splitpoint.profiles.network.runtime import open_session
from splitpoint.profiles.units import format_bytes, format_seconds

__all__ = ["Check", "Status", "verify"]


def __dir__() -> list[str]:
    return __all__


Status = Literal["passed", "failed", "warning", "not checked"]

PAYLOAD_TOLERANCE = (
    0.02  # another CPU moves 1-3 of 30,000 symbols by one step, and table coders pay a few bits for that
)
ACCURACY_TOLERANCE = 0.01  # the same symbols can turn a near tie; one more input is allowed on top
LATENCY_TOLERANCE = 0.25  # shared hosts move by this much between two runs; both spreads are printed
LATENCY_ROUNDS = 20


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One line of the verification."""

    name: str
    status: Status
    text: str


def verify(
    directory: Path, *, strict_latency: bool = False, step: Callable[[Check], None] = lambda check: None
) -> list[Check]:
    """All checks of the plan in `directory`, in order; `step` is called after each.

    Raises `ProfileError` only when plan.yaml itself cannot be read.
    """
    plan = Plan.load(directory)
    checks: list[Check] = []

    def add(check: Check) -> bool:
        checks.append(check)
        step(check)
        return check.status != "failed"

    if not add(_hashes(plan)):
        for name in ("exactness", "symbols", "payload", plan.file.search.metric, "latency"):
            add(Check(name=name, status="not checked", text="a file is not the one this plan was written with"))
        return checks
    if plan.file.external:
        kept = ", ".join(f"{name} (from {origin})" for name, origin in plan.file.external.items())
        for name in ("exactness", "symbols", "payload", plan.file.search.metric, "latency"):
            add(Check(name=name, status="not checked", text=f"written with --no-data, not stored: {kept}"))
        return checks
    dataset = load_npz(plan.path(REPORT), plan.file.input)
    add(_exactness(plan, dataset))
    add(_symbols(plan, dataset))
    for check in _report(plan, dataset):
        add(check)
    add(_latency(plan, strict=strict_latency))
    return checks


def _hashes(plan: Plan) -> Check:
    stored = [name for name in plan.file.files if name not in plan.file.external]
    for name in stored:
        try:
            plan.path(name)
        except ProfileError as error:
            return Check(name="hashes", status="failed", text=f"{error.message} ({error.at})")
    return Check(name="hashes", status="passed", text=f"{len(stored)} files")


def _exactness(plan: Plan, dataset: Dataset) -> Check:
    """The uncompressed halves against the whole, at ORT_ENABLE_BASIC where nothing but the cut differs."""
    whole_model = plan.path(WHOLE).read_bytes()
    graph = load_graph(whole_model, name=plan.file.model.name)
    if graph.sha256 != plan.file.model.sha256:
        return Check(name="exactness", status="failed", text=f"{WHOLE} is not the canonical model of plan.yaml")
    whole = open_session(whole_model, level="basic")
    run = _halves(plan, graph)
    n = 0
    for sample in dataset.samples:
        x = network_input(sample, dataset.spec)
        y, y0 = run(x), whole.run({plan.file.model.input.name: x})
        for name, value in y0.items():
            if not np.array_equal(value, y[name], equal_nan=True):
                worst = float(np.abs(np.asarray(value, np.float64) - y[name]).max())
                return Check(
                    name="exactness",
                    status="failed",
                    text=f"{sample.name}: output {name!r} differs by up to {worst:.3g}, expected equal bits",
                )
        n += 1
    kind = "head∘tail" if plan.file.placement == "split" else "the exported model"
    return Check(name="exactness", status="passed", text=f"{kind} = whole, bit for bit ({n} inputs, BASIC)")


def _halves(plan: Plan, graph: ModelGraph) -> Callable[[Array], dict[str, Array]]:
    """A function from the input to the outputs, through the two sides without a codec."""
    name = plan.file.model.input.name
    if plan.file.placement != "split":
        session = open_session(plan.path(HEAD if plan.file.placement == "device" else TAIL), level="basic")
        return lambda x: session.run({name: x})
    assert plan.file.cut is not None  # PlanFile: a split has a cut
    cut = cut_of_tensors(graph, [tensor.name for tensor in plan.file.cut.tensors])
    head, tail = (open_session(model, level="basic") for model in split(graph, cut))
    return lambda x: tail.run(head.run({name: x}))


def _symbols(plan: Plan, dataset: Dataset) -> Check:
    """What the decoder gives against what the encoder was given."""
    if plan.file.codec.boundary in ("float32", "picture", "channel_symbols"):
        return Check(
            name="symbols",
            status="not checked",
            text=f"{plan.file.codec.name} is lossy between the two graphs by design",
        )
    for sample in dataset.samples:
        x = plan_input(plan, sample)
        try:
            sent, received = plan.boundary(x, check=True), plan.symbols(plan.head(x))
        except CodecError as error:
            return Check(name="symbols", status="failed", text=f"{sample.name}: {error}")
        for name, value in sent.items():
            if not np.array_equal(value, received[name], equal_nan=True):
                return Check(name="symbols", status="failed", text=f"{sample.name}: {name!r} differs after decode")
    n = len(dataset)
    return Check(name="symbols", status="passed", text=f"equal after decode, input finite ({n} of {n})")


def _report(plan: Plan, dataset: Dataset) -> Iterator[Check]:
    """Size and quality on the stored report inputs."""
    planned = plan.file.report
    metric = plan.file.search.metric
    if planned is None:
        for name in ("payload", metric):
            yield Check(name=name, status="not checked", text="plan.yaml has no figures of the report set")
        return
    got = run_report(plan, dataset, make_metric(plan.file.task, plan.file.model.outputs, plan.file.metric.against))
    off = abs(got.payload_bytes - planned.payload_bytes)
    good = off <= PAYLOAD_TOLERANCE * planned.payload_bytes
    yield Check(
        name="payload",
        status="passed" if good else "failed",
        text=f"{format_bytes(got.payload_bytes)} measured, {format_bytes(planned.payload_bytes)} planned"
        f" (tolerance {100 * PAYLOAD_TOLERANCE:.0f} %: another CPU may move a few symbols)",
    )
    tolerance = ACCURACY_TOLERANCE + 1 / got.n
    yield Check(
        name=metric,
        status="passed" if abs(got.value - planned.value) <= tolerance else "failed",
        text=f"{got.value:.3f} measured, {planned.value:.3f} planned (tolerance {tolerance:.3f}: near ties, one input)",
    )


def _latency(plan: Plan, *, strict: bool) -> Check:
    """Head and tail against the prediction, where this is the machine that was profiled."""
    file = plan.file
    here = this_machine(threads=file.profiled_on.threads)
    if file.predicted.how == "modelled":
        planned_for = f"{file.device.name} and {file.server.name}"
        return Check(
            name="latency", status="not checked", text=f"not comparable: planned for {planned_for}, this is {here.cpu}"
        )
    if here.fingerprint != file.profiled_on.fingerprint:
        return Check(
            name="latency",
            status="not checked",
            text=f"not comparable: profiled on {file.profiled_on.cpu}, this is {here.cpu}",
        )
    head, tail = (plan.path(name) if name in file.files else None for name in (HEAD, TAIL))
    timing = measure_pair(head, tail, plan.path(WHOLE), threads=here.threads, rounds=LATENCY_ROUNDS)
    measured_s = sum(part.min_s for part in (timing.head, timing.tail) if part is not None)
    spread_s = sum(part.mad_s for part in (timing.head, timing.tail) if part is not None)
    predicted_s = file.predicted.head_s + file.predicted.tail_s
    close = abs(measured_s - predicted_s) <= LATENCY_TOLERANCE * predicted_s
    return Check(
        name="latency",
        status="passed" if close else "failed" if strict else "warning",
        text=f"head + tail {format_seconds(measured_s)} measured (spread {format_seconds(spread_s)}, retest error"
        f" {100 * timing.retest_error:.0f} %), {format_seconds(predicted_s)} planned"
        f" (tolerance {100 * LATENCY_TOLERANCE:.0f} %)",
    )
