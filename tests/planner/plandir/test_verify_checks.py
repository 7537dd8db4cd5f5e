"""Every check of verify fails when its subject is wrong, passes at its tolerance, or says why it was not made."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import onnx.numpy_helper
import pytest

from splitpoint.codecs.coders.huffman import HuffmanCoder
from splitpoint.codecs.contract.protocol import PayloadError
from splitpoint.planner.cuts.halves import split
from splitpoint.planner.deploy.plan import Plan
from splitpoint.planner.deploy.schema import PlanFile
from splitpoint.planner.plandir import verify as module
from splitpoint.planner.plandir.report import plan_input
from splitpoint.planner.plandir.verify import Check, verify
from splitpoint.planner.plandir.writing import write_plan
from splitpoint.planner.search.result import SearchResult
from splitpoint.profiles.files.structs import dump_yaml
from splitpoint.profiles.machine.machine import this_machine
from splitpoint.profiles.measurement.measure import PairTiming
from splitpoint.profiles.measurement.model_profile import Samples

Run = Callable[..., tuple[int, str, str]]
NAMES = ["hashes", "exactness", "symbols", "payload", "payload range", "top1", "latency"]


def change(folder: Path, **fields: Any) -> None:
    """Rewrite plan.yaml with other values."""
    file = msgspec.structs.replace(Plan.load(folder).file, **fields)
    (folder / "plan.yaml").write_text(dump_yaml(file))


def change_report(folder: Path, **fields: Any) -> None:
    report = Plan.load(folder).file.report
    assert report is not None
    change(folder, report=msgspec.structs.replace(report, **fields))


def rehash(folder: Path, name: str) -> None:
    """Let plan.yaml list the file as it is now."""
    change(
        folder, files=Plan.load(folder).file.files | {name: hashlib.sha256((folder / name).read_bytes()).hexdigest()}
    )


def statuses(folder: Path, **options: Any) -> dict[str, str]:
    return {check.name: check.status for check in verify(folder, **options)}


def text_of(folder: Path, name: str, **options: Any) -> str:
    return next(check.text for check in verify(folder, **options) if check.name == name)


def placed(result: SearchResult, placement: str, folder: Path) -> Path:
    """A plan of the first point of that placement."""
    point = next(p for p in result.points if p.candidate.placement == placement)
    write_plan(result, point, folder)
    return folder


def give_report(monkeypatch: pytest.MonkeyPatch, report: Any) -> None:
    """Let the report set give these figures, without running."""
    monkeypatch.setattr(module, "run_report", lambda *args, **kwargs: report)
    monkeypatch.setattr(module, "measure_payload_range", lambda plan, *args, **kwargs: plan.file.payload_range)


def report_of(folder: Path) -> Any:
    return Plan.load(folder).file.report


def test_a_sound_plan_passes_in_order_and_each_check_is_shown(fixed_plan: Path) -> None:
    shown: list[Check] = []
    checks = verify(fixed_plan, step=shown.append)
    assert [check.name for check in checks] == NAMES
    assert [check.status for check in checks] == ["passed"] * 6 + ["not checked"]
    assert shown == checks
    n = report_of(fixed_plan).n
    plan = Plan.load(fixed_plan)
    count = len(plan.file.files) + len(plan.file.contents)
    assert checks[0].text == f"{count} files; SHA-256 of plan.yaml: {plan.sha256}"
    assert checks[1].text == f"head∘tail = whole, bit for bit ({n} inputs, BASIC)"
    assert checks[2].text == f"equal after decode, input finite ({n} of {n})"


@pytest.mark.parametrize(
    ("factor", "status"),
    [
        (1.0, "passed"),
        (1.015, "passed"),
        (1.025, "failed"),
        (1 / 1.015, "passed"),
        (1 / 1.025, "failed"),
        (3, "failed"),
    ],
)
def test_payload_within_two_percent(fixed_copy: Path, factor: float, status: str) -> None:
    change_report(fixed_copy, payload_bytes=factor * report_of(fixed_copy).payload_bytes)
    assert statuses(fixed_copy)["payload"] == status


def test_payload_at_the_tolerance(fixed_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planned 100 B: 102 and 98 pass, a byte in a thousand inputs more fails."""
    honest = report_of(fixed_copy)
    change_report(fixed_copy, payload_bytes=100.0)
    for measured, status in ((102.0, "passed"), (98.0, "passed"), (102.001, "failed"), (97.999, "failed")):
        got = msgspec.structs.replace(honest, payload_bytes=measured)
        give_report(monkeypatch, got)
        assert statuses(fixed_copy)["payload"] == status, measured


def test_quality_within_a_point_and_one_input(fixed_copy: Path) -> None:
    honest = report_of(fixed_copy)
    n = honest.n
    assert n == 24
    tolerance = 0.01 + 1 / n
    for off, status in (
        (0.0, "passed"),
        (0.999 * tolerance, "passed"),
        (-0.999 * tolerance, "passed"),
        (1.001 * tolerance, "failed"),
        (-1.001 * tolerance, "failed"),
    ):
        change_report(fixed_copy, value=honest.value + off)
        assert statuses(fixed_copy)["top1"] == status, off
    assert f"(tolerance {tolerance:.3f}: near ties, one input); share of inputs" in text_of(fixed_copy, "top1")


def test_a_plan_without_report_figures_is_not_compared(fixed_copy: Path) -> None:
    change(fixed_copy, report=None)
    status_of = statuses(fixed_copy)
    assert list(status_of) == NAMES
    assert (status_of["payload"], status_of["top1"]) == ("not checked", "not checked")
    assert status_of["symbols"] == "passed"


@pytest.mark.parametrize("name", ["head.onnx", "tail.onnx", "codec.npz", "whole.onnx", "report-inputs.npz"])
@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_a_file_that_is_not_the_plans_stops_everything(fixed_copy: Path, name: str, damage: str) -> None:
    if damage == "missing":
        (fixed_copy / name).unlink()
    else:
        (fixed_copy / name).write_bytes((fixed_copy / name).read_bytes() + b"\0")
    shown: list[Check] = []
    checks = verify(fixed_copy, step=shown.append)
    assert [check.name for check in checks] == NAMES
    assert [check.status for check in checks] == ["failed"] + ["not checked"] * 6
    assert name in checks[0].text
    assert shown == checks


def test_another_network_than_the_plans_is_not_exact(fixed_copy: Path) -> None:
    """The hash of the file is right, the network of plan.yaml is another."""
    model = Plan.load(fixed_copy).file.model
    change(fixed_copy, model=msgspec.structs.replace(model, sha256="0" * 64))
    checks = {check.name: check for check in verify(fixed_copy)}
    assert checks["exactness"].status == "failed"
    assert checks["exactness"].text == "whole.onnx is not the canonical model of plan.yaml"
    assert checks["symbols"].status == "passed"  # the other checks are made all the same


def spoil(path: Path) -> bytes:
    """The model with its last bias moved by one, in the first class."""
    proto = onnx.load(str(path))
    bias = next(weight for weight in proto.graph.initializer if list(weight.dims) == [6])
    values = onnx.numpy_helper.to_array(bias).copy()
    values[0] += 1
    bias.CopyFrom(onnx.numpy_helper.from_array(values, bias.name))
    return bytes(proto.SerializeToString())


@pytest.mark.parametrize(("placement", "name"), [("device", "head.onnx"), ("server", "tail.onnx")])
def test_a_whole_network_with_another_weight_is_not_exact(
    fixed_result: SearchResult, tmp_path: Path, placement: str, name: str
) -> None:
    folder = placed(fixed_result, placement, tmp_path / "plan")
    sound = next(check for check in verify(folder) if check.name == "exactness")
    assert (sound.status, sound.text[:18]) == ("passed", "the exported model")
    (folder / name).write_bytes(spoil(folder / name))
    rehash(folder, name)
    wrong = next(check for check in verify(folder) if check.name == "exactness")
    assert wrong.status == "failed"
    assert wrong.text.endswith("output 'scores' differs by up to 1, expected equal bits")


def test_halves_that_do_not_make_the_whole_are_not_exact(
    fixed_copy: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cut_in_two = split

    def wrong(*args: Any) -> tuple[bytes, bytes]:
        head, tail = cut_in_two(*args)
        (tmp_path / "tail.onnx").write_bytes(tail)
        return head, spoil(tmp_path / "tail.onnx")

    monkeypatch.setattr(module, "split", wrong)
    status_of = statuses(fixed_copy)
    assert status_of["exactness"] == "failed"
    assert [status_of[name] for name in ("symbols", "payload", "top1")] == ["passed"] * 3


def test_a_cut_that_the_network_does_not_have_is_named(fixed_copy: Path) -> None:
    file: PlanFile = Plan.load(fixed_copy).file
    assert file.cut is not None
    tensors = (msgspec.structs.replace(file.cut.tensors[0], name="elsewhere"),)
    change(fixed_copy, cut=msgspec.structs.replace(file.cut, tensors=tensors))
    assert statuses(fixed_copy)["exactness"] == "failed"
    assert "the network has no cut elsewhere" in text_of(fixed_copy, "exactness")


def test_a_decoder_that_lies_about_one_symbol(fixed_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decode, calls = HuffmanCoder.decode, []

    def lie(self: HuffmanCoder, payload: bytes) -> dict[str, Any]:
        calls.append(payload)
        decoded = {name: value.copy() for name, value in decode(self, payload).items()}
        if len(calls) == 24:  # of the last input that the check looks at
            value = next(iter(decoded.values()))
            value.flat[-1] ^= 1
        return decoded

    monkeypatch.setattr(HuffmanCoder, "decode", lie)
    checks = {check.name: check for check in verify(fixed_copy)}
    assert checks["symbols"].status == "failed"
    assert checks["symbols"].text.endswith("differs after decode")
    assert checks["exactness"].status == "passed"


def test_a_decoder_that_refuses_its_own_bytes(fixed_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Plan, payload: bytes) -> Any:
        raise PayloadError("the checksum is wrong")

    monkeypatch.setattr(Plan, "symbols", refuse)
    give_report(monkeypatch, report_of(fixed_copy))
    checks = {check.name: check for check in verify(fixed_copy)}
    assert checks["symbols"].status == "failed"
    assert checks["symbols"].text.endswith("the checksum is wrong")


def test_an_input_that_is_not_finite_fails_the_symbols(fixed_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A quantizer would hide it, so the tensors at the boundary are looked at."""
    sample = plan_input

    def poisoned(plan: Plan, given: Any) -> Any:
        picture = sample(plan, given)
        x = np.zeros((1, 3, *picture.shape[:2]), np.float32)
        x[0, 0, 0, 0] = np.inf
        return x

    monkeypatch.setattr(module, "plan_input", poisoned)
    checks = {check.name: check for check in verify(fixed_copy)}
    assert checks["symbols"].status == "failed"
    assert "infinity in 'x'" in checks["symbols"].text


@pytest.mark.parametrize("placement", ["device", "server"])
def test_symbols_of_plans_without_a_split(fixed_result: SearchResult, tmp_path: Path, placement: str) -> None:
    folder = placed(fixed_result, placement, tmp_path / "plan")
    status_of = statuses(folder)
    assert status_of["symbols"] == ("passed" if placement == "device" else "not checked")
    assert [status_of[name] for name in ("hashes", "exactness", "payload", "top1")] == ["passed"] * 4


@pytest.mark.parametrize("boundary", ["float32", "symbols"])
def test_symbols_are_compared_where_the_coder_is_lossless(
    fixed_copy: Path, boundary: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    codec = Plan.load(fixed_copy).file.codec
    change(fixed_copy, codec=msgspec.structs.replace(codec, boundary=boundary))
    give_report(monkeypatch, report_of(fixed_copy))
    lossy = boundary != "symbols"
    assert statuses(fixed_copy)["symbols"] == ("not checked" if lossy else "passed")
    if lossy:
        assert text_of(fixed_copy, "symbols") == f"{codec.name} is lossy between the two graphs by design"


@dataclasses.dataclass
class Timing:
    """What the next timing gives, and what was timed."""

    head_s: float = 1.0
    tail_s: float = 3.0
    calls: list[tuple[bool, bool, int]] = dataclasses.field(default_factory=list)  # head, tail, threads


@pytest.fixture
def timing(monkeypatch: pytest.MonkeyPatch) -> Timing:
    made = Timing()

    def samples(min_s: float) -> Samples:
        return Samples(n=20, min_s=min_s, median_s=5 * min_s, mad_s=0.25)

    def pair(head: Path | None, tail: Path | None, whole: Path, *, threads: int, rounds: int) -> PairTiming:
        made.calls.append((head is not None, tail is not None, threads))
        return PairTiming(
            head=None if head is None else samples(made.head_s),
            tail=None if tail is None else samples(made.tail_s),
            whole=samples(7.0),
            retest_error=0.125,
        )

    monkeypatch.setattr(module, "measure_pair", pair)
    return made


def profiled_here(folder: Path, *, head_s: float, tail_s: float, how: str = "profiled", **machine: Any) -> None:
    """Let the plan say that its seconds were profiled on this machine."""
    here = msgspec.structs.replace(this_machine(threads=1), **machine)
    predicted = msgspec.structs.replace(Plan.load(folder).file.predicted, head_s=head_s, tail_s=tail_s, how=how)
    change(folder, profiled_on=here, predicted=predicted)


@pytest.mark.parametrize(
    ("head_s", "tail_s", "close"),
    [
        (1.0, 3.0, True),
        (2.0, 2.0, True),  # the sum counts
        (0.8, 2.4, True),  # measured 4 is a quarter more than 3.2
        (0.8, 2.3, False),
        (2.0, 3.3, True),  # 4 is 24.5 % less than 5.3
        (2.0, 3.4, False),
    ],
)
def test_latency_within_a_quarter_of_what_was_planned(
    fixed_copy: Path, timing: Timing, head_s: float, tail_s: float, close: bool
) -> None:
    profiled_here(fixed_copy, head_s=head_s, tail_s=tail_s)
    assert statuses(fixed_copy)["latency"] == ("passed" if close else "warning")
    assert statuses(fixed_copy, strict_latency=True)["latency"] == ("passed" if close else "failed")
    assert timing.calls == [(True, True, 1)] * 2


def test_latency_at_the_tolerance(fixed_copy: Path, timing: Timing) -> None:
    profiled_here(fixed_copy, head_s=1.0, tail_s=3.0)
    for head_s, status in ((2.0, "passed"), (0.0, "passed"), (2.0625, "warning")):  # 5, 3 and 5.0625 of 4
        timing.head_s, timing.tail_s = head_s, 3.0
        assert statuses(fixed_copy)["latency"] == status, head_s
    text = text_of(fixed_copy, "latency")
    assert text == "head + tail 5.06 s measured (spread 500 ms, retest error 12 %), 4 s planned (tolerance 25 %)"


@pytest.mark.parametrize(("placement", "present"), [("device", (True, False)), ("server", (False, True))])
def test_latency_of_a_plan_with_one_side(
    fixed_result: SearchResult, tmp_path: Path, timing: Timing, placement: str, present: tuple[bool, bool]
) -> None:
    folder = placed(fixed_result, placement, tmp_path / "plan")
    timing.head_s = timing.tail_s = 2.0
    profiled_here(folder, head_s=2.0 * present[0], tail_s=2.0 * present[1], how="measured")
    assert statuses(folder)["latency"] == "passed"
    assert timing.calls == [(*present, 1)]


def test_latency_is_compared_on_the_profiled_machine_only(fixed_copy: Path, timing: Timing) -> None:
    profiled_here(fixed_copy, head_s=1.0, tail_s=3.0, how="modelled")
    assert statuses(fixed_copy, strict_latency=True)["latency"] == "not checked"
    assert text_of(fixed_copy, "latency").startswith("not comparable: planned for slow and cloud-8core, this is ")
    profiled_here(fixed_copy, head_s=1.0, tail_s=3.0, cpu="another processor")
    assert statuses(fixed_copy, strict_latency=True)["latency"] == "not checked"
    assert text_of(fixed_copy, "latency").startswith("not comparable: profiled on another processor, this is ")
    assert timing.calls == []


def test_exit_codes(fixed_copy: Path, timing: Timing, run: Run) -> None:
    assert run("verify", fixed_copy)[0] == 0  # latency not made
    profiled_here(fixed_copy, head_s=1.0, tail_s=9.0)
    code, out, _ = run("verify", fixed_copy, "--json")
    assert (code, json.loads(out)["count"]) == (0, {"passed": 6, "failed": 0, "warning": 1, "not checked": 0})
    assert run("verify", fixed_copy, "--strict-latency")[0] == 1
    change_report(fixed_copy, payload_bytes=1.0)
    assert run("verify", fixed_copy)[0] == 1


def test_a_plan_without_its_data(fixed_result: SearchResult, tmp_path: Path, timing: Timing) -> None:
    point = next(p for p in fixed_result.points if p.candidate.placement == "split" and p.candidate.codec == "fast")
    write_plan(fixed_result, point, tmp_path / "plan", keep_data=False)
    profiled_here(tmp_path / "plan", head_s=1.0, tail_s=3.0)
    shown: list[Check] = []
    checks = verify(tmp_path / "plan", step=shown.append)
    assert [(check.name, check.status) for check in checks] == [
        ("hashes", "passed"),
        *((name, "not checked") for name in NAMES[1:]),
    ]
    assert shown == checks
    file = Plan.load(tmp_path / "plan").file
    assert checks[0].text.startswith(f"{len(file.files) + len(file.contents) - 2} files;")
    config = fixed_result.problem.config
    kept = f"whole.onnx (from {config.model}), report-inputs.npz (from {config.data.source})"
    assert {check.text for check in checks[1:]} == {f"written with --no-data, not stored: {kept}"}
    (tmp_path / "plan" / "codec.npz").write_bytes(b"")
    assert statuses(tmp_path / "plan")["hashes"] == "failed"


@pytest.mark.parametrize("field", ["clean_max_bytes", "corrupted_max_bytes", "clean_p95_bytes", "corrupted_p95_bytes"])
def test_the_range_of_payloads_within_two_percent(fixed_copy: Path, field: str) -> None:
    honest = Plan.load(fixed_copy).file.payload_range
    assert honest is not None
    assert honest.corrupted_max_bytes > 0
    planned = getattr(honest, field)
    for factor, status in ((0.95, "failed"), (0.985, "passed")):
        shrunk = {name: int(factor * getattr(honest, name)) for name in (field, field.replace("max", "p95"))}
        change(fixed_copy, payload_range=msgspec.structs.replace(honest, **shrunk))
        assert statuses(fixed_copy)["payload range"] == (status if 0.03 * planned > 4 else "passed"), (factor, planned)
    change(fixed_copy, payload_range=None)
    assert statuses(fixed_copy)["payload range"] == "not checked"
