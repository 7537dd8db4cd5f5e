"""Rows of preferences: each has its objective on the front, its figures, its flag and its value in YAML."""

from __future__ import annotations

import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from splitpoint.planner.limits.objectives import OBJECTIVES
from splitpoint.planner.limits.preferences import PREFERENCES, with_preferred
from splitpoint.planner.setup.config import PlanConfig, Prefer
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.files.structs import decode_yaml

MINIMAL = "model: m.onnx\ndata: {source: d}\n"


def test_the_configuration_takes_the_rows_and_latency_is_the_default() -> None:
    assert typing.get_args(Prefer) == tuple(PREFERENCES)
    assert decode_yaml(MINIMAL, PlanConfig, where="c").prefer == "latency"
    for name in PREFERENCES:
        assert decode_yaml(f"{MINIMAL}prefer: {name}\n", PlanConfig, where="c").prefer == name


def test_an_unknown_preference_is_refused_with_the_known_ones() -> None:
    with pytest.raises(
        ProfileError, match=r"expected one of cost, energy, knee, latency.*got 'latencyy'.*\$\.prefer"
    ) as caught:
        decode_yaml(f"{MINIMAL}prefer: latencyy\n", PlanConfig, where="c")
    assert caught.value.fix == "did you mean 'latency'?"


def test_the_flag_takes_the_rows_and_refuses_others(run: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    code, _, err = run("plan", "m.onnx", "--data", tmp_path, "--prefer", "speed")
    assert code == 2
    assert "--prefer" in err
    assert "knee" in err


def test_the_preferred_quantity_joins_the_objectives_once() -> None:
    objectives = ("latency", "payload", "drop")
    assert with_preferred(objectives, "latency") == with_preferred(objectives, "knee") == objectives
    assert with_preferred(objectives, "energy") == (*objectives, "energy")
    assert with_preferred(("payload",), "quality") == ("payload", "drop")


@pytest.mark.parametrize("name", PREFERENCES)
def test_a_preference_needs_the_figures_of_its_objective(name: str) -> None:
    row = PREFERENCES[name]
    assert row.objective is None or OBJECTIVES[row.objective].figures == row.figures


def test_what_no_point_could_know_is_refused_before_anything_is_measured(home: Path, run: Any, tmp_path: Path) -> None:
    arguments = ("plan", home / "labelled.yaml", "--profile", home / "fixed.yaml", "--out", tmp_path / "plan")
    code, _, err = run(*arguments, "--prefer", "cost")
    assert code == 3
    assert "cost is not known: the server 'cloud-8core' has no `price`" in err
    assert list(tmp_path.iterdir()) == []


def test_the_flag_decides_the_answer(home: Path, run: Any, tmp_path: Path) -> None:
    import json

    answers = {}
    for prefer in ("latency", "payload"):
        fixed = ("--profile", home / "fixed.yaml", "--device", home / "slow.yaml", "--link", "ethernet-1g", "--json")
        _, out, err = run("plan", home / "labelled.yaml", *fixed, "--prefer", prefer, "--out", tmp_path / prefer)
        assert out, err
        document = json.loads(out)
        answers[prefer] = document["front"][document["recommended"]["number"] - 1]
        assert document["recommended"]["prefer"] == prefer
    assert answers["payload"]["payload_bytes"] < answers["latency"]["payload_bytes"]
    assert answers["payload"]["latency_s"] > answers["latency"]["latency_s"]
