"""The configuration file: quantities with units, and a bad one is an error with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from splitpoint.planner.setup.config import PlanConfig, read_config
from splitpoint.profiles.errors import ProfileError


def read(folder: Path, line: str) -> PlanConfig:
    (folder / "plan.yaml").write_text(f"model: net.onnx\ndata:\n  source: pictures\n{line}\n")
    return read_config(folder / "plan.yaml")


@pytest.mark.parametrize(
    ("line", "n_bytes"),
    [("", None), ("cache: null", None), ("cache: 1 GB", 10**9), ("cache: 1 MiB", 2**20), ("cache: 0", 0)],
)
def test_the_memory_for_caches(tmp_path: Path, line: str, n_bytes: int | None) -> None:
    assert read(tmp_path, line).cache == n_bytes


@pytest.mark.parametrize("value", ["lots", "1 Gbit", "-1", "-1 GB", "0.5", "true", ".inf", "[1 GB]"])
def test_what_is_no_memory_for_caches_is_an_error_with_its_place(tmp_path: Path, value: str) -> None:
    with pytest.raises(ProfileError, match=r"plan\.yaml: expected .*`\$\.cache`"):
        read(tmp_path, f"cache: {value}")
