"""init, compare, cuts with seconds, --notes, -v and --quiet, completion, and ``python -m splitpoint``."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from splitpoint.planner.deploy.plan import Plan
from splitpoint.planner.deploy.requirements import Bound, Requirements
from splitpoint.planner.deploy.schema import PlanFile
from splitpoint.planner.setup.config import read_config
from splitpoint.profiles.files.structs import read_yaml, write_yaml

Run = Callable[..., tuple[int, str, str]]


def test_init_writes_what_plan_takes(home: Path, run: Run, tmp_path: Path) -> None:
    out = tmp_path / "my plans" / "mine.yaml"
    out.parent.mkdir()
    code, said, _ = run("init", home / "model.onnx", "--data", home / "labelled.npz", "--out", out)
    assert code == 0
    assert f"next  splitpoint plan '{out}'" in said
    text, config = out.read_text(encoding="utf-8"), read_config(out)
    assert Path(config.model).resolve() == (home / "model.onnx").resolve()
    assert config.need.max_drop == 0.01  # there are labels
    guessed = [line.partition(":")[0].strip() for line in text.splitlines()[1:] if "# GUESS" in line]
    assert guessed == ["input", "device", "server", "link", "deadline", "max_drop"]
    assert f"{len(guessed)} lines marked GUESS" in said
    options = (
        "--profile",
        home / "fixed.yaml",
        "--evaluations",
        1,
        "--threads",
        1,
        "--deadline",
        "10 s",
        "--accept-baseline",
    )
    code, said, err = run("plan", out, *options, "--accept-baseline", "--out", tmp_path / "plan")
    assert code in (0, 1), err
    assert "Answer:" in said or "No candidate meets" in said


def test_init_without_data_says_what_to_fill_in(home: Path, run: Run, tmp_path: Path) -> None:
    out = tmp_path / "mine.yaml"
    code, said, _ = run("init", home / "model.onnx", "--out", out)
    assert code == 0
    assert "fill in data.source" in said
    assert read_config(out).need.min_agreement == 0.99
    code, _, err = run("plan", out)
    assert code == 3
    assert "FILL-IN" in err
    code, _, err = run("init", home / "model.onnx", "--out", out)
    assert code == 3
    assert "there is a file already" in err
    assert run("init", home / "model.onnx", "--out", out, "--force")[0] == 0


def test_compare_shows_both_and_what_differs(split_plan: Path, copied: Path, run: Run) -> None:
    code, said, _ = run("compare", split_plan, copied)
    assert code == 0
    assert "not the same" not in said
    words = next(line for line in said.splitlines() if line.startswith("payload")).split()
    assert words[1:3] == words[3:5]
    document = json.loads(run("compare", split_plan, copied, "--json")[1])
    assert document["kind"] == "compare"
    one, other = document["plans"]
    plan = Plan.load(split_plan).file
    assert one["payload_bytes"] == other["payload_bytes"] == plan.predicted.payload_bytes
    assert one["quality"]["low"] < one["quality"]["value"] <= one["quality"]["high"]
    changed = msgspec.structs.replace(plan, link=msgspec.structs.replace(plan.link, sha256="0" * 64))
    write_yaml(copied / "plan.yaml", changed)
    said = run("compare", split_plan, copied)[1]
    assert "not the same: another link profile" in said


def test_cuts_have_seconds_with_machines_and_a_link(home: Path, run: Run) -> None:
    model = home / "model.onnx"
    sides = ("--device", "raspberry-pi-4", "--server", "cloud-8core", "--link", "wifi-5")
    code, said, _ = run("cuts", model, *sides)
    assert code == 0
    assert "whole" in said
    assert "raspberry-pi-4, wifi-5, cloud-8core" in " ".join(said.split())
    rows = json.loads(run("cuts", model, *sides, "--json")[1])["cuts"]
    assert all(row["latency_s"] == pytest.approx(row["head_s"] + row["link_s"] + row["tail_s"]) for row in rows)
    assert "whole" not in run("cuts", model)[1]


def test_notes_are_kept_in_the_plan_and_shown_in_full(split_plan: Path, run: Run) -> None:
    notes = Plan.load(split_plan).file.found_by.notes
    code, said, _ = run("show", split_plan, "--notes")
    assert code == 0
    assert said.startswith(f"{len(notes)} note")
    assert all(" ".join(note.split()) in " ".join(said.split()) for note in notes)


def test_a_point_that_misses_a_limit_says_so(split_plan: Path, copied: Path, run: Run) -> None:
    file = read_yaml(copied / "plan.yaml", PlanFile)
    needs = Requirements(bounds=(Bound(limit="latency", value=1e-9),))
    write_yaml(copied / "plan.yaml", msgspec.structs.replace(file, requirements=needs))
    assert "! misses latency by " in run("show", copied)[1]
    checks = json.loads(run("verify", copied, "--json")[1])["checks"]
    (quality,) = (check["text"] for check in checks if check["name"] == file.search.metric)
    assert "; misses latency by " in quality
    assert re.search(r"\d\.\d{3} \[\d\.\d\d, \d\.\d\d\] measured", quality)
    assert "misses latency" not in run("show", split_plan)[1]


def test_how_much_is_said(home: Path, run: Run) -> None:
    model, profile = home / "model.onnx", ("--threads", 1)
    quiet = run("profile", model, *profile, "--quiet")
    assert (quiet[0], quiet[2]) == (0, "")
    spoken = run("profile", model, *profile, "-v")
    assert "info: profile: " in spoken[2]
    assert "✓ profile" in spoken[2]
    usual = run("profile", model, *profile)
    assert "info:" not in usual[2]
    assert logging.getLogger("splitpoint").level == logging.NOTSET
    assert logging.getLogger("splitpoint").handlers == []


def test_it_is_a_module(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "splitpoint", "--version"], capture_output=True, text=True, timeout=200, check=False
    )
    assert (done.returncode, done.stdout.split()[0], done.stderr) == (0, "splitpoint", "")


def test_the_shell_completes_commands(tmp_path: Path) -> None:
    asked = {"_SPLITPOINT_COMPLETE": "complete_bash", "COMP_WORDS": "splitpoint ver", "COMP_CWORD": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "splitpoint"],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        env={**os.environ, **asked},
    )
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, ["verify"], "")


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1"])
def test_other_encodings_get_ascii_in_place_of_what_they_lack(encoding: str, split_plan: Path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "COLUMNS": "80"}
    done = subprocess.run(
        [sys.executable, "-m", "splitpoint", "show", str(split_plan)],
        capture_output=True,
        timeout=200,
        check=False,
        env=environment,
    )
    assert done.returncode == 0
    text = done.stdout.decode(encoding)
    assert "\\u" not in text
    assert "Pareto front" in text
    assert [line for line in text.splitlines() if line.startswith("* ")]
    assert ("±" in text) == (encoding != "ascii")
