"""The document of ``splitpoint plan`` from a decision over hand-made points."""

from __future__ import annotations

import io
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from rich.console import Console, RenderableType

from splitpoint.planner.choice.choose import Aim
from splitpoint.planner.cost.message import Channel
from splitpoint.planner.deploy.accuracy import Accuracy
from splitpoint.planner.deploy.task import MetricUse, Task
from splitpoint.planner.output.documents.plan import plan_document
from splitpoint.planner.output.terminal.points import points_table
from splitpoint.planner.search.decide import decide
from splitpoint.profiles.library.catalog import load_device, load_server
from splitpoint.profiles.link.types import FixedLink
from splitpoint.profiles.machine.device import Coder, Serial
from splitpoint.profiles.network.inputs import guess_spec, guess_specs
from splitpoint.profiles.network.model import Tensor

Make = Callable[..., Any]
side = types.SimpleNamespace
OBJECTIVES = ("latency", "payload", "drop")
LINK = FixedLink(name="flat", description="nothing but a rate", downlink_bit_s=1e9, rtt_s=0.0, uplink_bit_s=1e6)

USE = MetricUse(name="top1", unit="share of inputs", definition="share of right inputs", against="labels")


class Inputs:
    """As much of a data set as an answer looks at."""

    def __init__(self, n: int, groups: int) -> None:
        self.n, self.group_count = n, groups

    def __len__(self) -> int:
        return self.n


def outcome(points: Sequence[Any], needs: Any, **changes: Any) -> Any:
    aim = Aim(prefer=changes.get("prefer", "latency"))
    x = Tensor(name="x", shape=(1, 3, 8, 8), dtype="float32", elements=192, bytes=768)
    problem = side(
        graph=side(name="net", parameters=2_500_000, macs=3e8, inputs=(x,), uncounted=changes.get("uncounted", {})),
        split=side(search=Inputs(40, changes.get("search_groups", 40)), report=Inputs(60, changes.get("groups", 60))),
        metric=side(task=Task(name="classify"), use=USE),
        needs=needs,
        link=LINK,
        channel=Channel(link=LINK),
        config=side(objectives=OBJECTIVES, requests_s=0.0),
        notes=("assumed", *changes.get("guess", ())),
        spec=side(kind=changes.get("kind", "image")),
    )
    return side(
        problem=problem,
        profile=side(
            retest_error=changes.get("retest_error", 0.0), host=changes.get("host", load_server("cloud-8core"))
        ),
        notes=("no int8",),
        left_out=changes.get("left_out", {}),
        baselines=tuple(changes.get("baselines", ())),
        points=tuple(points),
        decision=decide(points, needs, OBJECTIVES, aim),
        aim=aim,
        device=load_device("raspberry-pi-4"),
        server=load_server("cloud-8core"),
        tail_runs=7,
        tail_reused=5,
        recalled=0,
    )


def plan(**figures: Any) -> Any:
    made = {"metric": "top1", "value": 0.9, "low": 0.8, "high": 1.0, "drop": 0.0, "drop_low": 0.0, "drop_high": 0.1}
    rest = {"n": 60, "groups": 99, "relative_error": 0.0, "payload_bytes": 10.0, "subset": "report"}
    report = Accuracy(**{**made, **rest, **figures})
    return side(file=side(report=report, payload_range=None, policy=()), sha256="0" * 64)


def plan_answer(*arguments: Any) -> Any:
    """The document as --json prints it."""
    return msgspec.json.decode(msgspec.json.encode(plan_document(*arguments)))


def table_text(table: RenderableType) -> str:
    console = Console(width=100, color_system=None, file=io.StringIO())
    console.print(table)
    return str(console.file.getvalue())  # type: ignore[attr-defined]  # the StringIO above


def three(make_point: Make) -> list[Any]:
    """Fewest bytes last, as found."""
    return [
        make_point(cut="c", payload=900, latency=0.010, drop=0.000, value=0.93, label="q3"),
        make_point(cut="b", payload=300, latency=0.012, drop=0.001, value=0.92, label="q2", variant="int8"),
        make_point(
            cut="a", payload=100, latency=0.030, drop=0.010, value=0.90, label="q1", layer="layer a", head_share=0.5
        ),
    ]


def test_the_front_is_numbered_and_the_recommended_point_and_the_knee_are_marked(
    make_point: Make, make_needs: Make
) -> None:
    needs = make_needs(latency=0.05, drop=0.02)
    found = plan_answer(outcome(three(make_point), needs, prefer="payload"), plan(), Path("out"))
    assert [(row["number"], row["cut"], row["tensor"], row["head_share"], row["notes"]) for row in found["front"]] == [
        (1, "after layer a", "a", 0.5, ["recommended"]),
        (2, "after b", "b", None, ["knee"]),
        (3, "after c", "c", None, []),
    ]
    recommended = found["recommended"]
    assert (recommended["number"], recommended["kind"], recommended["prefer"]) == (1, "split", "payload")
    assert recommended["reason"] == "it is the one that sends the fewest bytes"
    assert recommended["instead"] == []
    assert recommended["by_rate"] == []  # as plan.yaml has it
    assert recommended["parts"]["latency_s"] == recommended["parts"]["head_s"] == 0.030
    assert (found["nearest"], found["would_fit"]) == ([], [])
    assert (found["evaluated"], found["tail_runs"], found["tail_reused"]) == (3, 7, 5)
    assert (found["deadline_s"], found["deadline_share"], found["directory"]) == (0.05, None, "out")
    assert (found["task"]["name"], found["metric"]["definition"]) == ("classify", "share of right inputs")
    assert found["need"] == "latency <= 50 ms · top1 drop <= 2 %"
    assert found["search_set"] == "40 inputs, 40 groups"
    assert found["notes"] == ["assumed", "no int8"]
    assert found["header"].startswith(
        "net (2.5 M parameters, 600 MFLOPs) · 1x3x8x8\nraspberry-pi-4 (4 threads) ──flat ("
    )


def test_the_fastest_is_recommended_with_or_without_a_deadline(make_point: Make, make_needs: Make) -> None:
    for needs in (make_needs(drop=0.02), make_needs(drop=0.02, latency=0.05)):
        found = plan_answer(outcome(three(make_point), needs), plan(), Path("out"))
        assert [row["number"] for row in found["front"] if "recommended" in row["notes"]] == [3]
        assert found["recommended"]["number"] == 3
        assert found["safer"] is None  # it has the highest quality already


def test_the_other_kinds_stand_beside_the_answer_with_their_prices(make_point: Make, make_needs: Make) -> None:
    picture = make_point(placement="server", cut="", codec="jpeg", label="q92", payload=6900, latency=0.005, value=0.93)
    alone = make_point(placement="device", cut="", codec="-", label="-", payload=0, latency=0.030, value=0.97)
    made = outcome([*three(make_point), picture, alone], make_needs(latency=0.025, drop=0.02))
    found = plan_answer(made, plan(), Path("out"))["recommended"]
    assert (found["number"], found["kind"]) == (3, "input")
    assert found["reason"] == (
        "do not split: all on device misses latency by 5 ms; the best split (after c, k q3) is 5 ms slower"
    )
    device, split = found["instead"]
    assert (device["kind"], device["place"], device["number"]) == ("device", "all on device", None)
    assert device["price"] == "6x slower, nothing sent, top1 0.04 higher, misses latency by 5 ms"
    assert (device["gain"], device["misses"]) == (None, ["latency by 5 ms"])
    assert (split["kind"], split["place"], split["codec"], split["rate"]) == ("split", "after c", "k", "q3")
    assert split["number"] == 2
    assert split["price"] == "2x slower, 6 kB less"
    assert (split["gain"], split["uncertainty"], split["misses"]) == (pytest.approx(0.005), 0.0, [])


def test_a_guess_of_the_levels_is_no_note_among_others(make_point: Make, make_needs: Make) -> None:
    needs = make_needs(latency=0.05, drop=0.02)
    for guess, text in guess_specs((1, 3, 8, 8), "float32"):
        found = plan_answer(outcome(three(make_point), needs, guess=[text]), plan(), Path("out"))
        assert (found["guess"], found["notes"]) == (text, ["assumed", "no int8"]), guess
    _, text = guess_spec((1, 64), "float32")  # a tensor's values are not guessed
    found = plan_answer(outcome(three(make_point), needs, guess=[text]), plan(), Path("out"))
    assert (found["guess"], found["notes"]) == (None, ["assumed", text, "no int8"])


def test_a_busy_host_is_named(make_point: Make, make_needs: Make) -> None:
    coders = {"rans": Coder(encode_s_per_symbol=1e-9, decode_s_per_symbol=1e-9, spread=0.4)}
    host = msgspec.structs.replace(load_device("raspberry-pi-4"), name="host", serial=Serial(coders=coders))
    found = plan_answer(outcome(three(make_point), make_needs(drop=0.02), host=host), plan(), Path("out"))
    assert "busy machine: host: measurements of the coders rans differ by up to 40 %" in found["notes"]


def test_the_next_safer_point_is_named(make_point: Make, make_needs: Make) -> None:
    made = outcome(three(make_point), make_needs(latency=0.05), prefer="payload")
    assert plan_answer(made, plan(), Path("out"))["safer"] == {
        "number": 2,
        "cut": "int8: after b",
        "codec": "k",
        "rate": "q2",
    }


def test_the_report_set_is_compared_with_the_floor(make_point: Make, make_needs: Make) -> None:
    made = outcome(three(make_point), make_needs(latency=0.05, drop=0.02), groups=59)
    missed = plan_answer(made, plan(drop=0.05, drop_low=0.03), Path("out"))
    assert missed["contradicted"] == "drop 5 % on the report set (95 %: 3 % or worse), at most 2 % was asked"
    assert (missed["report"]["drop"], missed["report"]["groups"]) == (0.05, 59)
    assert plan_answer(made, plan(drop=0.02), Path("out"))["contradicted"] is None


def test_nothing_feasible_gives_near_misses_and_what_would_fit(make_point: Make, make_needs: Make) -> None:
    found = plan_answer(outcome(three(make_point), make_needs(latency=0.005, drop=0.02)), None, Path("out"))
    assert found["recommended"] is found["report"] is found["contradicted"] is found["safer"] is None
    assert (found["front"], found["directory"]) == ([], None)
    assert [(row["number"], row["cut"], row["notes"]) for row in found["nearest"]] == [
        (None, "after c", ["misses latency by 5 ms"]),
        (None, "after b", ["misses latency by 7 ms"]),
        (None, "after layer a", ["misses latency by 25 ms"]),
    ]
    assert [row["misses"] for row in found["nearest"]] == [["latency"]] * 3
    assert found["would_fit"] == ["latency <= 10 ms"]


def test_baselines_say_what_they_miss(make_point: Make, make_needs: Make) -> None:
    good = make_point(cut="good")
    bad = make_point(cut="bad", latency=0.2, drop=0.3)
    needs = make_needs(latency=0.05, drop=0.02)
    found = plan_answer(outcome([good], needs, baselines=[("one", good), ("two", bad)]), plan(), Path("out"))
    assert [(row["label"], row["number"], row["notes"], row["misses"]) for row in found["baselines"]] == [
        ("one", None, [], []),
        ("two", None, ["misses latency by 150 ms", "misses drop by 28.0 points"], ["latency", "drop"]),
    ]


@pytest.mark.parametrize(
    ("limits", "figures", "missed", "mark"),
    [
        ({"device": {"device flash": 100}}, {"head_file_bytes": 200}, "device flash", "flash"),
        ({"device": {"device memory": 100}}, {"head_peak_bytes": 200}, "device memory", "memory"),
        ({"latency": 0.001}, {}, "latency", "late"),
        ({"drop": 0.01}, {"drop": 0.2}, "drop", "lossy"),
        ({"quality": 0.99}, {"value": 0.5}, "quality", "lossy"),
        ({"payload": 1}, {}, "payload", "large"),
        ({"energy": 0.1}, {"compute_j": 1.0, "radio_j": 0.0, "idle_j": 0.0}, "energy", "energy"),
        ({"cost": 0.1}, {"server_usd": 1.0, "link_usd": 0.0}, "cost", "cost"),
        ({"encode_time": 0.001}, {"encode_s": 0.1}, "encode time", "coder"),
        ({"frame_rate": 1e6}, {}, "frame rate", "slow"),
    ],
)
def test_a_miss_has_the_same_true_name_in_every_table(
    make_point: Make, make_needs: Make, limits: Any, figures: Any, missed: str, mark: str
) -> None:
    point = make_point(placement="device", cut="", **figures)
    document = plan_document(outcome([point], make_needs(**limits), baselines=[("alone", point)]), None, Path("out"))
    (baseline,), (near,) = document.baselines, document.nearest
    assert (baseline.misses, baseline.notes) == (near.misses, near.notes)
    assert near.misses == (missed,)
    shown = [
        table_text(points_table([row], "t", share=None, width=100)).splitlines()[-1].split()[-1]
        for row in (baseline, near)
    ]
    assert shown == [mark, mark]


def test_what_can_never_be_sent_says_why(make_point: Make, make_needs: Make) -> None:
    never = make_point(infeasible="1 kB are over the 222 bytes of a message", latency=float("inf"))
    found = plan_answer(outcome([never], make_needs(), baselines=[("one", never)]), None, Path("out"))
    (near,), (baseline,) = found["nearest"], found["baselines"]
    assert near["notes"] == ["cannot be sent: 1 kB are over the 222 bytes of a message"]
    assert baseline["notes"] == near["notes"]
    assert near["misses"] == baseline["misses"] == ["infeasible"]
    assert near["latency_s"] is near["latency_parts_s"]["head"] is None


def test_operators_without_a_count_and_what_of_a_modelled_sides_time_is_their_bound(
    make_point: Make, make_needs: Make
) -> None:
    result = outcome([make_point()], make_needs(), uncounted={"If": 1, "Foo": 1})
    result.problem.graph.nodes = [side(index=i, name=f"n{i}", macs=macs) for i, macs in enumerate([None, 5, None])]
    seconds = [0.01, 0.18, 0.01]
    result.profile.nodes = [side(name=f"n{i}", seconds=value) for i, value in enumerate(seconds)]
    result.profile.whole = side(min_s=0.2)
    parties = [
        side(device=side(name=name), how=how, run_s=0.01, node_s=np.array([0.02, 0.36, 0.03]))
        for name, how in (("camera", "modelled"), ("host", "profiled"))
    ]
    result.given = side(edge=parties[0], server=parties[1])
    notes = plan_answer(result, plan(), Path("out"))["notes"]
    assert notes[2:] == [
        "2 operators not counted: Foo (1), If (1); 10 % of the time measured on this host",
        "camera: 50 ms of 420 ms for the whole network are an upper bound for operators that are not counted,"
        " not a prediction",
    ]
    result.given.server.how = "modelled"
    result.given.server.device.name = "camera"
    assert plan_answer(result, plan(), Path("out"))["notes"] == notes  # both sides one device: said once


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"search_groups": 15}, None),  # a quarter of the 60 inputs of the report set
        ({"search_groups": 14}, "demonstration: n = 60 scenes in the report set, 14 in the search set"),
        ({"groups": 1}, "demonstration: n = 1 scene in the report set, 40 in the search set"),
        ({"groups": 3}, "demonstration: n = 3 scenes in the report set, 40 in the search set"),
        ({"retest_error": 0.05}, None),
        ({"retest_error": 0.08}, "noisy host: the retest error of the profile is 8 %"),
        ({"left_out": {"b": "slow", "a": "slow"}}, "left out a, b: slow"),
        ({"left_out": dict.fromkeys("cba", "slow")}, "left out a, b, c: slow"),
        ({"left_out": dict.fromkeys("edcba", "slow")}, "left out a, b, c and 2 more: slow"),
        (
            {"kind": "tensor"},
            "the input is a tensor: picture codecs are left out, fp16 and 8-bit codecs of the input take part",
        ),
    ],
)
def test_warnings(make_point: Make, make_needs: Make, changes: dict[str, Any], text: str | None) -> None:
    found = plan_answer(outcome([make_point()], make_needs(), **changes), plan(), Path("out"))
    assert found["notes"] == ["assumed", "no int8", *([] if text is None else [text])]


def test_codecs_left_out_for_different_reasons_stand_apart(make_point: Make, make_needs: Make) -> None:
    made = outcome([make_point()], make_needs(), left_out={"b": "slow", "a": "lossy", "c": "slow"})
    assert plan_answer(made, plan(), Path("out"))["notes"][2:] == ["left out a: lossy", "left out b, c: slow"]


def test_halves_that_there_are_say_how_they_were_timed(make_point: Make, make_needs: Make) -> None:
    both = make_point(tail_s=0.01, head_how="measured", head_spread_s=0.001, tail_how="modelled")
    found = plan_answer(outcome([both], make_needs()), plan(), Path("out"))
    assert found["recommended"]["halves"] == {
        "head": {"how": "measured", "spread_s": 0.001},
        "tail": {"how": "modelled", "spread_s": None},
    }
    alone = make_point(placement="device", head_how="profiled", tail_how="modelled")  # no seconds of a tail
    found = plan_answer(outcome([alone], make_needs()), plan(), Path("out"))
    assert found["recommended"]["halves"] == {"head": {"how": "profiled", "spread_s": None}, "tail": None}
