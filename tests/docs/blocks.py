"""What the pages show to be typed: every fenced block, and every command of an indented block.

A shell block gives one item a command; of a ```console block, and of an indented one with "$ ", the lines behind "$ ".
What is printed is a block of `text`, or an indented one in which no line begins with one of PROGRAMS.
"""

from __future__ import annotations

import ast
import builtins
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
GENERATED = "docs/reference/command-line.md"  # from typer; test_command_line_page.py compares
PAGES = [
    path.relative_to(ROOT).as_posix()
    for path in [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
    if path.relative_to(ROOT).as_posix() != GENERATED
]
PROGRAMS = (
    "splitpoint",
    "python",
    "python3",
    "pip",
    "optimum-cli",
    "optuna-dashboard",
    "ruff",
    "mypy",
    "mkdocs",
    "git",
)
SHELLS = ("sh", "bash", "shell", "console")
TYPED = re.compile(rf"\$ |(?:\w+=\S+ )*(?:{'|'.join(PROGRAMS)}) (?!=)")
FENCE = re.compile(r'^ *(?:```|~~~)(?P<language>\w*)(?: title="(?P<title>[^"]+)")?(?P<rest>.*)$')


class Item(NamedTuple):
    """A command, or a block."""

    page: str  # README.md, docs/tutorial.md
    line: int  # 1 is the first
    kind: str  # "command", or the block's language; "text" of an indented block that is neither
    text: str
    title: str = ""  # the file that a block is

    def __str__(self) -> str:
        return f"{self.page}:{self.line} ({self.kind}) {self.text.splitlines()[0] if self.text else ''}"


def items(page: str, root: Path = ROOT) -> list[Item]:
    """Everything of a page, in its order; raises `ValueError` for a fence that is not understood."""
    found: list[Item] = []
    lines = (root / page).read_text(encoding="utf-8").splitlines()
    number = 0
    while number < len(lines):
        start, fence = number + 1, FENCE.match(lines[number])
        if fence is not None:
            end = next((n for n in range(start, len(lines)) if lines[n].strip() == "```"), None)
            if end is None or fence["rest"].strip():
                raise ValueError(f"{page}:{start}: {lines[number]}")
            found += _fenced(page, start + 1, lines[start:end], fence["language"], fence["title"] or "")
            number = end + 1
        elif lines[number].startswith("    ") and (number == 0 or not lines[number - 1].strip()):
            end = next((n for n in range(start, len(lines)) if lines[n].strip() and lines[n][:4].strip()), len(lines))
            found += _indented(page, start, [line[4:] for line in lines[number:end]])
            number = end
        else:
            number += 1
    return found


def _fenced(page: str, line: int, lines: list[str], language: str, title: str) -> Iterator[Item]:
    if language in SHELLS or (language in ("", "text") and any(map(TYPED.match, lines))):
        yield from _commands(page, line, lines)
    else:
        yield Item(page, line, language, textwrap.dedent("\n".join(lines)) + "\n", title)


def _indented(page: str, line: int, lines: list[str]) -> Iterator[Item]:
    if re.match(r"(import|from) \w+", lines[0]):
        yield Item(page, line, "python", "\n".join(lines) + "\n")
    elif re.match(r"\w+: [{\[]", lines[0]):
        yield Item(page, line, "yaml", "\n".join(lines) + "\n")
    elif any(map(TYPED.match, lines)):
        yield from _commands(page, line, [text if TYPED.match(text) or text[:1] == " " else "" for text in lines])
    else:
        yield Item(page, line, "text", "\n".join(lines) + "\n")


def _commands(page: str, line: int, lines: list[str]) -> Iterator[Item]:
    """Each command: lines that end in a backslash go on, and so do loops."""
    if any(text.startswith("$ ") for text in lines):
        lines = [text.removeprefix("$ ") if text.startswith("$ ") else "" for text in lines]
    collected: list[str] = []
    for number, text in enumerate(lines, line):
        if text.strip() and not text.startswith("#"):
            collected.append(text)
        whole = "\n".join(collected)
        opened = len(re.findall(r"^\s*(?:for|while|if)\b", whole, re.M))
        if collected and not whole.endswith("\\") and opened == len(re.findall(r"^\s*(?:done|fi)\b", whole, re.M)):
            yield Item(page, number - len(collected) + 1, "command", re.sub(r"\s+# .*", "", whole))
            collected = []
    if collected:
        raise ValueError(f"{page}:{line}: a command that does not end: {collected[0]}")


def free_names(text: str) -> set[str]:
    """Names that a program uses and neither defines nor imports; builtins are none."""
    tree = ast.parse(text)
    used, bound = set[str](), set(dir(builtins)) | {"__file__"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            (used if isinstance(node.ctx, ast.Load) else bound).add(node.id)
        elif isinstance(node, ast.alias):
            bound.add((node.asname or node.name).split(".")[0])
        elif isinstance(node, ast.arg):
            bound.add(node.arg)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef | ast.ExceptHandler):
            bound.add(node.name or "")
    return used - bound
