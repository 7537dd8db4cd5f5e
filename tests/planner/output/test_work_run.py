"""``splitpoint work`` and the options of studies, as a user types them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def plan(home: Path, tmp_path: Path, run: Run) -> Run:
    def call(*arguments: object) -> tuple[int, str, str]:
        fixed = ("--profile", home / "fixed.yaml", "--out", tmp_path / "plan", "--evaluations", 6, "--json")
        return run("plan", home / "labelled.yaml", *fixed, *arguments)

    return call


def test_the_same_command_continues_its_study_and_another_problem_has_another(plan: Run) -> None:
    code, first, err = plan()
    assert code == 0
    name = re.search(r"study +new: (\S+)", err)
    assert name is not None
    _, again, err = plan()
    assert f"continues {name[1]}: 6 of 6 candidates were measured" in " ".join(err.split())
    ours, theirs = json.loads(first), json.loads(again)
    assert ours["front"] == theirs["front"]
    assert "new: " in plan("--link", "wifi-5")[2]
    assert "new: " in plan("--seed", 1)[2]
    assert f"new: {name[1]}" in plan("--fresh")[2]


def test_a_worker_joins_by_the_name_that_the_plan_prints(plan: Run, run: Run, tmp_path: Path) -> None:
    journal = tmp_path / "a.journal"
    code, _, err = plan("--storage", journal)
    found = re.search(r"splitpoint work (\S+) --storage", " ".join(err.split()))
    assert found is not None
    code, out, err = run("work", found[1], "--storage", journal, "--json")
    assert code == 0, err
    document = json.loads(out)
    assert document == {
        "kind": "work",
        "version": 1,
        "study": found[1],
        "measured_here": 0,
        "measured": 6,
        "total": 6,
        "stopped": "",
    }
    assert "measured 0 candidates here" in " ".join(run("work", found[1], "--storage", journal)[1].split())


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("--storage", "grpc://host:13000"), 3, "expected a journal's file or postgresql://"),
        (("--storage", "postgresql://me:secret@127.0.0.1:9/x"), 3, "the database cannot be used"),
        (("--study", "../x"), 3, "expected a name of letters"),
        (("--sampler", "best"), 2, "is not one of"),
    ],
)
def test_mistakes_of_a_plan(plan: Run, arguments: tuple[str, ...], code: int, text: str) -> None:
    got, _, err = plan(*arguments)
    assert (got, text in " ".join(err.split()), "secret" in err) == (code, True, False), err


def test_mistakes_of_a_worker(run: Run, tmp_path: Path) -> None:
    code, _, err = run("work", "mine", "--storage", tmp_path / "new.journal")
    assert (code, "there is no study mine; known: there is none" in err) == (3, True)
    assert run("work", "mine")[0] == 2
