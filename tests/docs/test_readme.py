"""The README does what it says: its python runs, its marked shell blocks run, its commands and options exist.

Every ```python block that calls `Plan.load` runs, and every shell block (```sh, ```bash, ```console) behind a line
``<!-- run -->``, one after the other in a folder with plan/, model.onnx, photos/CLASS/ and photo.png (small_plan.py).
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import typer.main

from splitpoint.cli import app

ROOT = Path(__file__).parents[2]
PLAN_COMMAND = "python -m pip install -e '.[plan,report,examples]' && splitpoint plan examples/photos.yaml"
TEST_COMMAND = "python -m pip install -e '.[test]' && python -m pytest -n auto --dist loadfile"
SHELLS = ("sh", "bash", "shell", "console")
DOCUMENTS = [
    "README.md",
    *sorted(p.relative_to(ROOT).as_posix() for p in [*ROOT.glob("[AC]*.md"), *ROOT.glob("docs/**/*.md")]),
]


class Block(NamedTuple):
    """A fenced block of the README."""

    line: int
    language: str
    text: str
    marked: bool


def blocks(document: Path = ROOT / "README.md") -> list[Block]:
    text = document.read_text(encoding="utf-8")
    pattern = re.compile(r"(?P<mark><!-- run -->\s*\n)?^```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^```", re.M | re.S)
    return [
        Block(text.count("\n", 0, m.start("language")) + 1, m["language"], m["text"], m["mark"] is not None)
        for m in pattern.finditer(text)
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    working_folder = tmp_path_factory.mktemp("readme")
    command = [sys.executable, str(ROOT / "tests" / "small_plan.py"), str(working_folder)]
    subprocess.run(command, check=True, timeout=200, capture_output=True)
    return working_folder


def test_what_is_meant_to_run_runs(folder: Path) -> None:
    python = [block for block in blocks() if block.language == "python" and "Plan.load" in block.text]
    assert python, "README.md shows no python block with Plan.load"
    for block in blocks():
        if block in python:
            run([sys.executable, "-W", "error", "-c", block.text], folder, block)
        elif block.marked:
            assert block.language in SHELLS, f"README.md:{block.line} is marked and no shell block"
            run(["bash", "-euo", "pipefail", "-c", "\n".join(commands(block))], folder, block)


def run(command: list[str], folder: Path, block: Block) -> None:
    path = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"  # the splitpoint of this environment
    environment = {"PATH": path, "HOME": str(folder)}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, f"README.md:{block.line}\n{done.stdout}{done.stderr}"


def commands(block: Block) -> list[str]:
    """What a person would type: in a console block the lines behind "$ "."""
    lines = block.text.splitlines()
    typed = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    return typed if block.language == "console" or typed else lines


@pytest.mark.parametrize("command", [PLAN_COMMAND, TEST_COMMAND])
def test_the_two_commands_stand_in_the_readme(command: str) -> None:
    assert command in shell(ROOT / "README.md")


def test_ci_runs_the_readmes_test_command() -> None:
    assert TEST_COMMAND in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def shell(document: Path) -> list[str]:
    """Lines of shell blocks and of indented ones, and what stands between backticks."""
    text = document.read_text(encoding="utf-8")
    fenced = "\n".join(line for block in blocks(document) if block.language in SHELLS for line in commands(block))
    outside = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    indented = re.findall(r"^ {4}(\S.*)$", outside, re.M)
    return [*fenced.replace("\\\n", " ").splitlines(), *indented, *re.findall(r"`([^`\n]+)`", outside)]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_and_option_exists(document: str) -> None:
    known, wrong = options(), []
    for code in shell(ROOT / document):
        for command, rest in re.findall(r"(?:^|[;&|$])\s*splitpoint ([a-z][a-z-]*)([^;&|#]*)", code):
            given = set(re.findall(r"(?<!\S)--[a-z][a-z-]*", rest))
            if command not in known or given - known[command]:
                wrong.append(f"splitpoint {command}{rest}".strip())
    assert wrong == []


def test_every_command_is_in_the_table_of_commands() -> None:
    page = (ROOT / "docs" / "reference" / "commands.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `splitpoint ([a-z-]+)", page, re.M)) == set(options())


def test_the_readme_begins_with_two_sentences_and_a_picture() -> None:
    title, about, picture, *_ = (ROOT / "README.md").read_text(encoding="utf-8").split("\n\n")
    assert title == "# splitpoint"
    assert len(re.findall(r"\.(?=\s|$)", about)) == 2
    file = re.fullmatch(r"!\[[^]]{40,}\]\(([^)]+)\)", picture)
    assert file is not None
    assert (ROOT / file[1]).is_file()


def options() -> dict[str, set[str]]:
    """Options of every command."""
    group = typer.main.get_command(app)
    return {
        name: {"--help"} | {option for parameter in command.params for option in parameter.opts}
        for name, command in getattr(group, "commands", {}).items()
    }
