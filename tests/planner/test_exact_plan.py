"""Whole plans from a stored profile and a fixed seed: the exact exit code, front, recommendation and messages."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import onnx
import pytest

from splitpoint.planner.deploy.accuracy import Accuracy
from splitpoint.planner.plandir.report import run_report
from splitpoint.planner.setup.config import SearchConfig, read_config
from splitpoint.profiles.files.structs import write_yaml

Run = Callable[..., tuple[int, str, str]]
REPORT = "splitpoint.planner.plandir.writing.run_report"
ALONE, PNG = ("all on device", "-", "-"), ("send picture", "png", "lossless")


@pytest.fixture
def planned(
    home: Path, run: Run, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., tuple[int, Any]]:
    """`planned(*flags)` plans the labelled data and gives the exit code and the document."""

    def call(*flags: object, device: str = "slow.yaml", search: SearchConfig | None = None) -> tuple[int, Any]:
        config, file = read_config(home / "labelled.yaml"), tmp_path_factory.mktemp("config") / "labelled.yaml"
        write_yaml(file, msgspec.structs.replace(config, search=search or config.search))
        fixed = ("--profile", home / "fixed.yaml", "--device", home / device, "--out", tmp_path / "plan", "--json")
        code, out, err = run("plan", file, *fixed, *flags)
        assert out, err
        return code, json.loads(out)

    return call


def places(rows: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    return [(row["cut"], row["codec"], row["rate"]) for row in rows]


def test_the_input_sent_meets_everything(planned: Callable[..., tuple[int, Any]], tmp_path: Path) -> None:
    code, answer = planned("--max-drop", "3%", "--deadline", "54ms", "--max-payload", "650B")
    assert code == 0
    assert places(answer["front"]) == [
        ("send input", "uniform-zstd", "5 bit"),
        ("send input", "range-rans", "5 bit"),
        ("send input", "fast", "6 bit"),
    ]
    assert (answer["recommended"]["number"], answer["recommended"]["kind"]) == (1, "input")
    assert answer["recommended"]["reason"] == (
        "do not split: all on device misses latency by 1.44 ms; the nearest split (after relu0, fast 8 bit)"
        " misses latency by 11.2 ms"
    )
    assert (answer["contradicted"], answer["nearest"]) == (None, [])
    assert answer["safer"] == {"number": 2, "cut": "send input", "codec": "range-rans", "rate": "5 bit"}
    assert answer["report"]["drop"] <= 0.05
    assert (tmp_path / "plan" / "head.onnx").is_file()


def test_a_split_inside_the_network(planned: Callable[..., tuple[int, Any]], tmp_path: Path) -> None:
    """The whole network does not fit the device's memory, and pictures lose too much or take longer than a split.

    The budget exceeds the number of candidates, so that the front does not depend on which ones the sampler asks for.
    """
    search = SearchConfig(evaluations=100, codecs=("raw", "brito-sq"), race=False)
    needs = ("--max-drop", "5%", "--max-device-memory", "12kB")
    code, answer = planned(*needs, device="fixed-pi.yaml", search=search)
    assert code == 0
    assert places(answer["front"]) == [
        *(("after relu1", "brito-sq", f"{bits} bit") for bits in (5, 6, 7)),
        ("after conv1", "brito-sq", "8 bit"),
        *(("after relu0", "brito-sq", f"{bits} bit") for bits in (7, 8)),
        PNG,
    ]
    assert answer["recommended"]["number"] == 1
    assert answer["recommended"]["reason"] == (
        "it is the fastest; all on device misses device memory by 4.76 kB; send picture, png is 791 µs slower"
        " (± 377 µs, in 92 of 100 draws)"
    )
    assert (answer["contradicted"], answer["nearest"]) == (None, [])
    assert answer["safer"]["number"] == 2
    assert {row["label"]: row["notes"] for row in answer["baselines"]}["all on device"] == [
        "misses device memory by 4.76 kB"
    ]
    head, tail = (
        [node.op_type for node in onnx.load(tmp_path / "plan" / f"{half}.onnx").graph.node] for half in ("head", "tail")
    )
    assert head[:4] == ["Conv", "Relu", "Conv", "Relu"]
    assert tail[-5:] == ["Conv", "Relu", "GlobalAveragePool", "Flatten", "Gemm"]
    assert len(head) > 4  # the codec's graphs are in both
    assert len(tail) > 5


def test_a_choice_that_the_report_set_contradicts(
    planned: Callable[..., tuple[int, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a report set whose whole interval misses the floor does, and here the search knows better than that."""

    def unlucky(*arguments: Any, **named: Any) -> Accuracy:
        found = run_report(*arguments, **named)
        return msgspec.structs.replace(found, drop=0.25, drop_low=0.125)

    monkeypatch.setattr(REPORT, unlucky)
    code, answer = planned("--max-drop", "7%", "--deadline", "54ms")
    assert code == 1
    assert places(answer["front"]) == [
        ("send input", "uniform-zstd", "4 bit"),
        ("send input", "range-rans", "4 bit"),
        ("send input", "uniform-zstd", "5 bit"),
        ("send input", "range-rans", "5 bit"),
        ("send input", "fast", "6 bit"),
        PNG,
    ]
    assert answer["recommended"]["number"] == 1  # it stays what the search chose
    assert answer["contradicted"] == "drop 25 % on the report set (95 %: 12.5 % or worse), at most 7 % was asked"
    assert answer["safer"] == {"number": 2, "cut": "send input", "codec": "range-rans", "rate": "4 bit"}
    assert (tmp_path / "plan" / "plan.yaml").is_file()


def test_all_on_the_device(planned: Callable[..., tuple[int, Any]], home: Path) -> None:
    code, answer = planned(device="fixed-pi.yaml")
    assert (code, places(answer["front"]), answer["recommended"]["number"]) == (0, [ALONE], 1)
    assert answer["recommended"]["reason"] == (
        "do not split: send picture, webp q 95 is 50.9 ms slower (± 188 µs, in 100 of 100 draws); the best split"
        " (after flatten, raw) is 50.4 ms slower (± 38.4 µs, in 100 of 100 draws)"
    )
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
    assert places(answer["nearest"])[0] == ("send picture", "webp", "q 95")
    assert answer["nearest"][0]["notes"] == ["misses latency by 31 ms"]
    assert answer["would_fit"] == ["latency <= 51.1 ms"]
    assert list(tmp_path.iterdir()) == []
