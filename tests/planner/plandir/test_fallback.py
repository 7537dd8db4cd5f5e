"""A plan that cannot be written where it was asked for: it goes to another folder, and the error names both."""

from __future__ import annotations

import errno
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from splitpoint.planner.deploy.plan import Plan
from splitpoint.planner.plandir import placing, writing
from splitpoint.planner.plandir.report import run_report
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.files.writable import check_file_writable, check_folder_writable

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files, and a home folder beside it."""
    (tmp_path / "temporary").mkdir()
    (tmp_path / "home").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "temporary"


def plan(run: Run, home: Path, out: Path) -> tuple[int, str, str]:
    stored = ("--profile", home / "fixed.yaml", "--evaluations", 2, "--max-drop", "50%")
    return run("plan", home / "labelled.yaml", *stored, "--out", out)


def during_the_report(monkeypatch: pytest.MonkeyPatch, action: Callable[[], None]) -> None:
    """Let `action` happen after the search, while the report set runs."""

    def interfered(*args: Any, **kwargs: Any) -> Any:
        action()
        return run_report(*args, **kwargs)

    monkeypatch.setattr(writing, "run_report", interfered)


def test_what_was_put_there_meanwhile_is_kept_and_the_plan_goes_elsewhere(
    run: Run, home: Path, tmp_path: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"

    def put() -> None:
        out.mkdir(exist_ok=True)
        (out / "notes.txt").write_text("mine")

    during_the_report(monkeypatch, put)
    code, printed, err = plan(run, home, out)
    (written,) = elsewhere.iterdir()
    assert code == 3
    assert f"wrote {written}/" in printed.replace("\n", "")
    assert f"the plan was written to {written}, because it exists and is no plan directory" in err
    assert f"at    {out}" in err
    assert f"splitpoint verify {written}" in err
    assert Plan.load(written).file.report is not None
    assert [path.name for path in out.iterdir()] == ["notes.txt"]


def test_a_folder_that_was_removed_or_replaced_by_a_file(
    run: Run, home: Path, tmp_path: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = tmp_path / "results"
    parent.mkdir()

    def replace() -> None:
        if parent.is_dir():
            shutil.rmtree(parent)
            parent.write_text("a file now")

    during_the_report(monkeypatch, replace)
    code, _, err = plan(run, home, parent / "out")
    assert "written to" in err, err
    (written,) = elsewhere.iterdir()
    assert (code, f"written to {written}" in err) == (3, True)


@pytest.mark.parametrize("full", ["the first disk", "both", "all"])
def test_a_full_disk(
    run: Run, home: Path, tmp_path: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch, full: str
) -> None:
    places = {"the first disk": ("out",), "both": ("out", "temporary"), "all": ("out", "temporary", "home")}[full]
    write, searching = Path.write_text, [True]
    during_the_report(monkeypatch, searching.clear)  # the disks are full once the search is over

    def failing(self: Path, data: str) -> int:
        below = self.relative_to(tmp_path).parts[0] if self.is_relative_to(tmp_path) else ""
        if not searching and below.strip(".").split(".")[0] in places:
            raise OSError(errno.ENOSPC, "No space left on device", str(self))
        return write(self, data)

    monkeypatch.setattr(Path, "write_text", failing)
    code, printed, err = plan(run, home, tmp_path / "out")
    assert code == 3
    assert "No space left on device" in err
    assert "Answer:" in printed
    places_left = {"the first disk": [elsewhere], "both": [tmp_path / "home"], "all": []}[full]
    found = [
        path for place in (elsewhere, tmp_path / "home") for path in place.iterdir() if not path.name.startswith(".")
    ]
    assert [path.parent for path in found] == places_left
    assert all(f"written to {path}" in err for path in found)
    assert ("wrote" in printed) == bool(found)
    assert not (tmp_path / "out").exists()


def test_trying_leaves_nothing_behind(tmp_path: Path) -> None:
    check_folder_writable(tmp_path / "a" / "b" / "plan")
    check_file_writable(tmp_path / "device.yaml")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "message"),
    [("file/plan", "is a file, expected a folder"), ("x" * 300, "cannot be written: File name too long")],
)
def test_a_folder_that_cannot_be_made(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ProfileError, match=message):
        check_folder_writable(tmp_path / name)


def test_a_folder_without_the_right_to_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*args: Any, **kwargs: Any) -> Any:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(tempfile, "TemporaryDirectory", refused)  # a test that runs as root may write anywhere
    with pytest.raises(ProfileError, match="cannot be written: Permission denied"):
        check_file_writable(tmp_path / "device.yaml")


def test_a_removed_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(placing.NotWrittenError, match="cannot be written"):
        placing.check_replaceable(Path("plan"))
