"""Standard output closed, full or without a reader, and standard error too: real processes with real descriptors."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from splitpoint.planner.deploy.plan import Plan
from splitpoint.profiles.files.structs import read_yaml
from splitpoint.profiles.measurement.model_profile import ModelProfile

BAD_INPUT, PATIENCE_S = 3, 200.0
SPLITPOINT = (sys.executable, "-m", "splitpoint.cli")
REASONS = {"full": "No space left on device", "closed": "it is closed", "gone": "Broken pipe"}
SHELL = {"full": ">/dev/full", "closed": ">&-", "gone": ">&0"}  # 0: a pipe without a reader


@pytest.fixture
def no_reader() -> Iterator[int]:
    """The end of a pipe whose other end is closed."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


def shell(redirection: str, descriptor: int, *arguments: object) -> subprocess.CompletedProcess[str]:
    """`splitpoint ARGUMENTS` with a redirection of the shell's, in which `descriptor` is 0."""
    command = ["sh", "-c", f'"$@" {redirection}', "sh", *SPLITPOINT, *map(str, arguments)]
    usual = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return subprocess.run(
        command, stdin=descriptor, capture_output=True, text=True, check=False, timeout=PATIENCE_S, env=usual
    )


@pytest.mark.parametrize("output", REASONS)
@pytest.mark.parametrize("command", ["profiles", "profiles --json", "--version", "--help"])
def test_output_that_nothing_takes_is_one_sentence(output: str, command: str, no_reader: int) -> None:
    done = shell(SHELL[output], no_reader, *command.split())
    assert done.returncode == BAD_INPUT
    assert done.stderr == f"error: standard output cannot be written: {REASONS[output]}\n"


@pytest.mark.parametrize("output", REASONS)
@pytest.mark.parametrize("form", [(), ("--json",)], ids=["view", "json"])
def test_checks_that_nothing_takes(output: str, form: tuple[str, ...], no_reader: int, split_plan: Path) -> None:
    done = shell(SHELL[output], no_reader, "verify", split_plan, *form)
    assert done.returncode == BAD_INPUT
    assert done.stderr == f"error: standard output cannot be written: {REASONS[output]}\n"


@pytest.mark.parametrize("output", REASONS)
def test_a_plan_is_there_and_the_sentence_says_where(output: str, home: Path, tmp_path: Path, no_reader: int) -> None:
    stored = ("--profile", home / "fixed.yaml", "--evaluations", 2)
    done = shell(SHELL[output], no_reader, "plan", home / "labelled.yaml", *stored, "--out", tmp_path / "plan")
    *stages, last = done.stderr.splitlines()
    where = f"the plan was written to {tmp_path / 'plan'}"
    assert done.returncode == BAD_INPUT
    assert last == f"error: standard output cannot be written: {REASONS[output]}; {where}"
    assert [line for line in stages if not line.startswith(("✓", "…"))] == []  # stages that ended, or took a while
    assert Plan.load(tmp_path / "plan").file.report is not None


def test_exported_and_profiled_files_are_there(home: Path, split_plan: Path, tmp_path: Path, no_reader: int) -> None:
    profiled = shell(">/dev/full", no_reader, "profile", home / "model.onnx", "--out", tmp_path / "model.yaml")
    exported = shell(">/dev/full", no_reader, "export", split_plan, "--point", 1, "--out", tmp_path / "point")
    assert (profiled.returncode, exported.returncode) == (BAD_INPUT, BAD_INPUT)
    assert f"; the model profile was written to {tmp_path / 'model.yaml'}\n" in profiled.stderr
    assert f"; the plan was written to {tmp_path / 'point'}\n" in exported.stderr
    assert (tmp_path / "model.yaml").is_file()
    assert Plan.load(tmp_path / "point").file.point == 1


@pytest.mark.parametrize("redirection", ["2>/dev/full", "2>&-", "2>&0", "<&- 2>&-"])
def test_standard_error_may_fail(redirection: str, home: Path, tmp_path: Path, no_reader: int) -> None:
    stored = ("--profile", home / "fixed.yaml", "--evaluations", 2)
    done = shell(redirection, no_reader, "plan", home / "labelled.yaml", *stored, "--out", tmp_path / "plan")
    assert (done.returncode, done.stderr) == (0, "")
    assert "wrote" in done.stdout
    assert Plan.load(tmp_path / "plan").file.report is not None
    assert shell(redirection, no_reader, "show", tmp_path / "none").returncode == BAD_INPUT
    assert shell(f"{redirection} >&-", no_reader, "profiles").returncode == BAD_INPUT


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-", ""])
def test_a_file_never_gets_a_standard_descriptor(closed: str, tmp_path: Path) -> None:
    code = "import os, splitpoint.cli as cli; cli.main = lambda: os.open('file', os.O_CREAT); cli.entry()"
    command = ["sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-c", code]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, cwd=tmp_path, check=False, timeout=PATIENCE_S)
    assert done.returncode >= 3  # the descriptor: what is printed to 1 or 2 would go into the file


def test_an_encoding_without_the_characters(split_plan: Path) -> None:
    ascii_only = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    command = [*SPLITPOINT, "show", str(split_plan)]
    done = subprocess.run(command, capture_output=True, check=False, timeout=PATIENCE_S, env=ascii_only)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.isascii()
    assert b"->" in done.stdout  # of the arrow, no escape
    assert rb"\u" not in done.stdout


MOUNT = """
mount -t tmpfs -o "$0" tmpfs "$1" || exit 99
folder=$1; shift
"$@"; code=$?
echo "left: $(ls -A "$folder")"
exit $code
"""
Mounted = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def mounted(tmp_path: Path) -> Mounted:
    """`mounted("ro", folder, "plan", ...)`: the command where `folder` is a file system of its own with that option."""
    unshare = shutil.which("unshare")
    probe = [unshare or "", "--mount", "sh", "-c", MOUNT, "ro", str(tmp_path), "true"]
    if unshare is None or subprocess.run(probe, capture_output=True, check=False, timeout=PATIENCE_S).returncode:
        pytest.skip("this user may not mount a file system")

    def call(options: str, folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
        folder.mkdir(exist_ok=True)
        command = [unshare, "--mount", "sh", "-c", MOUNT, options, str(folder), *SPLITPOINT, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S)

    return call


def out_commands(home: Path, split_plan: Path, disk: Path) -> list[tuple[object, ...]]:
    return [
        ("plan", home / "labelled.yaml", "--profile", home / "fixed.yaml", "--out", disk / "plan"),
        ("export", split_plan, "--point", 1, "--out", disk / "plan"),
        ("profile", home / "model.onnx", "--out", disk / "model.yaml"),
        ("calibrate", "--out", disk / "me.yaml"),
    ]


@pytest.mark.parametrize("number", range(4), ids=["plan", "export", "profile", "calibrate"])
@pytest.mark.parametrize(
    ("options", "reason"), [("ro", "Read-only file system"), ("nr_inodes=1", "No space left on device")]
)
def test_a_disk_that_takes_nothing_is_refused_before_the_first_stage(
    mounted: Mounted, home: Path, split_plan: Path, tmp_path: Path, number: int, options: str, reason: str
) -> None:
    disk = tmp_path / "disk"
    arguments = out_commands(home, split_plan, disk)[number]
    done = mounted(options, disk, *arguments)
    first, *rest = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (BAD_INPUT, "left: \n")
    assert first.startswith("error: ")
    assert first.endswith(f"cannot be written: {reason}")
    assert [line.split()[0] for line in rest] == ["at", "fix"]


def test_a_disk_that_is_full_in_the_middle(mounted: Mounted, home: Path, tmp_path: Path) -> None:
    out = tmp_path / "disk" / "m.yaml"
    done = mounted("size=4k", tmp_path / "disk", "profile", home / "model.onnx", "--out", out)
    (sentence,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    written = Path(sentence.removeprefix("error: the profile was written to ").partition(", because")[0])
    assert (done.returncode, done.stdout) == (BAD_INPUT, "left: \n")
    assert sentence.endswith(f", because {out}: cannot be written: No space left on device")
    assert read_yaml(written, ModelProfile).model == "model"
    shutil.rmtree(written.parent)


def test_a_plan_for_a_full_disk_goes_elsewhere(mounted: Mounted, home: Path, tmp_path: Path) -> None:
    stored = ("--profile", home / "fixed.yaml", "--evaluations", 2)
    done = mounted("size=64k", tmp_path / "disk", "plan", home / "labelled.yaml", *stored, "--out", tmp_path / "disk/p")
    (sentence,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    written = Path(sentence.removeprefix("error: the plan was written to ").partition(", because")[0])
    assert (done.returncode, done.stdout.splitlines()[-1]) == (BAD_INPUT, "left: ")
    assert "No space left on device" in sentence
    assert Plan.load(written).file.report is not None
    shutil.rmtree(written)
