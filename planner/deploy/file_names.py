"""Names of the files of a plan directory; a file under another name is no part of a plan."""

from __future__ import annotations

import re

__all__ = [
    "CODEC",
    "CONFIG",
    "FRONT",
    "HEAD",
    "MEASURED",
    "PAGE",
    "PLAN",
    "POINT",
    "POINTS",
    "REFERENCE",
    "REPORT",
    "RUNNING",
    "TAIL",
    "VARIANT",
    "VARIANTS",
    "WHOLE",
    "is_content",
    "is_page",
    "is_plan_file",
]


def __dir__() -> list[str]:
    return __all__


PLAN, HEAD, TAIL, CODEC = "plan.yaml", "head.onnx", "tail.onnx", "codec.npz"
RUNNING = (HEAD, TAIL, CODEC)  # what a device and a server run
WHOLE, REPORT = "whole.onnx", "report-inputs.npz"  # what verify compares with
REFERENCE = "reference.npz"  # what the given network gives for the report inputs, where the plan runs another one
CONFIG = "config.yaml"  # what was asked for
FRONT = "front.csv"  # every measured point (`planner.plandir.front`)
MEASURED = "measured.bin"  # the same and more, from which it can be decided again (`planner.answers.record`)
PAGE = "report.html"  # made of the others for people, and again at any time; no part of the plan
POINTS, POINT = "points", "point.yaml"  # a folder for each point of the front, named by its number; a `PointFile`
VARIANTS, VARIANT = "variants", "variant.yaml"  # a folder for each network of the front; a `VariantFile`

_FILES = frozenset({*RUNNING, WHOLE, REPORT, REFERENCE})
_CONTENTS = (
    rf"{re.escape(CONFIG)}|{re.escape(FRONT)}|{re.escape(MEASURED)}"
    rf"|{POINTS}/[1-9][0-9]{{0,4}}/(?:{re.escape(POINT)}|{re.escape(CODEC)}|(?:en|de)coder[0-9]{{1,2}}\.onnx)"
    rf"|{VARIANTS}/[1-9][0-9]{{0,4}}/(?:{re.escape(VARIANT)}|{re.escape(WHOLE)}|{re.escape(REPORT)}"
    rf"|{re.escape(REFERENCE)})"
)


def is_plan_file(name: str) -> bool:
    """Whether `files` of plan.yaml may have this name."""
    return name in _FILES


def is_content(name: str) -> bool:
    """Whether `contents` of plan.yaml may have this name: a path below the plan directory, with slashes."""
    return re.fullmatch(_CONTENTS, name) is not None


def is_page(name: str) -> bool:
    """Whether this is the report for people, or what a process that was killed left of one; no plan.yaml lists it."""
    return re.fullmatch(rf"{re.escape(PAGE)}(\.[0-9a-f]{{8}})?", name) is not None
