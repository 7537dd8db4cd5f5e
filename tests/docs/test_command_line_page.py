"""docs/reference/command-line.md is what typer makes of the commands: REGENERATE=1 writes it again."""

from __future__ import annotations

import os
import re
from pathlib import Path

import click
import typer.cli
import typer.main

from splitpoint.cli import app

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "command-line.md"


def made() -> str:
    command = typer.main.get_command(app)
    context = click.Context(command, info_name="splitpoint")
    text = typer.cli.get_docs_for_click(obj=command, ctx=context, name="splitpoint", title="Command line")
    return text.strip() + "\n"


def named(text: str) -> dict[str, set[str]]:
    """Options of each command of a page; versions of typer differ in how they describe them."""
    sections = re.split(r"^## `splitpoint ([a-z-]+)`\n", text, flags=re.M)
    pairs = zip(sections[1::2], sections[2::2], strict=True)
    return {name: set(re.findall(r"^\* `(--[a-z-]+)", body, re.M)) for name, body in pairs}


def test_the_page_has_every_command_and_option() -> None:
    if os.environ.get("REGENERATE"):
        PAGE.write_text(made(), encoding="utf-8")
    page = named(PAGE.read_text(encoding="utf-8"))
    assert len(page) > 10
    assert "--deadline" in page["plan"]
    assert page == named(made()), "REGENERATE=1 python -m pytest tests/docs/test_command_line_page.py"
