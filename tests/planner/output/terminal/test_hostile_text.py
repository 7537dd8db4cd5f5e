"""Documents whose every text is hostile, through every view: nothing of it reaches the terminal but visible text."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import inspect as shapes

from splitpoint.planner.deploy.schema import PlanFile
from splitpoint.planner.deploy.task import Task
from splitpoint.planner.output.documents.answers.what_if import WhatIfDocument
from splitpoint.planner.output.documents.cuts import CutsDocument
from splitpoint.planner.output.documents.document import Document
from splitpoint.planner.output.documents.plan import PlanDocument
from splitpoint.planner.output.documents.profile import ProfileDocument
from splitpoint.planner.output.documents.show import ShowDocument
from splitpoint.planner.output.documents.verify import VerifyDocument
from splitpoint.planner.output.escape import printable_line, printable_lines
from splitpoint.planner.output.report.document import report_text
from splitpoint.planner.output.schema import DOCUMENTS
from splitpoint.planner.output.terminal.answers.compare import compare_view
from splitpoint.planner.output.terminal.answers.map import map_view
from splitpoint.planner.output.terminal.answers.what_if import what_if_view
from splitpoint.planner.output.terminal.calibrate import calibrate_view
from splitpoint.planner.output.terminal.console import PlainConsole, StageBars
from splitpoint.planner.output.terminal.cuts import cuts_view
from splitpoint.planner.output.terminal.listings import cache_view, codecs_view, profiles_view
from splitpoint.planner.output.terminal.plan import plan_view
from splitpoint.planner.output.terminal.profile import profile_view
from splitpoint.planner.output.terminal.show import notes_view, show_view
from splitpoint.planner.output.terminal.train import train_view
from splitpoint.planner.output.terminal.verify import check_line, count_line
from splitpoint.planner.output.work_run import work_text
from splitpoint.planner.plandir.verify import Check
from splitpoint.profiles.files.structs import read_yaml, write_yaml
from splitpoint.profiles.measurement.model_profile import ModelProfile

Run = Callable[..., tuple[int, str, str]]
WIDTH = 400
HOSTILE = (
    "\x1b[2K\rALL PASSED",
    "[bold]x[/bold]",
    "[/]",
    "[/x]",
    "a\u202eb",
    "\x9b2Jx",
    "x\nALL PASSED",
    ":warning:",
    "\x1b]0;title\x07",
)
NOT_TEXT = re.compile(r"[^\S\n ]|[\0-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\u061c]")
OF_RICH = re.compile(r"\r?\x1b\[(\?25[lh]|2K|1A)|\r")  # the cursor and lines of progress bars
STYLE = re.compile(r"\x1b\[[0-9;]*m")


def made(shape: shapes.Type, text: str) -> Any:
    """A value of a type of msgspec's, with `text` at every place that takes any text."""
    if isinstance(shape, shapes.UnionType):
        return made(next(member for member in shape.types if not isinstance(member, shapes.NoneType)), text)
    if isinstance(shape, shapes.Metadata):
        return made(shape.type, text)
    if isinstance(shape, shapes.StructType):
        if shape.cls is ModelProfile:
            return None  # stored beside what views show
        if shape.cls is Task:
            return Task(name="custom", outputs=(text, text), metric=text)  # the options of one task only
        return shape.cls(**{field.name: made(field.type, text) for field in shape.fields})
    if isinstance(shape, shapes.VarTupleType):
        return (made(shape.item_type, text), made(shape.item_type, text))
    if isinstance(shape, shapes.DictType):
        keys = (
            ("4",) if isinstance(shape.value_type, shapes.FloatType | shapes.UnionType) else (text,)
        )  # bits, or names
        return {key: made(shape.value_type, text) for key in keys}
    if isinstance(shape, shapes.LiteralType):
        return shape.values[0]
    plain = {shapes.StrType: text, shapes.IntType: 1, shapes.FloatType: 0.5, shapes.BoolType: True}
    return plain[type(shape)]


def document(kind: type[Document], text: str) -> Any:
    return made(shapes.type_info(kind), text)


def verify_views(shown: VerifyDocument) -> list[Any]:
    checks = [Check(name=row.name, status=row.status, text=row.text) for row in shown.checks]
    return [*map(check_line, checks), count_line(shown.count)]


def plan_views(shown: PlanDocument) -> list[Any]:
    nothing = msgspec.structs.replace(shown, recommended=None, front=(), report=None, directory=None)
    return [plan_view(shown, width=WIDTH), plan_view(nothing, width=WIDTH)]


def profile_views(shown: ProfileDocument) -> list[Any]:
    return [profile_view(shown, detail=detail) for detail in (False, True)]


def cuts_views(shown: CutsDocument) -> list[Any]:
    return [cuts_view(shown, refused=refused, width=80) for refused in (False, True)]


def show_views(shown: ShowDocument) -> list[Any]:
    return [show_view(shown, width=WIDTH), notes_view(shown)]


def what_if_views(shown: WhatIfDocument) -> list[Any]:
    changes: list[dict[str, Any]] = [{}, {"unit": None}, {"unit": None, "row": None}]
    return [what_if_view(msgspec.structs.replace(shown, **change), width=WIDTH) for change in changes]


VIEWS: Mapping[str, Callable[[Any], list[Any]]] = {
    "cache": lambda shown: [cache_view(shown)],
    "calibrate": lambda shown: [calibrate_view(shown)],
    "codecs": lambda shown: [codecs_view(shown)],
    "compare": lambda shown: [compare_view(shown)],
    "cuts": cuts_views,
    "map": lambda shown: [map_view(shown, width=WIDTH)],
    "plan": plan_views,
    "profile": profile_views,
    "profiles": lambda shown: [profiles_view(shown)],
    "show": show_views,
    "train": lambda shown: [train_view(shown)],
    "verify": verify_views,
    "what-if": what_if_views,
    "work": lambda shown: [work_text(shown)],
    "report": lambda shown: [report_text(shown)],
}


def rendered(*views: Any, **options: Any) -> str:
    options = {"color_system": None, "force_terminal": True, **options}
    console = PlainConsole(width=WIDTH, _environ={}, file=io.StringIO(), **options)
    for view in views:
        console.print(view)
    return str(console.file.getvalue())  # type: ignore[attr-defined]  # the StringIO above


def test_every_document_has_its_views_here() -> None:
    assert VIEWS.keys() == DOCUMENTS.keys()


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("command", DOCUMENTS)
def test_hostile_text_in_every_field(command: str, text: str) -> None:
    hostile = document(DOCUMENTS[command], text)
    whole = rendered(*VIEWS[command](printable_lines(hostile)))
    header = (
        text if command in ("map", "plan", "show", "what-if") else ""
    )  # which those documents compose of printable names
    lines = whole.replace(header, "").splitlines() if "\n" in header else whole.splitlines()
    assert NOT_TEXT.findall(whole) == []
    assert printable_line(text) in whole
    assert [line for line in lines if line.startswith("ALL PASSED")] == []
    unprepared = rendered(*VIEWS[command](hostile))  # the console alone keeps codes out
    assert NOT_TEXT.findall(unprepared) == []
    styled = rendered(*VIEWS[command](hostile), color_system="truecolor")
    assert NOT_TEXT.findall(STYLE.sub("", styled)) == []


def test_strings_are_no_markup() -> None:
    assert rendered("[bold]x[/bold] [/] :warning: 12") == "[bold]x[/bold] [/] :warning: 12\n"


@pytest.mark.parametrize("text", HOSTILE)
def test_progress_shows_text_as_it_is(text: str) -> None:
    console = PlainConsole(width=WIDTH, _environ={}, file=io.StringIO(), force_terminal=True, color_system=None)
    with StageBars(console).stage("profile", 3) as step:
        step(text)
        step("")
    drawn = console.file.getvalue()  # type: ignore[attr-defined]  # the StringIO above
    shown = OF_RICH.sub("", drawn)
    assert NOT_TEXT.findall(shown) == []
    assert printable_line(text) in shown.splitlines()[-1]


def hostile_plan(folder: Path, text: str) -> None:
    """Let every text of plan.yaml that only says something be `text`."""
    file = read_yaml(folder / "plan.yaml", PlanFile)
    changed = msgspec.structs.replace(
        file,
        created_by=text,
        created=text,
        model=msgspec.structs.replace(file.model, name=text),
        metric=msgspec.structs.replace(file.metric, definition=text, unit=text),
        device=msgspec.structs.replace(file.device, name=text),
        answer=None if file.answer is None else msgspec.structs.replace(file.answer, reason=text),
    )
    write_yaml(folder / "plan.yaml", changed)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_plan_is_refused_or_shown_as_text_and_as_json(copied: Path, run: Run, text: str) -> None:
    hostile_plan(copied, text)
    refused = NOT_TEXT.search(text) is not None  # YAML with such characters is not read
    for command in (("show",), ("verify",), ("show", "--json")):
        code, out, err = run(*command, copied)
        assert (code, bool(err)) == ((3, True) if refused else (0, False))
        assert NOT_TEXT.findall(out + err) == []
        assert [line for line in out.splitlines() if line.startswith("ALL PASSED")] == []
    assert refused or text in json.loads(out)["metric"]["definition"]


def test_a_hostile_path_in_an_error(tmp_path: Path, run: Run) -> None:
    folder = tmp_path / "a\x1b[2K\rb\nALL PASSED"
    code, _, err = run("verify", folder)
    assert code == 3
    assert NOT_TEXT.findall(err) == []
    assert r"a\x1b[2K\rb" in err
    assert [line for line in err.splitlines()[1:] if not line.startswith("  ")] == []
