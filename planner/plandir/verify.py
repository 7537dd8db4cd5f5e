"""Re-run a plan from its files alone and compare what comes out with what plan.yaml says.

Every check passes, fails or cannot be done, with its reason; what was not checked is not a pass.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, ParamSpec

import numpy as np

from splitpoint.codecs.contract.protocol import Array, CodecError
from splitpoint.planner.answers.stored import record_of
from splitpoint.planner.cuts.enumeration import cut_of_tensors
from splitpoint.planner.cuts.halves import split
from splitpoint.planner.deploy.accuracy import Accuracy
from splitpoint.planner.deploy.file_names import HEAD, PLAN, REPORT, TAIL, WHOLE, is_page
from splitpoint.planner.deploy.plan import Plan
from splitpoint.planner.deploy.task import Task
from splitpoint.planner.plandir.misses import point_misses
from splitpoint.planner.plandir.payload_range import measure_payload_range
from splitpoint.planner.plandir.placing import listed_files
from splitpoint.planner.plandir.report import check_trusted, declared, plan_input, run_report
from splitpoint.planner.quality.detection.coco import INSTALL
from splitpoint.planner.quality.metrics.registry import make_metric, stored_metric
from splitpoint.planner.samples.dataset import Dataset, NetworkInput, network_input
from splitpoint.planner.samples.npz import load_npz
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.machine.machine import this_machine
from splitpoint.profiles.measurement.measure import measure_pair
from splitpoint.profiles.network.graph import load_canonical
from splitpoint.profiles.network.model import ModelGraph
from splitpoint.profiles.network.runtime import CPU, open_session
from splitpoint.profiles.units import format_bytes, format_seconds

__all__ = ["Check", "Status", "verify"]


def __dir__() -> list[str]:
    return __all__


P = ParamSpec("P")
Status = Literal["passed", "failed", "warning", "not checked"]

PAYLOAD_TOLERANCE = (
    0.02  # another CPU moves 1-3 of 30,000 symbols by one step, and table coders pay a few bits for that
)
ACCURACY_TOLERANCE = 0.01  # the same symbols can turn a near tie; one more input is allowed on top
OUTPUT_TOLERANCE = 0.05  # of an output's relative error: a symbol that moves is one error among some thousand
OUTPUT_ROUNDING = 1e-4  # added: float32 sums in another order, where a codec loses nothing
LATENCY_TOLERANCE = 0.25  # shared hosts move by this much between two runs; both spreads are printed
LATENCY_ROUNDS = 20
LENGTHS = ("clean_p95_bytes", "clean_max_bytes", "corrupted_p95_bytes", "corrupted_max_bytes")
LENGTH_ROUNDING = 4  # bytes, of a single payload
SHOWN = 5  # names in a line


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One line of the verification."""

    name: str
    status: Status
    text: str


def verify(
    directory: Path,
    *,
    expect: str | None = None,
    trust_code: bool = False,
    strict_latency: bool = False,
    provider: str | None = None,
    provider_options: Mapping[str, str] | None = None,
    cpu_fallback: bool = False,
    step: Callable[[Check], None] = lambda check: None,
) -> list[Check]:
    """All checks of the plan in `directory`, in order; `step` is called after each.

    `expect` is the SHA-256 that plan.yaml must have. Code that the plan names is run only with `trust_code`.
    `provider` runs head and tail, as `Plan.load` has it; exactness is always checked on the CPU. Raises `ProfileError`
    only when plan.yaml itself cannot be read, or is another, or this ONNX Runtime does not offer the provider.
    """
    plan = Plan.load(
        directory, expect=expect, provider=provider, provider_options=provider_options, cpu_fallback=cpu_fallback
    )
    checks: list[Check] = []

    def add(check: Check) -> bool:
        checks.append(check)
        step(check)
        return check.status != "failed"

    unknown = _unknown(plan)
    if unknown is not None:
        add(unknown)
    if not add(_hashes(plan)):
        for name in _following(plan):
            add(Check(name=name, status="not checked", text="a file is not the one this plan was written with"))
        return checks
    if plan.file.external:
        kept = ", ".join(f"{name} (from {origin})" for name, origin in plan.file.external.items())
        for name in _following(plan):
            add(Check(name=name, status="not checked", text=f"written with --no-data, not stored: {kept}"))
        return checks
    try:
        inputs = plan.read(REPORT)
        dataset = load_npz(inputs, plan.file.input, inputs=declared(plan.file.model), at=plan.stored.at(REPORT))
    except ProfileError as error:
        add(_failed("report inputs", error))
        for name in _following(plan):
            add(Check(name=name, status="not checked", text=f"{REPORT} cannot be used"))
        return checks
    if plan.provider != CPU:
        add(_provider(plan))
    add(_exactness(plan, dataset))
    add(_symbols(plan, dataset))
    for check in _report(plan, dataset, trust_code=trust_code):
        add(check)
    add(_latency(plan, strict=strict_latency))
    return checks


def _following(plan: Plan) -> tuple[str, ...]:
    """The checks that follow those of the files."""
    return ("exactness", "symbols", "payload", "payload range", plan.file.search.metric, "latency")


def _failed(name: str, error: ProfileError | CodecError) -> Check:
    """A check of files whose hashes are right, and which cannot be used all the same."""
    place = getattr(error, "at", None)
    text = error.message if isinstance(error, ProfileError) else str(error)
    return Check(name=name, status="failed", text=f"{text} ({place})" if place else text)


def _or_failed(name: str) -> Callable[[Callable[P, Check]], Callable[P, Check]]:
    """A check that fails, instead of raising, when the plan's files cannot be used."""

    def decorate(check: Callable[P, Check]) -> Callable[P, Check]:
        @functools.wraps(check)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> Check:
            try:
                return check(*args, **kwargs)
            except (ProfileError, CodecError) as error:
                return _failed(name, error)

        return guarded

    return decorate


def _unknown(plan: Plan) -> Check | None:
    """Files in the folder that plan.yaml does not list; None where there are none."""
    found = {name for name in plan.stored.folder.names() if not is_page(name)}
    strange = sorted(found - listed_files(plan.file))
    if not strange:
        return None
    names = ", ".join(strange[:SHOWN]) + (f" and {len(strange) - SHOWN} more" if len(strange) > SHOWN else "")
    return Check(
        name="other files", status="warning", text=f"{PLAN} does not list {names}: not checked, and nothing reads them"
    )


def _hashes(plan: Plan) -> Check:
    """Every file that plan.yaml lists, models without data outside themselves."""
    listed = [name for name in (*plan.file.files, *plan.file.contents) if name not in plan.file.external]
    for name in listed:
        try:
            plan.read(name)
        except ProfileError as error:
            return Check(name="hashes", status="failed", text=f"{error.message} ({error.at})")
    return Check(name="hashes", status="passed", text=f"{len(listed)} files; SHA-256 of {PLAN}: {plan.sha256}")


def _provider(plan: Plan) -> Check:
    """What runs head and tail below, where it is not the CPU."""
    options = "".join(f" {name}={value}" for name, value in plan.provider.options)
    rest = ", the CPU what it cannot" if plan.provider.cpu_fallback else ", alone"
    return Check(name="provider", status="passed", text=f"{plan.provider.name}{options} runs head and tail{rest}")


@_or_failed("exactness")
def _exactness(plan: Plan, dataset: Dataset) -> Check:
    """The uncompressed halves against the whole, at ORT_ENABLE_BASIC where nothing but the cut differs."""
    whole_model = plan.read(WHOLE)
    graph = load_canonical(whole_model, name=plan.file.model.name)
    if graph.sha256 != plan.file.model.sha256:
        return Check(name="exactness", status="failed", text=f"{WHOLE} is not the canonical model of plan.yaml")
    whole = open_session(whole_model, level="basic")
    run = _halves(plan, graph)
    n = 0
    for sample in dataset.samples:
        x = network_input(sample, dataset.spec)
        y, y0 = run(x), whole.run(graph.feeds(x))
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


def _halves(plan: Plan, graph: ModelGraph) -> Callable[[NetworkInput], dict[str, Array]]:
    """A function from an input to the outputs, through the two sides without a codec."""
    if plan.file.placement != "split":
        session = open_session(plan.read(HEAD if plan.file.placement == "device" else TAIL), level="basic")
        return lambda x: session.run(graph.feeds(x))
    assert plan.file.cut is not None  # PlanFile: a split has a cut
    cut = cut_of_tensors(graph, [tensor.name for tensor in plan.file.cut.tensors])
    head, tail = (open_session(model, level="basic") for model in split(graph, cut))
    return lambda x: tail.run(head.run(graph.feeds(x)))


@_or_failed("symbols")
def _symbols(plan: Plan, dataset: Dataset) -> Check:
    """What the decoder gives against what the encoder was given."""
    over = plan.file.predicted.symbols
    if over is not None:
        text = f"{over.count:,} channel symbols cross, no bits; simulated below: {over.channel}, seed"
        return Check(name="symbols", status="not checked", text=f"{text} {plan.file.found_by.seed}")
    if plan.file.codec.boundary in ("float32", "picture"):
        return Check(
            name="symbols",
            status="not checked",
            text=f"{plan.file.codec.name} is lossy between the two graphs by design",
        )
    for sample in dataset.samples:
        x = plan_input(plan, sample)
        try:
            sent, received = plan.coded(plan.boundary(x, check=True)), plan.symbols(plan.head(x))
        except CodecError as error:
            return Check(name="symbols", status="failed", text=f"{sample.name}: {error}")
        for name, value in sent.items():
            if not np.array_equal(value, received[name], equal_nan=True):
                return Check(name="symbols", status="failed", text=f"{sample.name}: {name!r} differs after decode")
    n = len(dataset)
    return Check(name="symbols", status="passed", text=f"equal after decode, input finite ({n} of {n})")


def _report(plan: Plan, dataset: Dataset, *, trust_code: bool) -> Iterator[Check]:
    """Size and quality on the stored report inputs."""
    planned = plan.file.report
    metric = plan.file.search.metric
    if planned is None:
        for name in ("payload", "payload range", metric):
            yield Check(name=name, status="not checked", text="plan.yaml has no figures of the report set")
        return
    file, missing, shape = plan.file, None, plan.file.model.inputs[0].shape
    try:
        check_trusted(file.task, trust_code=trust_code)
        metric_of = stored_metric(file.task, file.model.outputs, file.metric, input_shape=shape)
    except ProfileError as error:  # code or anchors of the user's own; sizes and errors of outputs need no metric
        missing = error
        metric_of = make_metric(Task(name="tensor"), file.model.outputs, "unsplit", input_shape=shape)
    try:
        lengths: list[int] = []
        got = run_report(plan, dataset, metric_of, sent=lengths.append)
    except (ProfileError, CodecError) as error:
        for name in ("payload", "payload range", metric):
            yield _failed(name, error)
        return
    off = abs(got.payload_bytes - planned.payload_bytes)
    good = off <= PAYLOAD_TOLERANCE * planned.payload_bytes
    yield Check(
        name="payload",
        status="passed" if good else "failed",
        text=f"{format_bytes(got.payload_bytes)} measured, {format_bytes(planned.payload_bytes)} planned"
        f" (tolerance {100 * PAYLOAD_TOLERANCE:.0f} %: another CPU may move a few symbols)",
    )
    yield _payload_range(plan, dataset, lengths)
    yield from _quality(plan, got, planned) if missing is None else _unchecked(missing, planned)
    reads = metric_of.reads if missing is None else file.task.outputs
    others = [other.name for other in planned.output_errors if reads and other.name not in reads]
    if others:
        yield _other_outputs(others, got, planned)


@_or_failed("payload range")
def _payload_range(plan: Plan, dataset: Dataset, lengths: Sequence[int]) -> Check:
    """The longest payloads, of clean and of corrupted inputs; `lengths` are those of the clean ones."""
    planned = plan.file.payload_range
    if planned is None or plan.file.placement == "device":
        reason = "plan.yaml has no range" if planned is None else "nothing is sent"
        return Check(name="payload range", status="not checked", text=reason)
    got = measure_payload_range(plan, dataset, lengths, inputs=planned.corrupted_n)
    pairs = [(getattr(got, name), getattr(planned, name)) for name in LENGTHS]
    good = all(abs(a - b) <= PAYLOAD_TOLERANCE * b + LENGTH_ROUNDING for a, b in pairs)
    measured, expected = (", ".join(format_bytes(pair[i]) for pair in pairs) for i in (0, 1))
    return Check(
        name="payload range",
        status="passed" if good else "failed",
        text=f"95 % and most of clean, of corrupted inputs: {measured} measured, {expected} planned (tolerance"
        f" {100 * PAYLOAD_TOLERANCE:.0f} %)",
    )


def _quality(plan: Plan, got: Accuracy, planned: Accuracy) -> Iterator[Check]:
    """The metric with its 95 % interval and the limits that the point misses, and its other figures."""
    file = plan.file
    missed = point_misses(record_of(plan.stored), file.point, file.requirements, got)
    tolerance = ACCURACY_TOLERANCE + 1 / got.n
    yield Check(
        name=planned.metric,
        status="passed" if abs(got.value - planned.value) <= tolerance else "failed",
        text="; ".join(
            [
                f"{got.value:.3f} [{got.low:.2f}, {got.high:.2f}] measured, {planned.value:.3f} planned"
                f" (tolerance {tolerance:.3f}: near ties, one input)",
                file.metric.definition,
                *missed,
            ]
        ),
    )
    for figure in planned.also:
        measured = got.figure(figure.name)
        if measured is None:
            reason = f"{figure.value:.3g} planned; it needs pycocotools, which is not installed: {INSTALL}"
            yield Check(name=figure.name, status="not checked", text=reason)
            continue
        allowed = tolerance * max(1.0, abs(figure.value))  # an error in the output's unit may be above 1
        yield Check(
            name=figure.name,
            status="passed" if abs(measured.value - figure.value) <= allowed else "failed",
            text=f"{measured.value:.3g} measured, {figure.value:.3g} planned (tolerance {allowed:.3g})",
        )


def _unchecked(missing: ProfileError, planned: Accuracy) -> Iterator[Check]:
    """The metric and its other figures, which need what is missing."""
    for name in (planned.metric, *(figure.name for figure in planned.also)):
        yield Check(name=name, status="not checked", text=f"{missing.message} ({missing.fix or missing.at})")


def _other_outputs(names: Sequence[str], got: Accuracy, planned: Accuracy) -> Check:
    """Outputs that the metric does not read: their relative errors against those of the stored report."""
    texts, good = [], True
    errors = {other.name: other.relative_error for other in got.output_errors}
    expected = {other.name: other.relative_error for other in planned.output_errors}
    for name in names:
        if name not in errors:
            return Check(name="other outputs", status="failed", text=f"the network has no output {name!r}")
        error, before = errors[name], expected[name]
        close = error == before or abs(error - before) <= OUTPUT_TOLERANCE * before + OUTPUT_ROUNDING
        good &= close
        texts.append(f"{name} {error:.3g} measured, {before:.3g} planned{'' if close else ' (!)'}")
    return Check(
        name="other outputs",
        status="passed" if good else "failed",
        text=f"relative error: {'; '.join(texts)} (tolerance {100 * OUTPUT_TOLERANCE:.0f} %: another CPU may move a few"
        " symbols)",
    )


@_or_failed("latency")
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
    if plan.provider.name != file.profiled_on.provider:
        text = f"not comparable: profiled with {file.profiled_on.provider}, verified with {plan.provider.name}"
        return Check(name="latency", status="not checked", text=text)
    head, tail = (plan.read(name) if name in file.files else None for name in (HEAD, TAIL))
    timing = measure_pair(head, tail, plan.read(WHOLE), threads=here.threads, rounds=LATENCY_ROUNDS)
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
