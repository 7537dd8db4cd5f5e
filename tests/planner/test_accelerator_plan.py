"""Cuts and plans for a device whose accelerator runs a part of the network: what falls back, what is left out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

import splitpoint
from splitpoint.planner.flow import plan
from splitpoint.planner.setup.config import SearchConfig, read_config
from splitpoint.planner.setup.loading import load_problem

Run = Callable[..., tuple[int, str, str]]

NPU = """
name: my-npu
description: an accelerator of a user's
runtime: {name: any, provider: npu, threads: 1, precision: int8}
compute:
  dense_macs_s: 50 GMAC/s
  pointwise_macs_s: 30 GMAC/s
  depthwise_macs_s: 5 GMAC/s
  matmul_macs_s: 18 GMAC/s
  bytes_s: 2 GB/s
  node_overhead_s: 8 us
  run_overhead_s: 50 us
accelerator: %s
"""
FALLBACK = "{lacks: [Relu], fallback: {cpu: raspberry-pi-4, crossing_s: 100 us, crossing_bytes_s: 320 MB/s}}"


def npu(folder: Path, accelerator: str) -> Path:
    path = folder / "npu.yaml"
    path.write_text(NPU % accelerator, encoding="utf-8")
    return path


def test_cuts_say_which_operators_fall_back(home: Path, run: Run, tmp_path: Path) -> None:
    whole = splitpoint.cuts(home / "model.onnx", device=str(npu(tmp_path, "{}")), server="cloud-8core")
    device = str(npu(tmp_path, FALLBACK))
    mixed = splitpoint.cuts(home / "model.onnx", device=device, server="cloud-8core")
    assert [cut.layer for cut in mixed.cuts] == [cut.layer for cut in whole.cuts]
    assert whole.units == ()
    assert {cut.fallen_back for cut in whole.cuts} == {0}
    counts = [cut.fallen_back or 0 for cut in mixed.cuts]
    assert counts == sorted(counts)
    assert counts[-1] >= 1
    for alone, cut in zip(whole.cuts, mixed.cuts, strict=True):
        assert alone.head_s is not None
        assert cut.head_s is not None
        assert (cut.head_s > alone.head_s) == ((cut.fallen_back or 0) > 0)  # a Pi's Relu and the way there take longer
    assert "fall back to its CPU (raspberry-pi-4)" in mixed.units[0] or "falls back" in mixed.units[0]
    said = " ".join(run("cuts", home / "model.onnx", "--device", device, "--server", "cloud-8core")[1].split())
    assert "on CPU" in said
    assert "back to its CPU (raspberry-pi-4)" in said


def test_cuts_that_an_accelerator_refuses_are_among_the_refused_places(home: Path, tmp_path: Path) -> None:
    device = str(npu(tmp_path, "{lacks: [Relu]}"))
    found = splitpoint.cuts(home / "model.onnx", device=device, server="cloud-8core")
    everywhere = splitpoint.cuts(home / "model.onnx")
    reasons = [place.reason for place in found.refused if "my-npu" in place.reason]
    assert len(found.cuts) + len(reasons) == len(everywhere.cuts)
    assert all("Relu" in reason and reason.endswith("not run by my-npu") for reason in reasons)
    assert f"{len(reasons)} cut" in found.units[0]
    assert "left out" in found.units[0]


def planned(run: Run, home: Path, out: Path, *flags: Any) -> dict[str, Any]:
    options = ("--profile", home / "fixed.yaml", "--evaluations", 4, "--server", "cloud-8core", "--out", out)
    code, said, err = run("plan", home / "labelled.yaml", *options, *flags, "--json")
    assert code in (0, 1), err
    return dict(json.loads(said))


def test_a_plan_says_what_falls_back_and_show_repeats_it(home: Path, run: Run, tmp_path: Path) -> None:
    document = planned(run, home, tmp_path / "plan", "--device", npu(tmp_path, FALLBACK))
    (note,) = [note for note in document["notes"] if "back to its CPU (raspberry-pi-4)" in note]
    shown = json.loads(run("show", tmp_path / "plan", "--json")[1])
    assert note in shown["notes"]
    assert " ".join(note.split()) in " ".join(run("show", tmp_path / "plan", "--notes")[1].split())


def test_a_plan_for_an_accelerator_of_int8_alone_runs_no_float_head(home: Path, run: Run, tmp_path: Path) -> None:
    document = planned(run, home, tmp_path / "plan", "--device", npu(tmp_path, "{takes: [int8]}"))
    (note,) = [note for note in document["notes"] if "not run by my-npu" in note]
    assert note.endswith("precisions: [fp32, int8] adds an int8 network")
    (whole,) = [row for row in document["baselines"] if row["placement"] == "device"]
    assert "infeasible" in json.dumps(whole)
    heads = [row for row in document["front"] if row["placement"] == "split" and row["latency_parts_s"]["head"] > 0]
    assert heads == []


def test_the_int8_network_that_the_planner_makes_runs_there(fixed_home: Path, tmp_path: Path) -> None:
    config = msgspec.structs.replace(
        read_config(fixed_home / "labelled.yaml"),
        device=str(npu(tmp_path, "{takes: [int8]}")),
        server="cloud-8core",
        precisions=("fp32", "int8"),
        search=SearchConfig(evaluations=4, codecs=("raw",), max_cuts=3, race=False),
    )
    result = plan(load_problem(config), stored_profile=fixed_home / "fixed.yaml")
    given, int8 = result.networks
    assert (given.name, int8.name) == ("given", "int8")
    assert [cut.head for cut in given.cuts.cuts] == [()]  # nothing of the float network runs there
    assert len(int8.cuts.cuts) > 1
    assert int8.edge.refusal(range(len(int8.graph.nodes))) is None
    heads = [point for point in result.points if point.cost.head_s > 0]
    assert {point.candidate.variant for point in heads if point.cost.infeasible is None} == {"int8"}
    assert {point.candidate.variant for point in heads if point.cost.infeasible is not None} <= {"given"}
