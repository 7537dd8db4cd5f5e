"""``splitpoint what-if`` and ``splitpoint map`` as people type them: answers, exit codes, what is worth measuring."""

from __future__ import annotations

import itertools
import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def plan(fixed_plan: Path) -> Path:
    return fixed_plan


def document(run: Run, *arguments: object) -> dict[str, Any]:
    code, out, err = run(*arguments, "--json")
    assert out, (code, err)
    found: dict[str, Any] = json.loads(out)
    return found


def test_without_flags_it_is_the_answer_that_show_prints(run: Run, plan: Path) -> None:
    shown, asked = document(run, "show", plan), document(run, "what-if", plan)
    assert asked["row"]["number"] == shown["answer"]["number"]
    assert (asked["reason"], asked["instead"]) == (shown["answer"]["reason"], shown["answer"]["instead"])
    assert asked["relax"] == shown["relax"]


def test_a_range_has_the_rows_of_the_plans_policy(run: Run, plan: Path) -> None:
    policy = document(run, "show", plan)["policy"]
    low, high = policy[0]["from_bit_s"], policy[-1]["to_bit_s"]
    rows = document(run, "what-if", plan, "--link-rate", f"{low} bit/s..{high} bit/s")["rows"]
    assert [(row["low"], row["high"], row["number"], row["what"]) for row in rows] == [
        (row["from_bit_s"], row["to_bit_s"], row["number"], row["what"]) for row in policy
    ]
    for before, after in itertools.pairwise(rows):
        assert before["latency_low_s"] is None or before["latency_low_s"] >= before["latency_high_s"]
        assert before["high"] == after["low"]


def test_nothing_that_fits_is_unmet_and_says_what_would_fit(run: Run, plan: Path) -> None:
    code, out, _ = run("what-if", plan, "--deadline", "1us")
    assert code == 1
    assert "No measured point meets latency <= 1 µs" in out
    assert "would fit with latency <=" in out
    code, out, _ = run("what-if", plan, "--deadline", "1us", "--link-rate", "1..2Mbit/s")
    assert (code, "nothing meets every limit" in out) == (1, True)


@pytest.mark.parametrize(
    ("command", "flags", "code", "message"),
    [
        ("what-if", ("--link-rate", "1Mbit/s", "--snr", "3dB"), 2, "--snr: give a rate or an SNR"),
        ("what-if", ("--link-rate", "fast"), 2, "--link-rate: expected a rate"),
        ("what-if", ("--prefer", "speed"), 2, "--prefer: expected one of"),
        ("what-if", ("--snr", "3dB"), 3, "has no signal-to-noise ratio"),
        ("what-if", ("--device", "raspbery-pi-4"), 3, "Did you mean 'raspberry-pi-4'"),
        ("what-if", ("--min-cosine", "0.9"), 3, "has no cosine"),
        ("what-if", ("--deadline-share", "99%"), 3, "needs a deadline"),
        ("map", ("--speeds", "--devices", "pixel-4"), 2, "--speeds: rows are devices"),
        ("map", ("--link-rates", "1,2"), 2, "--link-rates: expected a rate"),
    ],
)
def test_what_cannot_be_asked(
    run: Run, plan: Path, command: str, flags: tuple[str, ...], code: int, message: str
) -> None:
    got, _, err = run(command, plan, *flags)
    assert (got, message in err) == (code, True), err


def test_a_plan_without_its_measurements(run: Run, fixed_copy: Path) -> None:
    (fixed_copy / "measured.bin").write_bytes(b"changed")
    for command in ("what-if", "map", "show"):
        code, _, err = run(command, fixed_copy)
        assert (code, "measured.bin is not the file this plan was written with" in err) == (3, True)


def test_the_command_that_measures_what_could_win_runs(
    run: Run, fixed_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    fixed = ("--profile", fixed_home / "fixed.yaml")
    few = ("plan", fixed_home / "labelled.yaml", *fixed, "--evaluations", 4, "--max-drop", "50%", "--out", "plan")
    assert run(*few)[0] in (0, 1)  # 1: the report set contradicts
    flags = ("--link-rate", "1Gbit/s", "--prefer", "payload", "--max-device-memory", "12kB", "--device", "pixel-4")
    asked = document(run, "what-if", "plan", *flags)
    part = asked["unmeasured"]
    assert part["count"] >= len(part["first"]) == 3
    words = shlex.split(part["command"])
    assert words[:3] == ["splitpoint", "plan", "plan/config.yaml"]
    assert "lte-cat1@1000Mbit/s" in words
    code, out, err = run(*words[1:], *fixed, "--evaluations", 200, "--json")
    assert code in (0, 1), err
    planned = json.loads(out)
    assert planned["recommended"]["prefer"] == "payload"
    best = planned["front"][planned["recommended"]["number"] - 1]["payload_bytes"]
    assert best < asked["row"]["payload_bytes"]  # one of them was better
    again = document(run, "what-if", "DIR")
    assert (again["row"]["payload_bytes"], again["unmeasured"]["count"]) == (best, 0)


def test_the_map_of_a_plan_and_of_its_configuration_have_the_same_axes(run: Run, plan: Path, fixed_home: Path) -> None:
    shown = document(run, "map", plan, "--devices", "host,pixel-4", "--link-rates", "1Mbit/s,2Mbit/s")
    assert {row["device"] for row in shown["rows"]} == {"made by hand", "pixel-4"}
    assert shown["rates_bit_s"] == [1e6, 2e6]
    assert all(len(row["cells"]) == 2 for row in shown["rows"])
    every = document(run, "map", plan)
    assert len(every["rows"]) >= 8
    assert every["answer"].endswith(".")
    fresh = document(run, "map", fixed_home / "labelled.yaml", "--speeds")
    assert [row["device"] for row in fresh["rows"]][::8] == ["x1/16", "x16"]


def test_a_map_of_a_model_needs_its_data(run: Run, fixed_home: Path) -> None:
    code, _, err = run("map", fixed_home / "model.onnx")
    assert (code, "--data: a model needs sample inputs" in err) == (2, True)
