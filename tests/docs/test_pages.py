"""The tutorial and the pages that show programs do what they say: their files are written, their commands run.

A ```python block with a title is written to that file; the lines behind "$ " of a ```console block run one after the
other, those that end with "&" in the background once they printed a line.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r'^```(?P<language>\w+)(?: title="(?P<title>[^"]+)")?\n(?P<text>.*?)^```', re.M | re.S)


def blocks(page: str) -> list[tuple[str, str, str]]:
    """(language, title, text) of every fenced block."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return [(m["language"], m["title"] or "", m["text"]) for m in BLOCK.finditer(text)]


def environment(folder: Path) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"  # the splitpoint of this environment
    kept = {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}
    return {"PATH": path, "HOME": str(folder), "SPLITPOINT_CACHE": str(folder / "cache"), **kept}


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return str(listener.getsockname()[1])


def write_files(page: str, folder: Path) -> None:
    for _, title, text in blocks(page):
        if title:
            (folder / title).write_text(text, encoding="utf-8")


def started(command: str, folder: Path) -> subprocess.Popen[str]:
    """A process that has printed a line."""
    process = subprocess.Popen(
        ["bash", "-c", f"exec {command}"], cwd=folder, env=environment(folder), stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "ready"
    return process


def run(command: str, folder: Path) -> str:
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def stop(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


@pytest.fixture(scope="module")
def tutorial(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The folder after the tutorial, and what each command printed."""
    folder, port = tmp_path_factory.mktemp("tutorial"), free_port()
    write_files("tutorial.md", folder)
    printed, behind = [], []
    for language, _, text in blocks("tutorial.md"):
        if language != "console":
            continue
        for line in text.splitlines():
            command = line.removeprefix("$ ").replace(" 5000", f" {port}")
            if command.endswith("&"):
                behind.append(started(command.removesuffix("&"), folder))
            else:
                printed.append(run(command, folder))
    for process in behind:
        process.wait(timeout=60)
        stop(process)
    return folder, printed


@pytest.mark.slow
def test_the_tutorial_ends_with_two_processes_that_read_digits(tutorial: tuple[Path, list[str]]) -> None:
    _, printed = tutorial
    assert "Answer:" in printed[2]
    assert "0 failed" in printed[3]
    right, sent = map(int, re.findall(r"(\d+) of 100 right, (\d+) bytes", printed[-1])[0])
    assert right >= 90
    assert 0 < sent <= 222


@pytest.mark.slow
def test_device_and_server_over_http(tutorial: tuple[Path, list[str]]) -> None:
    folder, port = tutorial[0], free_port()
    write_files("how-to/two-machines-over-http.md", folder)
    server = started(f"python serve.py {port}", folder)
    try:
        answers = run(f"python send.py http://127.0.0.1:{port}", folder).splitlines()
    finally:
        stop(server)
    assert len(answers) == 5
    assert sum(re.findall(r"answer (\d+), truth (\d+)", line)[0] == 2 * (line[-1],) for line in answers) >= 4
