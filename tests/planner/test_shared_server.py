"""A plan for many devices at one server: the wait is a part of each latency, and one that cannot keep up is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., tuple[int, str, str]]


def planned(run: Run, home: Path, out: Path, *flags: Any) -> tuple[int, dict[str, Any]]:
    options = ("--profile", home / "fixed.yaml", "--evaluations", 4, "--server", "cloud-8core", "--out", out)
    code, said, err = run("plan", home / "labelled.yaml", *options, *flags, "--json")
    assert code in (0, 1), err
    return code, json.loads(said)


def test_the_wait_is_a_part_of_the_latency_and_is_shown(home: Path, run: Run, tmp_path: Path) -> None:
    document = planned(run, home, tmp_path / "plan", "--server-devices", 8, "--device-rate", "50/s")[1]
    waiting = [row for row in document["front"] + document["baselines"] if row["latency_parts_s"]["wait"]]
    assert waiting
    for row in waiting:
        parts = row["latency_parts_s"]
        assert row["latency_s"] == pytest.approx(sum(parts.values()))
        service_s = parts["decode"] + parts["tail"] + (parts["prepare"] if row["placement"] == "server" else 0.0)
        rho = 400 * service_s
        assert rho < 1
        assert parts["wait"] == pytest.approx(rho * service_s / (2 * (1 - rho)))
    point = next((row for row in waiting if row["number"] is not None), None)
    if point is not None:
        said = " ".join(run("show", tmp_path / "plan", "--point", point["number"])[1].split())
        assert " + wait " in said


def test_a_server_that_cannot_keep_up_is_refused_with_the_reason(home: Path, run: Run, tmp_path: Path) -> None:
    flags = ("--server-devices", 10**6, "--device-rate", "100/s")
    document = planned(run, home, tmp_path / "plan", *flags)[1]
    split = [row for row in document["front"] if row["placement"] != "device"]
    assert split == []
    assert "requests per second would keep the server busy" in json.dumps(document)
