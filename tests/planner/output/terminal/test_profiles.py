"""`splitpoint profiles` lists what is shipped, and shows one, the same in the table and in the document."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from splitpoint.profiles.library.whole_networks import BOARDS

LIBRARY = Path(__file__).parents[4] / "profiles" / "library"


def test_every_shipped_profile_is_listed_with_its_description(run: Callable[..., Any]) -> None:
    code, table = run("profiles")[:2]
    document = json.loads(run("profiles", "--json")[1])
    assert code == 0
    listed = {(row["kind"], row["name"]) for row in document["profiles"]}
    shipped = {
        (kind, path.stem)
        for kind, folder in (("device", "devices"), ("server", "servers"), ("link", "links"))
        for path in (LIBRARY / folder).glob("*.yaml")
    }
    assert listed == shipped | {(board.kind, name) for name, board in BOARDS.items()}
    rows = " ".join(table.split())
    for row in document["profiles"]:
        assert f"{row['kind']} {row['name']}" in rows
        assert " ".join(row["description"].split()[:3]) in rows


def test_one_profile_is_shown_with_sources_and_its_error(run: Callable[..., Any]) -> None:
    code, said = run("profiles", "raspberry-pi-5-ncnn")[:2]
    document = json.loads(run("profiles", "raspberry-pi-5-ncnn", "--json")[1])
    assert code == 0
    figures = {row["name"]: row for row in document["figures"]["figures"]}
    dense = figures["compute.dense_macs_s"]
    assert (dense["unit"], dense["date"]) == ("MAC/s", "2026-11-29")
    assert dense["text"] == f"{dense['value'] / 1e9:.3g} GMAC/s"
    assert "maximum a posteriori" in dense["quote"]
    lines = [line.split() for line in said.splitlines()]
    assert ["compute.dense_macs_s", *dense["text"].split(), "[1]"] in lines
    network = figures["fitted_on[3].net"]["text"]
    assert ["fitted_on", network, *figures["fitted_on[3].seconds"]["text"].split(), "[3]"] in lines
    assert f"[1] {dense['source']} (2026-11-29)" in " ".join(said.split())
    error, within = document["figures"]["prediction_error"], document["figures"]["interval_factor"]
    wanted = f"x{error:.2f} on average for networks that were left out of the fit; 90 % of them within x{within:.2f}"
    assert wanted in " ".join(said.split())
    assert "Not known: memory.ram_bytes, memory.flash_bytes, power" in " ".join(said.split())
    assert "Error of predicted seconds: not known" in run("profiles", "apple-watch")[1]
    link = json.loads(run("profiles", "wifi-5", "--json")[1])
    assert (link["profiles"][0]["kind"], link["figures"]["error"]) == ("link", None)


def test_a_board_with_whole_networks_only_is_shown_and_has_the_next_step(run: Callable[..., Any]) -> None:
    code, said = run("profiles", "hailo-8l")[:2]
    document = json.loads(run("profiles", "hailo-8l", "--json")[1])
    assert code == 0
    words = " ".join(said.split())
    assert "device hailo-8l: Hailo-8L, NPU: throughput of whole networks only, not for a plan" in words
    figure = document["figures"]["figures"][0]
    assert f"[1] {figure['source']} ({figure['date']})" in words
    assert figure["text"].endswith(" /s")
    assert "for a plan measure the board: splitpoint calibrate" in words
    assert "word for word" not in words  # no quote was kept


def test_a_name_and_a_search_exclude_each_other(run: Callable[..., Any]) -> None:
    code, _, err = run("profiles", "wifi-5", "--search", "wifi")
    assert (code, "not one profile" in " ".join(err.split())) == (2, True)
    assert run("profiles", "wifi-5")[0] == 0
