"""docs/tasks.md names every task with the metric that it has, and its examples are configurations."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from splitpoint.planner.deploy.schema import IOTensor
from splitpoint.planner.deploy.task import TASKS, Task
from splitpoint.planner.quality.metrics.registry import METRICS, make_metric
from splitpoint.planner.setup.config import PlanConfig
from splitpoint.profiles.files.yaml12 import load

TEXT = (Path(__file__).parents[2] / "docs" / "tasks.md").read_text()
OUTPUTS = {  # a network for each task whose metric can be built without files
    "classify": IOTensor(name="y", shape=(1, 10), dtype="float32"),
    "segment": IOTensor(name="y", shape=(1, 3, 8, 8), dtype="float32"),
    "embed": IOTensor(name="y", shape=(1, 64), dtype="float32"),
    "regress": IOTensor(name="y", shape=(1, 1), dtype="float32"),
    "sequence": IOTensor(name="y", shape=(1, 20), dtype="int64"),
    "tensor": IOTensor(name="y", shape=(1, 64), dtype="float32"),
}


def table() -> dict[str, str]:
    """Task -> its metric, of the table."""
    return {task: metric for task, metric in re.findall(r"^\| `(\w+)` \| [^|]* \| ([^|]*) \|", TEXT, re.M)}


def test_every_task_is_in_the_table_and_has_its_section() -> None:
    assert list(table()) == list(TASKS)
    sections = re.findall(r"^## (\w+)$", TEXT, re.M)
    assert sections == [name for name in TASKS if name != "custom"]
    assert set(METRICS) | {"detect"} == set(TASKS)


@pytest.mark.parametrize("task", OUTPUTS)
def test_the_table_names_the_metric(task: Any) -> None:
    for against in ("labels", "unsplit") if task != "tensor" else ("unsplit",):
        metric: Any = make_metric(Task(name=task), [OUTPUTS[task]], against)
        name = metric.use.name.replace("top1", "top-1")
        assert name in table()[task]
        section = TEXT.split(f"## {task}\n")[1].split("\n## ")[0]
        unit = f"Unit: {metric.use.unit}.".replace(" ", r"\s+")
        assert re.search(unit, section)


def test_every_example_is_a_configuration() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", TEXT, re.S)
    assert len(blocks) == len(TASKS)
    names = []
    for block in blocks:
        fields: Any = load(block, "tasks.md")
        document: Any = {"model": "net.onnx", "data": {"source": "data.npz"}, **fields}
        asked = msgspec.convert(document, PlanConfig).asked_task()
        assert asked is not None
        names.append(asked.name)
    assert names == list(TASKS)
