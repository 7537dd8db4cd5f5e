"""docs/reference/configuration-fields.md is made of the code, and what it says of a field is what the reader does."""

from __future__ import annotations

import re
from pathlib import Path

from splitpoint.planner.limits.limits import LIMITS
from splitpoint.planner.limits.objectives import OBJECTIVES
from splitpoint.planner.output.reference.fields_page import fields_page, main

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "configuration-fields.md"


def rows(heading: str) -> dict[str, list[str]]:
    """Field -> what it takes, its default and what it is, of the table below a heading."""
    (section,) = re.findall(rf"^### {re.escape(heading)}\n(.*?)(?=^##|\Z)", PAGE.read_text(), re.M | re.S)
    cells = [re.split(r" ?(?<!\\)\| ?", line)[1:-1] for line in section.splitlines() if line.startswith("| `")]
    return {name.strip("`"): rest for name, *rest in cells}


def test_the_page_is_what_the_command_writes(tmp_path: Path) -> None:
    assert main([str(tmp_path / "page.md")]) == 0
    assert (tmp_path / "page.md").read_text(encoding="utf-8") == fields_page()
    assert fields_page() == PAGE.read_text(encoding="utf-8"), (
        "python -m splitpoint.planner.output.reference.fields_page"
    )


def test_every_block_has_a_table() -> None:
    headings = re.findall(r"^### (.*)$", PAGE.read_text(), re.M)
    assert len(headings) == len(set(headings))
    blocks = {"plan", "input", "data", "models", "prune", "train", "shared_by", "need", "search", "task"}
    assert blocks < set(headings)
    assert {"device", "runtime", "compute.kernels", "accelerator.fallback", "serial.coders"} < set(headings)
    assert {"every link", "kind: fixed", "kind: trace", "coding.kind: cqi", "radio"} < set(headings)


def test_links_within_the_page_lead_to_a_heading() -> None:
    text = PAGE.read_text()
    anchors = {re.sub(r"[^\w\s-]", "", heading).replace(" ", "-") for heading in re.findall(r"^### (.*)$", text, re.M)}
    linked = set(re.findall(r"\]\(#(.*?)\)", text))
    assert {"need", "computekernels", "codingkind-cqi"} < linked
    assert linked <= anchors


def test_rows_say_what_is_taken_and_what_is_left_out() -> None:
    plan, need, search, link = rows("plan"), rows("need"), rows("search"), rows("every link")
    assert plan["model"][:2] == ["text", "required"]
    assert plan["objectives"][1] == "`[latency, payload, drop]`"
    assert need["deadline"][:2] == ["a time, 0 to 1e9 s; or `null`", "`null`"]
    assert search["evaluations"][:2] == ["whole number, 0 to 1,000,000", "`120`"]
    assert search["seed"][0] == "whole number, at least 0, below 4,294,967,296"
    assert rows("train")["activations"][1] == "`4 GB`"
    assert link["rtt_s"][0] == "a time or a number of s, 0 to 1e9 s"
    assert rows("kind: awgn")["coding"][1] == "`{kind: shannon}`"
    assert "device" not in rows("accelerator.fallback")  # set when the file was read
    assert "rtt_s" not in rows("kind: fixed")  # of every link


def test_meanings_come_from_rows_and_name_what_there_is() -> None:
    need = rows("need")
    fields = {limit.field: limit for limit in LIMITS.values() if limit.field is not None}
    assert fields.keys() < need.keys()
    assert all(need[name][2].startswith(limit.help) for name, limit in fields.items())
    assert need["max_drop"][2].endswith("Left out: 1%.")
    assert rows("plan")["objectives"][2] == f"of the front: {', '.join(OBJECTIVES)}"
