"""Plan directories that the report is made of: one of ordinary names, one whose names try to run."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import onnx
import pytest

from splitpoint.planner.flow import plan
from splitpoint.planner.output.report.writing import write_report
from splitpoint.planner.plandir.writing import write_plan
from splitpoint.planner.setup.config import read_config
from splitpoint.planner.setup.loading import load_problem

EVIL = "</script><script>window.hacked=1</script><img src=x onerror=window.hacked=1><!--<script>\u2028&\"'%{x}<b>"


@pytest.fixture(scope="session")
def evil() -> str:
    """A name that breaks out of JSON, of HTML, of an attribute and of a chart's text where it is not escaped."""
    return EVIL


@pytest.fixture(scope="session")
def reported(split_plan: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plan directory with its report; do not change it."""
    folder = Path(shutil.copytree(split_plan, tmp_path_factory.mktemp("reported") / "plan"))
    write_report(folder)
    return folder


@pytest.fixture(scope="session")
def hostile(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same of a network whose file, tensors and operators have that name."""
    folder = tmp_path_factory.mktemp("hostile")
    model = onnx.load(home / "model.onnx")
    for i, node in enumerate(model.graph.node):
        node.name = f"{EVIL}{i}"
        node.input[:] = [_renamed(name) for name in node.input]
        node.output[:] = [_renamed(name) for name in node.output]
    path = folder / f"{EVIL.replace('/', ' ')}.onnx"
    onnx.save(model, path)
    config = read_config(home / "labelled.yaml")
    search = msgspec.structs.replace(config.search, evaluations=8, codecs=("fp16", "fast"))
    result = plan(load_problem(msgspec.structs.replace(config, model=str(path), search=search)))
    inside = [point for point in result.points if point.candidate.cut not in ("", "x")]
    write_plan(result, inside[0], folder / "plan")
    write_report(folder / "plan")
    return folder / "plan"


def _renamed(name: str) -> str:
    return EVIL + name if name[0] in "cr" else name
