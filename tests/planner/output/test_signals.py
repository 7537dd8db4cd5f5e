"""Signals that end a command, sent to real processes in the middle of a plan, and to this one."""

from __future__ import annotations

import ctypes
import io
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.live import Live

from splitpoint.planner.output.ending import note_written, run_to_end
from splitpoint.planner.output.signals import SignalError, stop_on_signals
from splitpoint.planner.output.terminal.console import PlainConsole, StageBars

INTERRUPTED = 130
PATIENCE_S = 400.0  # for a process to reach a stage, or to end: only a hang takes longer

# Where a stage waits for the signal, once it has made what must not be left behind.
STAGES = {
    "profile": "splitpoint.profiles.measurement.measure._measure_until_steady",
    "accuracy": "splitpoint.planner.study.stage.search",
    "report": "splitpoint.planner.plandir.report.observe",
}
WAIT = """
import importlib, pathlib, sys, time
from splitpoint.cli import entry
_, place, reached, *sys.argv = sys.argv
def wait(*args, **kwargs):
    pathlib.Path(reached).touch()
    while True:
        time.sleep(0.01)
module, _, name = place.rpartition(".")
setattr(importlib.import_module(module), name, wait)
entry()
"""


@pytest.fixture(autouse=True)
def _not_ignored() -> Iterator[None]:
    """A shell's job in the background ignores SIGINT, nohup SIGHUP, and so would every process that starts here."""
    usual: dict[signal.Signals, Any] = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGTERM: signal.SIG_DFL,
        signal.SIGHUP: signal.SIG_DFL,
    }
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


class Planning:
    """`splitpoint plan` that waits in a stage, with folders of its own for the plan and for temporary files."""

    def __init__(self, home: Path, folder: Path, stage: str, *, stderr: int = subprocess.PIPE) -> None:
        self.reached, self.temporary = folder / "reached", folder / "temporary"
        self.results = folder / "results"
        for made in (self.temporary, self.results):
            made.mkdir()
        arguments = ["plan", home / "labelled.yaml", "--evaluations", 2, "--out", self.results / "plan"]
        stored = [] if stage == "profile" else ["--profile", home / "fixed.yaml"]
        self.process = subprocess.Popen(
            [sys.executable, "-c", WAIT, STAGES[stage], self.reached, "splitpoint", *map(str, (*arguments, *stored))],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env={**os.environ, "TMPDIR": str(self.temporary)},
        )
        end = time.monotonic() + PATIENCE_S
        while not self.reached.exists() and self.process.poll() is None and time.monotonic() < end:
            time.sleep(0.01)
        if not self.reached.exists():
            self.process.kill()
            pytest.fail(f"the stage was not reached: {self.process.communicate()}")

    def left(self) -> list[Path]:
        """What is in the two folders, but the file of ONNX Runtime's own telemetry, one for all processes."""
        return [path for folder in (self.temporary, self.results) for path in folder.iterdir() if path.name != ".ses"]


@pytest.mark.parametrize(
    ("stage", "number"),
    [*((stage, number) for stage in STAGES for number in (signal.SIGINT, signal.SIGTERM)), ("report", signal.SIGHUP)],
)
def test_a_signal_in_a_stage_ends_the_plan_as_ctrl_c_does(
    home: Path, tmp_path: Path, stage: str, number: signal.Signals
) -> None:
    planning = Planning(home, tmp_path, stage)
    assert planning.left() or stage == "accuracy"
    planning.process.send_signal(number)
    out, err = planning.process.communicate(timeout=PATIENCE_S)
    assert (planning.process.returncode, out) == (INTERRUPTED, "")
    assert err.splitlines()[-1] == "interrupted: nothing was written"
    assert "Traceback" not in err
    assert planning.left() == []


def test_a_terminal_gets_its_cursor_back(home: Path, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    planning = Planning(home, tmp_path, "report", stderr=theirs)
    os.close(theirs)
    planning.process.terminate()
    planning.process.communicate(timeout=PATIENCE_S)
    shown = read_all(ours)
    assert planning.process.returncode == INTERRUPTED
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")
    assert shown.endswith("interrupted: nothing was written\r\n")


def read_all(descriptor: int) -> str:
    """Everything that a terminal got."""
    parts: list[bytes] = []
    while True:
        try:
            part = os.read(descriptor, 65536)
        except OSError:  # how Linux ends it
            part = b""
        if not part:
            os.close(descriptor)
            return b"".join(parts).decode()
        parts.append(part)


def test_a_signal_while_a_bar_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    console = PlainConsole(file=io.StringIO(), force_terminal=True, _environ={})

    def interrupted(live: Live) -> None:
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(Live, "refresh", interrupted)
    with pytest.raises(KeyboardInterrupt), StageBars(console).stage("profile", 3):
        pytest.fail("the block ran")
    shown = console.file.getvalue()  # type: ignore[attr-defined]  # the StringIO above
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")


def stopped_by(number: signal.Signals, removed: list[bool]) -> None:
    """Get a signal, and two more while what is unfinished is removed."""
    with stop_on_signals():
        try:
            os.kill(os.getpid(), number)
            time.sleep(PATIENCE_S)
        finally:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGTERM)
            removed.append(True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_second_signal_does_not_interrupt_the_removal(number: signal.Signals) -> None:
    before, removed = signal.getsignal(number), list[bool]()
    with pytest.raises(KeyboardInterrupt):
        stopped_by(number, removed)
    assert removed == [True]
    assert signal.getsignal(number) == before


def test_a_signal_while_a_module_is_imported(tmp_path: Path) -> None:
    text = "import os, signal, time; os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)"  # as dataclasses are made
    code = f"import sys, splitpoint.planner.output.ending as e; sys.exit(e.run_to_end(lambda: exec({text!r})))"
    (tmp_path / "command.py").write_text(code)
    command = [sys.executable, "-m", "command"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=PATIENCE_S, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (INTERRUPTED, "interrupted: nothing was written\n")


def test_a_signal_in_a_callback_of_c_code_is_not_lost() -> None:
    def interrupted() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)

    def command() -> None:
        with stop_on_signals():
            ctypes.CFUNCTYPE(None)(interrupted)()  # numba has such callbacks while it compiles
            time.sleep(PATIENCE_S)

    hook, begin = sys.unraisablehook, time.monotonic()
    with pytest.raises(SignalError):
        command()
    assert time.monotonic() - begin < PATIENCE_S / 2
    assert sys.unraisablehook is hook


@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda number, frame: None], ids=["ignored", "handled"])
def test_what_ignores_or_handles_a_signal_already_keeps_it(handler: signal.Handlers) -> None:
    before = signal.signal(signal.SIGHUP, handler)
    try:
        with stop_on_signals():
            assert signal.getsignal(signal.SIGHUP) == handler
            os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) == handler
    finally:
        signal.signal(signal.SIGHUP, before)


def test_another_thread_changes_no_handler() -> None:
    seen = []

    def look() -> None:
        with stop_on_signals():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGTERM)]


def test_what_was_written_before_the_signal_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> None:
        note_written("plan", Path("mine"))
        raise KeyboardInterrupt

    assert run_to_end(command) == INTERRUPTED
    assert capsys.readouterr().err == "interrupted: the plan was written to mine\n"
