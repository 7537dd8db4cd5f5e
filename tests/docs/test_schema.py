"""docs/schema holds the schema of every document, and what the commands print is such a document."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer.main

import splitpoint.codecs.speed
import splitpoint.profiles.measurement.micro
import splitpoint.profiles.measurement.serial_speed
from splitpoint.cli import app
from splitpoint.planner.output.schema import DOCUMENTS, FILES, main, schema_text

FOLDER = Path(__file__).parents[2] / "docs" / "schema"
JSON_PAGE = FOLDER.parent / "reference" / "json.md"
SAME_AS = {"export": "show"}  # command -> whose document it prints
Run = Callable[..., tuple[int, str, str]]


def decoded(text: str, command: str) -> Any:
    """The document in `text`; fails on a missing field, one too many, a wrong type, and a missing kind or version."""
    plain = json.loads(text)
    assert list(plain)[:2] == ["kind", "version"]
    assert (plain["kind"], plain["version"]) == (command, 1)
    document = msgspec.convert(plain, DOCUMENTS[command])
    assert msgspec.json.decode(msgspec.json.encode(document)) == plain
    return document


def test_every_command_with_json_has_a_schema() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]  # a group
    with_json = {name for name, command in commands.items() if any("--json" in p.opts for p in command.params)}
    assert {SAME_AS.get(name, name) for name in with_json} == set(DOCUMENTS)


def test_the_files_are_what_the_command_writes(tmp_path: Path) -> None:
    assert main([str(tmp_path)]) == 0
    written = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert written == {path.name: path.read_text() for path in FOLDER.iterdir()}, (
        "python -m splitpoint.planner.output.schema"
    )
    assert set(written) == {f"{name}.json" for name in (*DOCUMENTS, *FILES)}


def test_a_table_names_every_schema() -> None:
    rows = re.findall(r"^\|.*\(\.\./schema/(.+\.json)\) \|$", JSON_PAGE.read_text(), re.M)
    assert sorted(rows) == sorted(path.name for path in FOLDER.iterdir())
    commands = re.findall(r"`splitpoint ([a-z-]+)`", JSON_PAGE.read_text())
    assert set(commands) == {*DOCUMENTS, *SAME_AS}


@pytest.mark.parametrize("command", DOCUMENTS)
def test_a_schema_refuses_fields_that_it_does_not_name(command: str) -> None:
    schema = json.loads(schema_text(DOCUMENTS[command]))
    objects = [part for part in schema["$defs"].values() if "properties" in part]
    assert objects
    assert all(part["additionalProperties"] is False for part in objects)
    assert schema["$defs"][DOCUMENTS[command].__name__]["properties"]["kind"] == {"enum": [command]}


@pytest.mark.parametrize(
    ("flags", "exit_code"), [(("--deadline", "1s"), 0), (("--deadline", "1us"), 1)], ids=["front", "nothing fits"]
)
def test_plan(home: Path, run: Run, tmp_path: Path, flags: tuple[str, ...], exit_code: int) -> None:
    fixed = ("--profile", home / "fixed.yaml", "--out", tmp_path / "plan", "--json")
    code, out, _ = run("plan", home / "labelled.yaml", *fixed, *flags)
    document = decoded(out, "plan")
    assert code == exit_code
    assert bool(document.front) == bool(document.recommended) == (not document.nearest) == (exit_code == 0)


def test_the_commands_that_read_a_plan(split_plan: Path, run: Run, tmp_path: Path) -> None:
    assert decoded(run("verify", split_plan, "--json")[1], "verify").checks
    assert decoded(run("show", split_plan, "--json")[1], "show").front
    assert decoded(run("what-if", split_plan, "--json")[1], "what-if").reason
    assert decoded(run("what-if", split_plan, "--link-rate", "0.1..50Mbit/s", "--json")[1], "what-if").rows
    assert decoded(run("map", split_plan, "--json")[1], "map").rows
    assert decoded(run("map", split_plan, "--speeds", "--json")[1], "map").rows
    out = run("export", split_plan, "--point", 1, "--out", tmp_path / "point", "--json")[1]
    assert decoded(out, "show").point == 1


def test_the_commands_that_read_a_model(home: Path, run: Run) -> None:
    assert decoded(run("cuts", home / "model.onnx", "--json")[1], "cuts").cuts
    profile = ("profile", home / "model.onnx", "--threads", 1, "--json")
    alone = decoded(run(*profile)[1], "profile")
    assert alone.profile is not None
    assert alone.data is None
    data = ("--data", home / "plain.npz", "--inputs", 4)
    both = decoded(run(*profile, *data)[1], "profile")
    assert both.profile is not None
    assert both.data.cuts
    one = decoded(run(*profile, *data, "--cut", 2)[1], "profile")
    assert (one.profile, one.lines, len(one.data.cuts)) == (None, None, 1)


def test_the_commands_without_a_model(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert decoded(run("profiles", "--json")[1], "profiles").profiles
    assert decoded(run("codecs", "--json")[1], "codecs").codecs
    for module in (splitpoint.profiles.measurement.micro, splitpoint.profiles.measurement.serial_speed):
        monkeypatch.setattr(module, "BUDGET_S", 0.0)
    monkeypatch.setattr(splitpoint.profiles.measurement.micro, "LEAST_RUNS", 2)
    monkeypatch.setattr(splitpoint.codecs.speed, "BUDGET_S", 0.0)
    out = run("calibrate", "--out", tmp_path / "mine.yaml", "--threads", 1, "--json")[1]
    assert decoded(out, "calibrate").rows
