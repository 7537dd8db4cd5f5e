"""A stored plan as a document: its own point, and another of its front."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from splitpoint.planner.deploy.plan import Plan
from splitpoint.planner.output.documents.show import show_document
from splitpoint.planner.plandir.front import parse_front
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.files.structs import write_yaml


def test_the_plans_own_point(split_plan: Path) -> None:
    file, document = Plan.load(split_plan).file, show_document(split_plan, None)
    assert (document.point, document.report, document.search) == (file.point, file.report, file.search)
    assert document == show_document(split_plan, file.point)
    assert (document.task, document.metric) == (file.task, file.metric)
    assert file.cut is not None
    assert document.tensor == "+".join(tensor.name for tensor in file.cut.tensors)
    assert document.cut == f"after {file.cut.layer}"
    assert document.head_share == file.cut.head_share
    assert 0 < (document.head_share or 0) < 1
    assert document.codec == f"{file.codec.name} {file.codec.rate_label}"
    assert document.parts.latency_s == pytest.approx(file.predicted.latency_s)
    assert document.created == f"{file.created} by {file.created_by}"


def test_another_point_of_the_front_has_no_figures_of_the_report_set(split_plan: Path) -> None:
    file = Plan.load(split_plan).file
    own = file.point
    rows = {row.number: row for row in parse_front((split_plan / "front.csv").read_bytes(), at="front.csv")}
    other = next(number for number in rows if number != own and number is not None)
    document = show_document(split_plan, other)
    assert (document.point, document.report) == (other, None)
    assert (document.cut, document.payload_bytes) == (rows[other].cut, rows[other].payload_bytes)
    assert document.search.value == rows[other].value
    assert file.answer is not None
    assert [row.number for row in document.front if "recommended" in row.notes] == [file.answer.number]
    assert document.answer == file.answer
    assert len(document.front) == len(rows)


def test_a_damaged_front_is_refused_by_its_line(split_plan: Path) -> None:
    damaged = (split_plan / "front.csv").read_bytes().replace(b",measured,", b",guessed,", 1)
    with pytest.raises(ProfileError, match="payload_how") as caught:
        parse_front(damaged, at="front.csv")
    assert caught.value.at == "front.csv: line 2"


@pytest.mark.parametrize("name", ["front.csv", "points/1/point.yaml"])
def test_a_file_that_was_changed_is_not_shown(copied: Path, name: str) -> None:
    (copied / name).write_bytes((copied / name).read_bytes() + b"\n")
    number = next(n for n in (1, 2) if n != Plan.load(copied).file.point) if name != "front.csv" else None
    if name != "front.csv" and number != 1:
        name = f"points/{number}/point.yaml"
        (copied / name).write_bytes((copied / name).read_bytes() + b"\n")
    with pytest.raises(ProfileError, match="is not the file this plan was written with"):
        show_document(copied, number)


def test_the_recommended_point_is_marked_and_no_other_that_was_written(copied: Path) -> None:
    file = Plan.load(copied).file
    assert file.answer is not None
    other = next(
        row.number
        for row in parse_front((copied / "front.csv").read_bytes(), at="front.csv")
        if row.number != file.answer.number
    )
    write_yaml(copied / "plan.yaml", msgspec.structs.replace(file, point=other))
    document = show_document(copied, None)
    assert document.point == other
    assert [row.number for row in document.front if "recommended" in row.notes] == [file.answer.number]
    assert [row.number for row in document.front if "shown" in row.notes] == [other]


def test_a_plan_without_a_stored_answer_marks_its_own_point(copied: Path) -> None:
    file = Plan.load(copied).file
    write_yaml(copied / "plan.yaml", msgspec.structs.replace(file, answer=None))
    document = show_document(copied, None)
    assert document.answer is None
    assert [row.number for row in document.front if row.notes] == [file.point]
