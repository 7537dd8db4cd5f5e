"""Whole plans from a stored profile and a fixed seed: the exact exit code, front, recommendation and what is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., tuple[int, str, str]]
ALONE, PNG = ("all on device", "-", "-"), ("send picture", "png", "lossless")


@pytest.fixture
def planned(home: Path, run: Run, tmp_path: Path) -> Callable[..., tuple[int, Any]]:
    """`planned(*flags)` plans the labelled data and gives the exit code and the document."""

    def call(*flags: object, device: str = "slow.yaml") -> tuple[int, Any]:
        fixed = ("--profile", home / "fixed.yaml", "--device", home / device, "--out", tmp_path / "plan", "--json")
        code, out, err = run("plan", home / "labelled.yaml", *fixed, *flags)
        assert out, err
        return code, json.loads(out)

    return call


def places(rows: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    return [(row["cut"], row["codec"], row["rate"]) for row in rows]


def test_a_split_that_meets_everything(planned: Callable[..., tuple[int, Any]], tmp_path: Path) -> None:
    code, answer = planned("--max-drop", "5%", "--deadline", "54ms", "--max-payload", "650B")
    assert code == 0
    assert places(answer["front"]) == [("x", "range-rans", "6 bit")]
    assert answer["recommended"]["number"] == 1
    assert answer["recommended"]["reason"] == (
        "it sends the fewest bytes of all that meet the deadline and the quality floor"
    )
    assert (answer["contradicted"], answer["safer"], answer["nearest"]) == (None, None, [])
    assert answer["report"]["drop"] <= 0.05
    assert (tmp_path / "plan" / "head.onnx").is_file()


def test_a_choice_that_the_report_set_contradicts(planned: Callable[..., tuple[int, Any]], tmp_path: Path) -> None:
    code, answer = planned("--max-drop", "10%", "--deadline", "54ms")
    assert code == 1
    assert places(answer["front"]) == [("x", "uniform-zstd", "3 bit"), ("x", "range-rans", "6 bit"), PNG]
    assert answer["recommended"]["number"] == 1  # it stays what the search chose
    assert answer["contradicted"] == "drop 12.5 % on the report set, at most 10 % was asked"
    assert answer["safer"] == {"number": 2, "cut": "x", "codec": "range-rans", "rate": "6 bit"}
    assert (tmp_path / "plan" / "plan.yaml").is_file()


def test_all_on_the_device(planned: Callable[..., tuple[int, Any]], home: Path) -> None:
    code, answer = planned(device="fixed-pi.yaml")
    assert (code, places(answer["front"]), answer["recommended"]["number"]) == (0, [ALONE], 1)
    assert answer["recommended"]["reason"] == "it is the fastest of all that meet the quality floor"
    assert [row["label"] for row in answer["baselines"]] == [
        "all on device",
        "send PNG",
        "send JPEG, WebP",
        "uncompressed split",
    ]
    assert [row["what"] for row in answer["recommended"]["by_rate"]] == ["all on device"]


def test_nothing_fits(planned: Callable[..., tuple[int, Any]], tmp_path: Path) -> None:
    code, answer = planned("--deadline", "20ms")
    assert (code, answer["front"], answer["recommended"]) == (1, [], None)
    assert len(answer["nearest"]) == 3
    assert places(answer["nearest"])[0] == ("x", "fast", "3 bit")
    assert answer["nearest"][0]["notes"] == ["misses latency by 31.3 ms"]
    assert answer["would_fit"] == ["latency <= 51.4 ms"]
    assert list(tmp_path.iterdir()) == []
