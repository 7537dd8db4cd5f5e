"""A stored plan as a document: its own point, and another of its front."""

from __future__ import annotations

from pathlib import Path

import pytest

from splitpoint.planner.deploy.plan import Plan
from splitpoint.planner.output.documents.show import show_document
from splitpoint.planner.plandir.front import read_front
from splitpoint.profiles.errors import ProfileError


def test_the_plans_own_point(split_plan: Path) -> None:
    file, document = Plan.load(split_plan).file, show_document(split_plan, None)
    assert (document.point, document.report, document.search) == (file.point, file.report, file.search)
    assert document == show_document(split_plan, file.point)
    assert (document.task, document.metric) == (file.task, file.metric)
    assert file.cut is not None
    assert document.cut == "+".join(tensor.name for tensor in file.cut.tensors)
    assert document.codec == f"{file.codec.name} {file.codec.rate_label}"
    assert document.parts.latency_s == pytest.approx(file.predicted.latency_s)
    assert document.created == f"{file.created} by {file.created_by}"


def test_another_point_of_the_front_has_no_figures_of_the_report_set(split_plan: Path) -> None:
    own = Plan.load(split_plan).file.point
    rows = {row.number: row for row in read_front(split_plan / "front.csv")}
    other = next(number for number in rows if number != own and number is not None)
    document = show_document(split_plan, other)
    assert (document.point, document.report) == (other, None)
    assert (document.cut, document.payload_bytes) == (rows[other].cut, rows[other].payload_bytes)
    assert document.search.value == rows[other].value
    assert [row.number for row in document.front if "recommended" in row.notes] == [own]
    assert len(document.front) == len(rows)


def test_a_damaged_front_is_refused_by_its_line(copied: Path) -> None:
    path = copied / "front.csv"
    path.write_text(path.read_text().replace(",measured,", ",guessed,", 1))
    with pytest.raises(ProfileError, match="payload_how") as caught:
        show_document(copied, None)
    assert str(caught.value.at).endswith("front.csv: line 2")


def test_the_plans_own_point_is_the_one_that_is_marked(copied: Path) -> None:
    text = (copied / "plan.yaml").read_text()
    assert text.count("\npoint: 1\n") == 1
    (copied / "plan.yaml").write_text(text.replace("\npoint: 1\n", "\npoint: 2\n"))
    marked = [row.number for row in show_document(copied, None).front if row.notes]
    assert marked == [2]
