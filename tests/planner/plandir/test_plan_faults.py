"""What happens when things go wrong: damaged files, crashes, full disks, wrong decoders, wrong usage."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

import splitpoint.planner.plandir.writing
from splitpoint import Plan
from splitpoint.codecs.coders.huffman import HuffmanCoder
from splitpoint.codecs.coders.rans import RansCoder
from splitpoint.codecs.contract.protocol import PayloadError
from splitpoint.planner.flow import plan
from splitpoint.planner.setup.config import SearchConfig, read_config
from splitpoint.planner.setup.loading import load_problem
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.files.structs import dump_yaml

CLASSES, SIDE = 6, 16  # of the small network in planning.py
Run = Callable[..., tuple[int, str, str]]
Pictures = NDArray[np.uint8]  # (N, H, W, 3)


@pytest.mark.parametrize("name", ["head.onnx", "tail.onnx", "codec.npz", "whole.onnx", "report-inputs.npz"])
def test_verify_names_the_file_with_a_flipped_byte(copied: Path, run: Run, name: str) -> None:
    data = bytearray((copied / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copied / name).write_bytes(data)
    code, out, _ = run("verify", copied)
    assert code == 1
    assert name in out
    assert "1 failed" in out


def test_a_wrong_figure_in_the_plan_is_found(copied: Path, run: Run) -> None:
    text = (copied / "plan.yaml").read_text()
    plan_file = Plan.load(copied).file
    assert plan_file.report is not None
    wrong = msgspec.structs.replace(
        plan_file, report=msgspec.structs.replace(plan_file.report, payload_bytes=2 * plan_file.report.payload_bytes)
    )
    (copied / "plan.yaml").write_text(dump_yaml(wrong))
    code, out, _ = run("verify", copied)
    assert code == 1
    assert "✗ payload" in out
    assert text != (copied / "plan.yaml").read_text()


def test_accuracy_comes_from_the_payload(split_plan: Path, monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    """An entropy decoder that gives zeros must cost accuracy; otherwise something passes the payload by."""
    for kind in (HuffmanCoder, RansCoder):
        monkeypatch.setattr(
            kind, "decode", lambda self, payload: {s.name: np.zeros(s.shape, s.dtype) for s in self.specs}
        )
    code, out, _ = run("verify", split_plan, "--json")
    status = {check["name"]: check["status"] for check in json.loads(out)["checks"]}
    assert code == 1
    assert status["symbols"] == "failed"
    assert status["top1"] == "failed"


def test_evaluation_loses_accuracy_with_a_decoder_of_zeros(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        HuffmanCoder, "decode", lambda self, payload: {s.name: np.zeros(s.shape, s.dtype) for s in self.specs}
    )
    config = msgspec.structs.replace(
        read_config(home / "labelled.yaml"), search=SearchConfig(evaluations=8, codecs=("brito-sq",), max_cuts=2)
    )
    outcome = plan(load_problem(config), stored_profile=home / "profile.yaml")
    broken = [p for p in outcome.points if p.candidate.codec == "brito-sq"]
    assert broken
    assert max(p.accuracy.value for p in broken) < 0.8, [(p.candidate, p.accuracy.value) for p in broken]


def test_a_payload_of_another_plan_or_damaged_is_refused(split_plan: Path, copied: Path, pictures: Pictures) -> None:
    mine = Plan.load(split_plan)
    payload = mine.head(pictures[0])
    other = msgspec.structs.replace(mine.file, files=mine.file.files | {"tail.onnx": "0" * 64})
    (copied / "plan.yaml").write_text(dump_yaml(other))
    with pytest.raises(PayloadError):
        Plan.load(copied).tail(payload)
    for damaged in (payload[:-1], payload + b"x", bytes([payload[0] ^ 1]) + payload[1:], b""):
        with pytest.raises(PayloadError):
            mine.tail(damaged)


def test_an_input_with_nan_is_refused_by_name_when_checked(split_plan: Path) -> None:
    mine = Plan.load(split_plan)
    x = np.zeros((1, 3, SIDE, SIDE), np.float32)
    x[0, 0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="NaN in 'x'"):
        mine.head(x, check=True)
    with pytest.raises(ValueError, match=r"expected the input 'x' as float32\[1, 3, 16, 16\], got float64\[3\]"):
        mine.head(np.zeros(3))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("format: '5.3'", "format: '5.9'"), "written by a newer splitpoint"),
        (lambda text: text.replace("format: '5.3'", "format: '6.0'"), "written by a newer splitpoint"),
        (lambda text: text.replace("format: '5.3'", "format: '3.0'"), "written by an older splitpoint"),
        (lambda text: text + "surprise: 1\n", "surprise"),
        (lambda text: re.sub(r"\n  rate: \d+", "\n  rate: -1", text), "$.codec.rate"),
        (lambda text: text[: len(text) // 2], ""),
    ],
)
def test_a_bad_plan_file_is_refused(copied: Path, run: Run, change: Callable[[str], str], message: str) -> None:
    path = copied / "plan.yaml"
    path.write_text(change(path.read_text()))
    code, _, err = run("verify", copied)
    assert code == 3
    assert message in err
    assert "plan.yaml" in err


def test_an_interrupted_plan_leaves_the_old_one(
    home: Path, split_plan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    out = Path(shutil.copytree(split_plan, tmp_path / "plan"))
    before = (out / "plan.yaml").read_bytes()

    def interrupt(*args: object, **kwargs: object) -> Iterator[None]:
        raise KeyboardInterrupt

    monkeypatch.setattr(splitpoint.planner.plandir.writing, "run_report", interrupt)
    code, _, err = run("plan", home / "labelled.yaml", "--profile", home / "profile.yaml", "--out", out)
    assert code == 130
    assert "interrupted" in err
    assert (out / "plan.yaml").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["plan"]


def test_a_killed_plan_leaves_the_old_one(home: Path, split_plan: Path, tmp_path: Path, run: Run) -> None:
    out = Path(shutil.copytree(split_plan, tmp_path / "plan"))
    before = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    arguments = ["plan", home / "labelled.yaml", "--profile", home / "profile.yaml", "--out", out]
    code = (
        "import os, signal, splitpoint.planner.plandir.writing as writing; from splitpoint.cli import main\n"
        "writing.run_report = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"main({[str(argument) for argument in arguments]!r})"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, timeout=200, capture_output=True)
    assert done.returncode == -9
    assert {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()} == before
    assert run("verify", out)[0] == 0


def test_a_full_disk_leaves_the_old_plan(
    home: Path, split_plan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    out = Path(shutil.copytree(split_plan, tmp_path / "plan"))
    before = (out / "plan.yaml").read_bytes()

    def full(folder: Path, files: object) -> None:
        raise OSError(28, "No space left on device", str(folder))

    monkeypatch.setattr(splitpoint.planner.plandir.writing, "_write_all", full)
    code, _, err = run("plan", home / "labelled.yaml", "--profile", home / "profile.yaml", "--out", out)
    assert code == 3
    assert "No space left on device" in err
    assert (out / "plan.yaml").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["plan"]


def test_a_folder_that_is_no_plan_is_not_replaced(home: Path, tmp_path: Path, run: Run) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    code, _, err = run("plan", home / "labelled.yaml", "--profile", home / "profile.yaml", "--out", tmp_path / "mine")
    assert code == 3
    assert "is no plan directory" in err
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "years of work"


@pytest.fixture
def project(home: Path, tmp_path: Path) -> Path:
    """A user's folder whose configuration is called plan.yaml, with a model, data and other work beside it."""
    folder = tmp_path / "work" / "plan"
    folder.mkdir(parents=True)
    for name in ("model.onnx", "labelled.npz", "profile.yaml"):
        shutil.copy2(home / name, folder / name)
    shutil.copy2(home / "labelled.yaml", folder / "plan.yaml")
    (folder / "thesis.tex").write_text("years of work")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_project_whose_configuration_is_called_plan_yaml_is_not_replaced(
    project: Path, monkeypatch: pytest.MonkeyPatch, run: Run, copied: Path
) -> None:
    before = contents(project)
    monkeypatch.chdir(project.parent)  # --out is "plan" by default
    too_late = "splitpoint.planner.setup.loading.load_problem"
    monkeypatch.setattr(too_late, lambda config: pytest.fail("refused too late"))
    code, _, err = run("plan", "plan/plan.yaml", "--profile", "plan/profile.yaml")
    assert (code, contents(project)) == (3, before)
    assert "is not a plan that this version wrote" in err
    code, _, err = run("export", copied, "--point", 1, "--out", project)
    assert (code, contents(project)) == (3, before)


@pytest.mark.parametrize("keep", [0, 1])
def test_export_says_where_the_plan_is_that_was_there(keep: int, copied: Path, run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = run("export", copied, "--point", 1, "--out", out, "--keep", keep)
    second = run("export", copied, "--point", 1, "--out", out, "--keep", keep)
    assert (first[0], second[0]) == (0, 0)
    assert "the plan that was there" not in first[2]
    assert (f"the plan that was there is {out}.1" in second[2]) == bool(keep) == (tmp_path / "out.1").is_dir()


@pytest.mark.parametrize("change", ["added", "in a point", "changed", "linked"])
def test_a_plan_directory_with_a_users_file_in_it_is_not_replaced(
    change: str, home: Path, copied: Path, run: Run, tmp_path: Path
) -> None:
    if change == "added":
        (copied / "notes.txt").write_text("mine")
    elif change == "in a point":
        (copied / "points" / "1" / "notes.txt").write_text("mine")
    elif change == "changed":
        (copied / "front.csv").write_text((copied / "front.csv").read_text() + "# mine\n")
    else:
        (copied / "linked").symlink_to(home / "model.onnx")
    before = contents(copied)
    code, _, err = run("plan", home / "labelled.yaml", "--profile", home / "profile.yaml", "--out", copied)
    assert code == 3
    assert "so the folder is not replaced" in err
    assert contents(copied) == before
    assert [path.name for path in tmp_path.iterdir()] == ["plan"]


def test_a_file_put_there_while_planning_is_not_lost(
    home: Path, copied: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish = splitpoint.planner.plandir.writing._finish

    def slow(*args: Any) -> Any:
        (copied / "notes.txt").write_text("mine")
        return finish(*args)

    monkeypatch.setattr(splitpoint.planner.plandir.writing, "_finish", slow)
    code, _, _ = run("plan", home / "labelled.yaml", "--profile", home / "profile.yaml", "--out", copied)
    assert code == 3
    assert (copied / "notes.txt").read_text() == "mine"
    assert [path.name for path in copied.parent.iterdir()] == ["plan"]


def test_a_plan_is_replaced_by_the_next_one(home: Path, copied: Path, run: Run) -> None:
    (copied / "plan.yaml").touch()
    run("plan", home / "labelled.yaml", "--profile", home / "profile.yaml", "--out", copied)
    run("plan", home / "labelled.yaml", "--profile", home / "profile.yaml", "--out", copied, "--no-data")
    err = run("plan", home / "labelled.yaml", "--profile", home / "profile.yaml", "--out", copied)[2]
    assert "not replaced" not in err
    assert run("verify", copied)[0] == 0


def test_exit_codes_of_bad_usage_and_bad_input(home: Path, tmp_path: Path, run: Run) -> None:
    assert run("plan", home / "model.onnx")[0] == 2  # no data
    assert run("plan", home / "labelled.yaml", "--deadline", "20 parsec")[0] == 2
    assert run("no-such-command")[0] == 2
    assert run("verify", tmp_path)[0] == 3
    assert run("plan", tmp_path / "missing.yaml")[0] == 3
    (tmp_path / "empty.onnx").write_bytes(b"")
    code, _, err = run("cuts", tmp_path / "empty.onnx")
    assert code == 3
    assert "empty.onnx" in err
    code, _, err = run("plan", home / "labelled.yaml", "--link", "wfi-5", "--out", tmp_path / "plan")
    assert code == 3
    assert "Did you mean 'wifi-5'" in err
    code, _, err = run("plan", home / "plain.yaml", "--max-drop", "1%", "--out", tmp_path / "plan")
    assert code == 3
    assert "max_drop needs labels" in err


def test_a_profile_of_another_model_is_refused(home: Path, tmp_path: Path, run: Run) -> None:
    text = (home / "profile.yaml").read_text()
    sha = next(line for line in text.splitlines() if line.startswith("model_sha256:"))
    (tmp_path / "other.yaml").write_text(text.replace(sha, f"model_sha256: {'a' * 64}"))
    code, _, err = run("plan", home / "labelled.yaml", "--profile", tmp_path / "other.yaml", "--out", tmp_path / "p")
    assert code == 3
    assert "profile is of another model" in err


def test_reading_a_missing_half_names_the_file(copied: Path, pictures: Pictures) -> None:
    (copied / "tail.onnx").unlink()
    mine = Plan.load(copied)
    payload = mine.head(pictures[0])
    with pytest.raises(ProfileError, match=r"tail\.onnx is missing"):
        mine.tail(payload)
