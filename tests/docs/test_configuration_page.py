"""docs/configuration.md shows every field, and its example is a configuration that is read as it stands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec

from splitpoint.planner.limits.need import Need
from splitpoint.planner.setup.config import (
    DataConfig,
    OtherModel,
    PlanConfig,
    PruneConfig,
    SearchConfig,
    SharedBy,
    TrainConfig,
    read_config,
)
from splitpoint.profiles.files.yaml12 import load
from splitpoint.profiles.network.inputs import InputSpec

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def example() -> str:
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.S)
    return str(block)


def test_the_example_is_read_as_it_stands(tmp_path: Path) -> None:
    (tmp_path / "all.yaml").write_text(example())
    config = read_config(tmp_path / "all.yaml")
    assert config.need.deadline == 0.055
    assert config.prune is not None


def test_every_field_is_shown() -> None:
    shown: Any = load(example(), str(PAGE))
    parts: dict[type[msgspec.Struct], Any] = {
        PlanConfig: shown,
        InputSpec: shown["input"],
        DataConfig: shown["data"],
        OtherModel: shown["models"][0],
        PruneConfig: shown["prune"],
        TrainConfig: shown["train"],
        Need: shown["need"],
        SearchConfig: shown["search"],
        SharedBy: shown["shared_by"],
    }
    for struct, part in parts.items():
        assert set(part) == {field.encode_name for field in msgspec.structs.fields(struct)}, struct
