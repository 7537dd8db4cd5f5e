"""What is left out of a fit is not seen by it, and a table that cannot be right is said to be broken."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from splitpoint.benchmarks.left_out import Table, interval_factors, leave_out, table_of
from splitpoint.benchmarks.published import Setting
from splitpoint.benchmarks.scores import latency_result
from splitpoint.planner.profiling.published import load_prior
from splitpoint.profiles.library.networks import published_networks

PRIOR = load_prior("gpu")


def small_table() -> Table:
    """Three boards, each as fast as the mean of all GPUs times a number, with some noise."""
    networks = [name for name in published_networks() if name != "efficientnetv2_b0"]
    empty = table_of([setting("a", dict.fromkeys(networks, 1.0))], kind="gpu")
    seconds = empty.amounts @ np.exp(np.array(PRIOR.mean))
    noise = np.exp(0.1 * np.random.default_rng(3).standard_normal((3, len(networks))))
    tables = [slower * seconds * row for slower, row in zip((1.0, 2.0, 5.0), noise, strict=True)]
    settings = [setting(name, dict(zip(networks, row, strict=True))) for name, row in zip("abc", tables, strict=True)]
    return table_of(settings, kind="gpu")


def setting(board: str, seconds: dict[str, float]) -> Setting:
    return Setting(board=board, unit="GPU", threads=1, cores="all", table=0, seconds=seconds)


def test_no_figure_of_a_network_or_of_its_backbone_moves_its_own_prediction() -> None:
    table = small_table()
    column = table.networks.index("mobilenet")
    logs = table.logs.copy()
    logs[:, table.backbones == "mobilenet"] += math.log(3)  # on every board, with those of its backbone
    before, after = (leave_out(one, "gpu", PRIOR)[:, column] for one in (table, dataclasses.replace(table, logs=logs)))
    np.testing.assert_allclose(after, before - math.log(3), atol=1e-6)


def test_a_table_that_contradicts_another_of_its_chip_is_broken_and_others_are_not() -> None:
    table = small_table()
    logs = table.logs[[0, 0, 2]].copy()
    logs[1, table.networks.index("vgg16")] -= math.log(100)
    twin = dataclasses.replace(table.settings[0], table=1)
    table = dataclasses.replace(table, settings=(table.settings[0], twin, table.settings[2]), logs=logs)
    errors = leave_out(table, "gpu", PRIOR)
    result = latency_result(
        {"gpu": table}, {"gpu": errors}, {"gpu": errors}, shipped={"b": entry(2)}, refused={}, all_networks=errors
    )
    worst = result["worst"]["gpu"]
    assert worst[0]["network"] == "vgg16"
    assert worst[0]["likely_reason"].startswith("the table is broken: vgg16 in ")
    assert any(not row["likely_reason"].startswith("the table is broken") for row in worst)
    assert np.isfinite(interval_factors(errors, table.backbones)[0]).all()


def entry(row: int) -> tuple[Any, str, int]:
    @dataclasses.dataclass
    class Named:
        family: str = "f"

    return Named(), "gpu", row
