"""docs/threat-model.md names what exists, and README.md links to it."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

import splitpoint.planner.deploy.plan as plan_module
from splitpoint.planner.deploy.plan import Plan

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")


def test_the_readme_links_to_it() -> None:
    assert "(docs/threat-model.md)" in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "text", re.findall(r"Plan\.(\w+)\((\w+)=", PAGE) + re.findall(r"Plan\.(load)\(.*?(expect)=", PAGE)
)
def test_methods_take_the_arguments_that_it_names(text: tuple[str, str]) -> None:
    method, argument = text
    assert argument in inspect.signature(getattr(Plan, method)).parameters


def test_errors_that_it_names_exist() -> None:
    names = re.findall(r"`(\w+Error)`", PAGE)
    assert names
    assert [name for name in names if not hasattr(plan_module, name)] == []


def test_it_says_what_is_not_protected() -> None:
    missing = PAGE.partition("## What is not protected")[2]
    assert [
        word for word in ("Privacy", "TLS", "limits", "Denial of service", "ONNX Runtime") if word not in missing
    ] == []
