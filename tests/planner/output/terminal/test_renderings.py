"""What the main tables look like at 80 columns; ``REGENERATE=1`` writes the files again, and the diff is the review."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console, RenderableType

from splitpoint.planner.answers.relax import Relaxation
from splitpoint.planner.choice.errors import SpeedErrors
from splitpoint.planner.deploy.accuracy import Accuracy, Figure
from splitpoint.planner.deploy.schema import Alternative, Answer, PayloadRange, PolicyRow
from splitpoint.planner.deploy.task import MetricUse, Task
from splitpoint.planner.output.documents.calibrate import CalibrateDocument, MeasuredRate
from splitpoint.planner.output.documents.cuts import CutRow, CutsDocument, RefusedPlace
from splitpoint.planner.output.documents.latency import Half, Halves, LatencySum
from splitpoint.planner.output.documents.plan import PlanDocument, Recommendation, SaferPoint
from splitpoint.planner.output.documents.point import PointRow, point_row
from splitpoint.planner.output.documents.profile import ModuleRow, OperatorTime, ProfileDocument
from splitpoint.planner.output.documents.show import ShowDocument
from splitpoint.planner.output.documents.tensors import TensorRow, TensorsPart
from splitpoint.planner.output.terminal.answer import answer_title
from splitpoint.planner.output.terminal.calibrate import calibrate_view
from splitpoint.planner.output.terminal.cuts import cuts_view
from splitpoint.planner.output.terminal.plan import plan_view
from splitpoint.planner.output.terminal.profile import profile_view
from splitpoint.planner.output.terminal.show import show_view
from splitpoint.planner.plandir.front import front_row
from splitpoint.profiles.network.inputs import guess_spec

DOUBT = "latency <= 55 ms is not certain to hold (39 to 57.1 ms): run splitpoint calibrate on the board"
GOLDEN = Path(__file__).parents[1] / "golden"
WIDTH = 80
Make = Callable[..., Any]


def rendered(view: RenderableType) -> str:
    console = Console(width=WIDTH, color_system=None, force_terminal=False, _environ={}, file=io.StringIO())
    console.print(view, crop=False)  # as the commands do
    text = console.file.getvalue()  # type: ignore[attr-defined]  # the StringIO above
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines())


def check_golden(name: str, view: RenderableType) -> str:
    """Compare with golden/NAME.txt, or write it; gives the text."""
    text, path = rendered(view), GOLDEN / f"{name}.txt"
    if os.environ.get("REGENERATE"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")
    assert max(map(len, text.splitlines())) <= WIDTH
    return text


def row(make_point: Make, number: int | None = None, *, baseline: str | None = None, **figures: Any) -> PointRow:
    notes, misses = figures.pop("notes", ()), figures.pop("misses", ())
    doubted = figures.pop("not_certain", False)
    figure = front_row(make_point(**figures), SpeedErrors(device=1.2), number=number)
    return point_row(figure, label=baseline, notes=notes, misses=misses, not_certain=doubted)


def baselines(make_point: Make) -> tuple[PointRow, ...]:
    alone: dict[str, Any] = {
        "placement": "device",
        "cut": "",
        "codec": "-",
        "label": "-",
        "head_share": 1.0,
        "payload": 0.0,
        "latency": 0.71,
    }
    picture: dict[str, Any] = {
        "placement": "server",
        "cut": "",
        "codec": "png",
        "label": "lossless",
        "payload": 31_200.0,
    }
    return (
        row(make_point, baseline="all on device", **alone),
        row(make_point, baseline="send PNG", **picture, latency=0.0519, value=1.0, low=0.86),
    )


def accuracy(**changes: Any) -> Accuracy:
    figures: dict[str, Any] = {"metric": "top1", "value": 0.9, "drop": 0.012, "low": 0.81, "high": 0.96}
    figures |= {"drop_low": -0.02, "drop_high": 0.05}
    figures |= {
        "n": 60,
        "groups": 1,
        "relative_error": 0.1081,
        "payload_bytes": 17_000.0,
    }
    return Accuracy(**{**figures, "subset": "report", **changes})


PARTS = LatencySum(
    latency_s=0.0471,
    prepare_s=0.00259,
    head_s=0.0252,
    encode_s=0.00903,
    link_s=0.0028,
    wait_s=0.0,
    decode_s=0.00186,
    tail_s=0.00567,
)
RANGE = PayloadRange(
    clean_p95_bytes=50_000,
    clean_max_bytes=52_000,
    n=36,
    corrupted_p95_bytes=70_000,
    corrupted_max_bytes=81_000,
    corruptions=("inverted",),
    corrupted_n=32,
)
USE = MetricUse(
    name="top1",
    unit="share of inputs",
    definition="share of inputs whose label has the highest score",
    against="labels",
)
HALVES = Halves(head=Half(how="measured", spread_s=0.0004), tail=Half(how="modelled", spread_s=None))

POLICY = (
    PolicyRow(from_bit_s=5e4, to_bit_s=4.64e6, number=None, what=None),
    PolicyRow(from_bit_s=4.64e6, to_bit_s=5e7, number=3, what="int8: x, fast q1"),
)
LOOSER = "latency <= 60.5 ms instead of 55 ms"
RELAXED = Relaxation(limit="latency", asked=0.055, relaxed=0.0605, text=LOOSER, what="x, fast q1", price="1.1x slower")
INSTEAD = (
    Alternative(
        kind="device",
        place="all on device",
        codec="-",
        rate="-",
        number=None,
        price="15x slower, nothing sent, misses latency by 655 ms",
        gain=None,
        uncertainty=None,
        payload_bytes=0.0,
        latency_s=0.71,
        value=0.9,
        misses=("latency by 655 ms",),
    ),
    Alternative(
        kind="input",
        place="send picture",
        codec="png",
        rate="lossless",
        number=4,
        price="1.1x slower, 13 kB more, top1 0.10 higher",
        gain=0.0048,
        uncertainty=0.001,
        payload_bytes=31_200.0,
        latency_s=0.0519,
        value=1.0,
        misses=(),
    ),
)


def front(make_point: Make) -> tuple[PointRow, ...]:
    shared: dict[str, Any] = {"cut": "features.3.block.0/add", "codec": "kltq-rans", "side_bytes": 55_000}
    shared |= {"layer": "features.3.block", "head_share": 0.134}
    first = {**shared, "payload": 18_200.0, "latency": 0.0471, "deadline_link_s": 0.005, "not_certain": True}
    other: dict[str, Any] = {"variant": "int8", "cut": "x", "layer": "", "head_share": 0.0, "codec": "fast"}
    return (
        row(make_point, 1, **first, rate=0, notes=["recommended"]),
        row(make_point, 2, **shared, rate=1, payload=22_200.0, latency=0.0476, notes=["knee"]),
        row(make_point, 3, **other, payload=46_200.0, latency=0.021),
    )


def plan_document(make_point: Make, **changes: Any) -> PlanDocument:
    values: dict[str, Any] = {
        "header": "net (4.7 M parameters, 771 MFLOPs) · 1x3x224x224\npi (4 threads) ──wifi-5──> cloud",
        "task": Task(name="classify", outputs=("scores",)),
        "metric": USE,
        "need": "latency <= 55 ms · top1 drop <= 2 %",
        "guess": None,
        "notes": ("demonstration: n = 1 scene in the report set, 2 in the search set",),
        "baselines": baselines(make_point),
        "front": front(make_point),
        "search_set": "24 inputs, 2 groups",
        "deadline_s": 0.055,
        "deadline_share": None,
        "recommended": Recommendation(
            number=1,
            kind="split",
            prefer="latency",
            not_certain=DOUBT,
            reason="it is the fastest; all on device misses latency by 655 ms; send picture, png is 4.8 ms slower",
            instead=INSTEAD,
            by_rate=POLICY,
            parts=PARTS,
            halves=HALVES,
        ),
        "relax": (),
        "hypervolume": (0.0, 0.25, 0.5, 1.0),
        "nearest": (),
        "would_fit": (),
        "report": accuracy(),
        "contradicted": None,
        "safer": None,
        "evaluated": 120,
        "tail_runs": 7,
        "tail_reused": 5,
        "recalled": 0,
        "payload_range": RANGE,
        "directory": "plan",
        "kept": None,
        "left_out": 14,
        "sha256": "0" * 64,
    }
    return PlanDocument(**{**values, **changes})


def test_a_plan_with_a_front(make_point: Make) -> None:
    check_golden("plan", plan_view(plan_document(make_point), width=WIDTH))


def test_an_answer_that_is_no_split_says_so(make_point: Make) -> None:
    reason = "do not split: the best split (after c, k q1) is 2 ms faster, within the ± 9 ms"
    picture = row(
        make_point, 1, placement="server", cut="", codec="jpeg", label="q92", head_share=0.0, notes=["recommended"]
    )
    recommended = plan_document(make_point).recommended
    assert recommended is not None
    recommended = msgspec.structs.replace(recommended, kind="input", reason=reason, instead=())
    text = rendered(plan_view(plan_document(make_point, front=(picture,), recommended=recommended), width=WIDTH))
    assert "Answer: send picture, jpeg q92\n" in text
    assert "  why      do not split: the best split" in text
    alone = row(make_point, 1, placement="device", cut="", codec="-", label="-", variant="int8")
    assert answer_title(alone, "device") == "run all of it on the device (int8)"


def test_a_guessed_input_stands_in_a_box_above_the_answer(make_point: Make) -> None:
    guess = guess_spec((1, 3, 224, 224), "float32")[1]
    text = rendered(plan_view(plan_document(make_point, guess=guess), width=WIDTH))
    lines = text.splitlines()
    top = next(i for i, line in enumerate(lines) if "THE INPUT WAS GUESSED" in line)
    assert lines[top].startswith("┏━")
    assert "ASSUMED a rgb picture 224x224, NCHW, levels 0..1" in lines[top + 1]
    assert 0 < next(i for i, line in enumerate(lines) if line.startswith("Answer:")) - top <= 6
    assert "GUESSED" not in rendered(plan_view(plan_document(make_point), width=WIDTH))


def test_a_plan_that_the_report_set_contradicts_with_a_share_of_cases(make_point: Make) -> None:
    safer = SaferPoint(number=2, cut="features.3.block.0/add", codec="kltq-rans", rate="q1")
    document = plan_document(
        make_point,
        front=front(make_point)[:2],
        deadline_share=0.99,
        contradicted="drop 5 % on the report set, at most 2 % was asked",
        safer=safer,
    )
    check_golden("contradicted", plan_view(document, width=WIDTH))


def test_nothing_fits(make_point: Make) -> None:
    late: dict[str, Any] = {"notes": ["misses latency by 31.3 ms"], "misses": ["latency"]}
    lossy: dict[str, Any] = {
        "notes": ["misses latency by 2 ms", "misses drop by 8.0 points"],
        "misses": ["latency", "drop"],
    }
    reason = "cannot be sent: 900 kB are over the 222 bytes of a message"
    never: dict[str, Any] = {"notes": [reason], "misses": ["infeasible"], "latency": math.inf}
    document = plan_document(
        make_point,
        baselines=baselines(make_point),
        front=(),
        recommended=None,
        nearest=(
            row(make_point, cut="x", codec="fast", latency=0.086, **late),
            row(make_point, cut="x", codec="fast", latency=0.057, drop=0.1, value=0.8, **lossy),
            row(make_point, placement="server", cut="", codec="png", label="lossless", payload=9e5, **never),
        ),
        would_fit=("latency <= 86.3 ms", "drop <= 10 %"),
        report=None,
        directory=None,
    )
    text = check_golden("nothing-fits", plan_view(document, width=WIDTH))
    assert "late lossy" in text  # both limits that the second point misses


def test_a_stored_plan(make_point: Make) -> None:
    document = ShowDocument(
        header="net · pi ──wifi-5──> cloud",
        task=Task(name="classify"),
        metric=USE,
        need="latency <= 55 ms",
        sha256="0" * 64,
        payload_range=RANGE,
        created="2026-11-27T18:00:00+00:00 by splitpoint 0.1.0",
        point=1,
        variant="int8",
        cut="send input",
        tensor="x",
        head_share=0.0,
        answer=Answer(
            number=1, kind="split", prefer="latency", reason="it is the fastest", instead=INSTEAD, not_certain=DOUBT
        ),
        codec="fast 6 bit",
        parts=PARTS,
        latency_low_s=0.0390,
        latency_high_s=0.0571,
        halves=HALVES,
        how="modelled",
        payload_bytes=46_200.0,
        channel_uses=None,
        symbols=None,
        search=accuracy(subset="search", groups=2),
        report=accuracy(
            also=(
                Figure(name="top5", value=0.98, drop=0.01, low=0.914, high=1.0),
                Figure(name="MAE", value=31.25, drop=-2.0),
            )
        ),
        front=front(make_point),
        policy=POLICY,
        relax=(RELAXED,),
        hypervolume=(),
        misses=("misses latency by 1 ms",),
        notes=("left out choi-baf: no training",),
        left_out=1,
        deadline_s=None,
        deadline_share=None,
    )
    check_golden("show", show_view(document, width=WIDTH))


def cuts_document() -> CutsDocument:
    sizes = {"x": (3, 224, 224), "stem.conv": (32, 112, 112), "flat": (1280,)}
    rows = []
    for index, (name, shape) in enumerate(sizes.items()):
        elements = 1
        for side in shape:
            elements *= side
        rows.append(
            CutRow(
                index=index,
                layer=name,
                after="input" if index == 0 else f"{name}/relu",
                tensors=(name,),
                shapes=((1, *shape),),
                dtypes=("float32",),
                elements=elements,
                bytes=4 * elements,
                head_macs=index * 100_000_000,
                head_flops=index * 200_000_000,
                head_share=index / 2,
                head_parameters=index * 1000,
                head_weight_bytes=index * 4000,
            )
        )
    return CutsDocument(
        model="net",
        macs=200_000_000,
        parameters=2000,
        cuts=tuple(rows),
        refused=(
            RefusedPlace(tensors=("a",), after="branch", reason="2 tensors cross"),
            RefusedPlace(tensors=("b",), after="loop", reason="a loop reads 'h'"),
        ),
        uncounted={"Erf": 1},
    )


def test_cuts() -> None:
    text = check_golden("cuts", cuts_view(cuts_document(), refused=False, width=WIDTH))
    assert "1 operator not counted: Erf (1)" in text
    every = rendered(cuts_view(cuts_document(), refused=True, width=WIDTH))
    assert "refused after branch: 2 tensors cross\nrefused after loop: a loop reads 'h'\n" in every


def test_a_profile_with_fvcores_counts_beside_ours() -> None:
    document = ProfileDocument(
        lines=("net: 2 operators",),
        slowest=(
            OperatorTime(name="conv", op_type="Conv", macs=10**6, weight_bytes=4000, seconds=0.002, share=0.8),
            OperatorTime(name="erf", op_type="Erf", macs=None, weight_bytes=0, seconds=0.0005, share=0.2),
        ),
        modules=(
            ModuleRow(module_type="Conv2d", modules=3, macs=10**6, fvcore_macs=10**6, reason=""),
            ModuleRow(
                module_type="Linear", modules=1, macs=3000, fvcore_macs=1000, reason="fvcore leaves the bias out"
            ),
            ModuleRow(
                module_type="BatchNorm2d", modules=2, macs=0, fvcore_macs=500, reason="folded into the convolution"
            ),
        ),
    )
    lines = check_golden("profile", profile_view(document, detail=False)).splitlines()
    (linear,) = (line for line in lines if "Linear" in line)
    (norm,) = (line for line in lines if "BatchNorm2d" in line)
    assert "+2 kMAC" in linear
    assert "-500 MAC" in norm


def tensor_row(**changes: Any) -> TensorRow:
    values: dict[str, Any] = {
        "index": 2,
        "layer": "block.1",
        "after": "conv",
        "tensor": "t",
        "shape": (1, 6, 8, 8),
        "elements": 384,
    }
    values |= {"zero_fraction": 0.48, "low": 0.0, "high": 2.5, "histogram": (64, 16, 4, 1), "channels": 6}
    values |= {"entropy_bit": {"2": 1.1, "4": 2.75}, "sqnr_db": {"2": 9.5, "4": None}, "correlation": 0.125}
    values |= {"components_95": 3, "components_99": 5, "spectrum": (4.0, 1.0)}
    return TensorRow(**{**values, "scalar_estimated_bit": 1600.0, "klt_estimated_bit": 800.0, **changes})


def test_tensors_at_the_cuts() -> None:
    unknown = dict.fromkeys(
        ("spectrum", "correlation", "components_95", "components_99", "klt_estimated_bit", "scalar_estimated_bit")
    )
    rows = (tensor_row(), tensor_row(index=3, shape=(1, 6), **unknown))
    part = TensorsPart(inputs=4, target_db=20.0, notes=("the input is assumed to be scaled to 0..1",), cuts=rows)
    text = check_golden("tensors", profile_view(ProfileDocument(data=part), detail=False))
    assert "100 B" in text  # the smaller of the estimates, 800 bits
    check_golden("tensors-detail", profile_view(ProfileDocument(data=part), detail=True))


def test_a_calibration() -> None:
    rates = (
        MeasuredRate(name="dense convolutions", value="40 GMAC/s", spread=0.25),
        MeasuredRate(name="loading and the first inference", value="50 ms", spread=None),
    )
    document = CalibrateDocument(
        rows=rates, fingerprint="ab12", warning="noisy machine", usable=True, written="pi.yaml", next="plan"
    )
    check_golden("calibrate", calibrate_view(document))
    quiet = rendered(calibrate_view(msgspec.structs.replace(document, warning=None)))
    assert "noisy" not in quiet
