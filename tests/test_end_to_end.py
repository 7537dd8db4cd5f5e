"""The whole tool on a small network: plan, verify, export, two processes, JSON."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import splitpoint.planner.plandir.writing
from splitpoint import Plan
from splitpoint.planner.flow import plan
from splitpoint.planner.setup.config import read_config
from splitpoint.planner.setup.loading import load_problem

CLASSES, SIDE = 6, 16  # of the small network in planning.py
Run = Callable[..., tuple[int, str, str]]
Pictures = NDArray[np.uint8]  # (N, H, W, 3)


def test_two_runs_with_a_stored_profile_and_seed_agree(home: Path, run: Run, tmp_path: Path) -> None:
    texts = []
    for name in ("a", "b"):
        arguments = ("plan", home / "labelled.yaml", "--profile", home / "fixed.yaml", "--out", tmp_path / name)
        code, _, err = run(*arguments)
        assert code == 0, err
        lines = (tmp_path / name / "plan.yaml").read_text().splitlines()
        texts.append(
            ([line for line in lines if not line.startswith("created:")], (tmp_path / name / "front.csv").read_text())
        )
    assert texts[0] == texts[1]
    assert len(texts[0][1].splitlines()) > 24


def test_verify_passes_and_says_what_it_did_not_check(split_plan: Path, run: Run) -> None:
    code, out, _ = run("verify", split_plan, "--json")
    answer = json.loads(out)
    assert code == 0
    assert {check["name"]: check["status"] for check in answer["checks"]} == {
        "hashes": "passed",
        "exactness": "passed",
        "symbols": "passed",
        "payload": "passed",
        "payload range": "passed",
        "top1": "passed",
        "latency": "not checked",
    }
    assert "raspberry-pi-4" in answer["checks"][-1]["text"]


def test_head_and_tail_in_two_processes_that_share_only_their_files(
    split_plan: Path, tmp_path: Path, pictures: Pictures
) -> None:
    device, server = tmp_path / "device", tmp_path / "server"
    for folder, names in (
        (device, ("plan.yaml", "head.onnx", "codec.npz")),
        (server, ("plan.yaml", "tail.onnx", "codec.npz")),
    ):
        folder.mkdir()
        for name in names:
            shutil.copy(split_plan / name, folder / name)
    np.save(device / "picture.npy", pictures[3])
    _python(
        "from splitpoint import Plan; import numpy as np; "
        "open('payload', 'wb').write(Plan.load('.').head(np.load('picture.npy')))",
        device,
    )
    shutil.copy(device / "payload", server / "payload")
    _python(
        "from splitpoint import Plan; import numpy as np; "
        "np.save('y.npy', Plan.load('.').tail(open('payload', 'rb').read()))",
        server,
    )
    here = Plan.load(split_plan)
    payload = here.head(pictures[3])
    assert (device / "payload").read_bytes() == payload
    np.testing.assert_array_equal(np.load(server / "y.npy"), here.tail(payload))
    assert here.file.report is not None
    assert len(payload) < 2 * here.file.report.payload_bytes


def _python(code: str, folder: Path) -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=folder, check=True, timeout=120)


def test_export_writes_every_point_without_searching(
    home: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "plan"
    run("plan", home / "plain.yaml", "--profile", home / "profile.yaml", "--out", source)
    with (source / "front.csv").open() as text:
        rows = {int(row["number"]): row for row in csv.DictReader(text) if row["number"]}
    assert len(rows) >= 2
    monkeypatch.setattr("splitpoint.planner.study.stage.search", lambda *a, **k: pytest.fail("searched again"))
    for number, row in rows.items():
        out = tmp_path / f"point{number}"
        code, _, err = run("export", source, "--point", number, "--out", out)
        assert code == 0, err
        file = Plan.load(out).file
        assert (file.point, file.codec.name) == (number, row["codec"])
        assert file.search.payload_bytes == pytest.approx(float(row["payload_bytes"]))
        assert run("verify", out)[0] == 0
    code, _, err = run("export", source, "--point", 99, "--out", tmp_path / "none")
    assert code == 3
    assert "no point 99" in err
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("placement", ["device", "server"])
def test_plans_without_a_split_run_and_verify(
    home: Path, run: Run, tmp_path: Path, placement: str, pictures: Pictures
) -> None:
    problem = load_problem(read_config(home / "labelled.yaml"))
    outcome = plan(problem, stored_profile=home / "profile.yaml")
    point = next(p for p in outcome.points if p.candidate.placement == placement)
    out = tmp_path / placement
    written = splitpoint.planner.plandir.writing.write_plan(outcome, point, out)
    assert (out / "head.onnx").exists() == (placement == "device")
    assert (out / "tail.onnx").exists() == (placement == "server")
    payload = written.head(pictures[0])
    assert np.asarray(written.tail(payload)).shape == (1, CLASSES)
    assert written.file.report is not None
    assert (written.file.report.payload_bytes == 0) == (placement == "device")
    assert run("verify", out)[0] == 0
    assert run("show", out)[0] == 0


def test_a_plan_without_data_runs_and_says_what_cannot_be_checked(
    home: Path, run: Run, tmp_path: Path, pictures: Pictures
) -> None:
    out = tmp_path / "plan"
    code, _, err = run("plan", home / "plain.yaml", "--profile", home / "fixed.yaml", "--no-data", "--out", out)
    assert code == 0, err
    assert not (out / "whole.onnx").exists()
    assert not (out / "report-inputs.npz").exists()
    mine = Plan.load(out)
    assert np.asarray(mine.tail(mine.head(pictures[0]))).shape == (1, CLASSES)
    code, text, _ = run("verify", out, "--json")
    answer = json.loads(text)
    assert (code, answer["count"]) == (0, {"passed": 1, "failed": 0, "warning": 0, "not checked": 6})
    assert "plain.npz" in answer["checks"][1]["text"]
    assert run("export", out, "--point", 1, "--out", tmp_path / "other")[0] == 3


def test_nothing_feasible_says_what_is_nearest_and_writes_nothing(home: Path, run: Run, tmp_path: Path) -> None:
    arguments = ("plan", home / "labelled.yaml", "--profile", home / "profile.yaml", "--deadline", "1us")
    code, out, _ = run(*arguments, "--out", tmp_path / "plan")
    assert code == 1
    assert "No candidate meets latency <= 1 µs" in out
    assert "would fit with latency <=" in out
    assert list(tmp_path.iterdir()) == []


def test_every_command_prints_one_json_document(home: Path, split_plan: Path, run: Run, tmp_path: Path) -> None:
    commands: list[tuple[object, ...]] = [
        ("plan", home / "labelled.yaml", "--profile", home / "fixed.yaml", "--out", tmp_path / "plan"),
        ("profile", home / "model.onnx", "--threads", 1),
        ("cuts", home / "model.onnx"),
        ("show", split_plan),
        ("export", split_plan, "--point", 1, "--out", tmp_path / "point"),
        ("verify", split_plan),
        ("profiles",),
    ]
    for command in commands:
        code, out, err = run(*command, "--json")
        assert code == 0, (command, err)
        assert isinstance(json.loads(out), dict), command


def test_cuts_lists_every_single_tensor_boundary(home: Path, run: Run) -> None:
    answer = json.loads(run("cuts", home / "model.onnx", "--json")[1])
    assert [row["tensors"] for row in answer["cuts"]] == [
        [t] for t in ("x", "c0", "r0", "c1", "r1", "c2", "r2", "pool", "flat")
    ]
    assert answer["macs"] == 8 * 8 * 8 * 27 + 4 * 4 * 12 * 72 + 4 * 4 * 16 * 108 + 16 * CLASSES
