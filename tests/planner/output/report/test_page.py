"""The page: what it says is what the plan's files say, and no name in them becomes a tag, a script or a link."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import itertools
import json
import re
import shutil
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest

from splitpoint.planner.answers.stored import read_record
from splitpoint.planner.deploy.file_names import PAGE, PLAN
from splitpoint.planner.deploy.plan import Plan
from splitpoint.planner.output.report.content import read_content
from splitpoint.planner.output.report.page import charts, page_text
from splitpoint.planner.output.report.writing import add_report, write_report
from splitpoint.planner.plandir.placing import check_replaceable
from splitpoint.planner.plandir.verify import verify
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.files.structs import dump_yaml
from splitpoint.profiles.network.inputs import is_guess_of_levels

MOST_BYTES = 6_000_000  # of a report


class Page(HTMLParser):
    """Tags with their attributes, scripts by content, and the text of everything else."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_data(self, data: str) -> None:
        if self.lasttag == "script" and (self.get_starttag_text() or "").startswith("<script"):
            attrs, text = self.scripts[-1]
            self.scripts[-1] = attrs, text + data
        self.text += data


def page_of(directory: Path) -> Page:
    """The page without Plotly, which takes a second to parse."""
    return Page(page_text(read_content(directory), plotly="1", style="", script="2"))


def texts(value: object) -> Iterator[str]:
    """Every text in a chart that Plotly draws."""
    if isinstance(value, str):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ():
        yield from texts(item)


def test_a_report_is_one_file_of_at_most_six_megabytes_that_loads_nothing(reported: Path) -> None:
    text = (reported / PAGE).read_text(encoding="utf-8")
    assert len(text.encode()) < MOST_BYTES
    tags = page_of(reported).tags
    assert {tag for tag, attrs in tags if "src" in attrs} == set()
    links = [attrs["href"] or "" for _, attrs in tags if "href" in attrs]
    assert all(link.startswith("#") or link == "data:," for link in links)
    assert all("style" not in attrs and not any(name.startswith("on") for name in attrs) for _, attrs in tags)


def test_the_policy_allows_the_two_scripts_and_nothing_else(reported: Path) -> None:
    text = (reported / PAGE).read_bytes().decode()
    policy = text.split('<meta http-equiv="Content-Security-Policy" content="')[1].split('">')[0]
    running = re.findall("<script>(.*?)</script>", text, re.DOTALL)
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in running]
    assert len(running) == 2
    assert "plotly.js v" in running[0][:200]
    allowed = policy.split("script-src ")[1].split(";")[0].split()
    assert allowed == [f"'sha256-{value}'" for value in hashes]
    assert policy.startswith("default-src 'none'")


def test_names_are_text(hostile: Path, evil: str) -> None:
    page = page_of(hostile)
    shown = evil.replace("\u2028", "\\u2028")
    assert shown in page.text  # in tables
    assert [tag for tag, _ in page.tags if tag in ("img", "b", "iframe")] == []
    assert len(page.scripts) == 2 + sum(1 for chart in charts(read_content(hostile)) if chart.figure)
    data = [text for attrs, text in page.scripts if attrs.get("type") == "application/json"]
    assert not any(letter in text for text in data for letter in "<>&\u2028\u2029")
    drawn = [text for block in data for text in texts(json.loads(block))]
    assert any("&lt;img src=x" in text for text in drawn)
    assert not any(re.search("<(?!/?b>|br>)", text) for text in drawn)  # Plotly's own HTML: only ours
    assert not any("%{" in text for text in drawn if text != "%{text}" and "&lt;" not in text)


def test_no_template_of_plotly_gets_a_name(hostile: Path) -> None:
    """Plotly fills %{x} in templates; names are in `hovertext`, which it does not."""
    for chart in charts(read_content(hostile)):
        for trace in (chart.figure or {"data": []})["data"]:
            assert "hovertemplate" not in trace
            assert trace.get("texttemplate", "%{text}") == "%{text}"


def test_figures_are_what_plotly_takes(reported: Path) -> None:
    from plotly.graph_objects import Figure

    for chart in charts(read_content(reported)):
        assert chart.figure is not None, chart.key
        plain = json.loads(
            re.sub(r'"(color)":"[a-z-]+"', r'"\1":"#000000"', json.dumps(chart.figure, separators=(",", ":")))
        )
        for trace in plain["data"]:
            if "colorscale" in trace:
                trace["colorscale"] = [[place, "#000000"] for place, _ in trace["colorscale"]]
        Figure(plain)  # refuses what it does not know


def test_every_chart_has_a_table_that_says_the_same(reported: Path) -> None:
    content = read_content(reported)
    found = {chart.key: chart for chart in charts(content)}
    for chart in found.values():
        assert chart.text
        assert chart.table is not None
        assert all(len(row) == len(chart.table.headers) for row in chart.table.rows)
        drawn = max(len(trace["y"]) for trace in (chart.figure or {})["data"])
        assert len(chart.table.rows) >= drawn or chart.key == "halves"
    page = page_of(reported)
    regions = [attrs for _, attrs in page.tags if attrs.get("role") == "region"]
    assert len(regions) >= len(found)
    assert all(attrs.get("tabindex") == "0" and attrs.get("aria-label") for attrs in regions)
    drawings = [attrs for _, attrs in page.tags if attrs.get("role") == "img"]
    assert len(drawings) == len(found)
    assert all(attrs.get("aria-label") for attrs in drawings)


def test_the_front_has_every_measured_point_on_axes_to_choose(reported: Path) -> None:
    _, record = read_record(reported)
    content = read_content(reported)
    front = charts(content)[0]
    assert sorted(i for group in front.groups for i in group) == list(range(len(record.points)))
    by_key = {axis.key: axis for axis in front.axes}
    assert {"payload", "latency", "quality", "lost", "share", "memory"} <= by_key.keys()
    for axis in front.axes:
        assert len(axis.values) == len(record.points)
    assert sorted(by_key["payload"].values, key=float) == sorted(p.cost.payload_bytes for p in record.points)  # type: ignore[arg-type]
    assert [row.number for row in content.front] == list(range(1, len(record.front) + 1))


def test_the_parts_of_a_bar_add_up_to_the_latency(reported: Path) -> None:
    content = read_content(reported)
    cost = charts(content)[1]
    assert cost.figure is not None
    by_point: dict[str, float] = {}
    for trace in cost.figure["data"]:
        for name, seconds in zip(trace["y"], trace["x"], strict=True):
            by_point[name] = by_point.get(name, 0.0) + seconds
    expected = {str(row.number): row.latency_s for row in content.front}
    for name, seconds in by_point.items():
        if (number := name.split(" ")[0]) in expected:
            assert seconds == pytest.approx(expected[number])


def test_places_add_up_to_the_network_and_mark_the_cut(reported: Path) -> None:
    content = read_content(reported)
    _, record = read_record(reported)
    nodes = record.networks[0].graph.nodes
    assert sum(place.macs for place in content.places) == sum(node.macs or 0 for node in nodes)
    assert sum(place.parameters for place in content.places) == sum(node.parameters for node in nodes)
    (chosen,) = [place for place in content.places if place.chosen]
    cut = content.plan.cut
    assert cut is not None
    assert chosen.layer == cut.layer
    assert chosen.head_s == pytest.approx(content.plan.predicted.head_s)
    assert chosen.tail_s == pytest.approx(content.plan.predicted.tail_s)


def test_predictions_stand_beside_what_was_measured(reported: Path) -> None:
    content = read_content(reported)
    _, record = read_record(reported)
    measured = {point.cost.payload_bytes for point in record.points}
    assert content.sizes
    assert {row.measured for row in content.sizes} <= measured
    timed = {samples.min_s for network in record.networks for h in network.halves for samples in (h.head, h.tail)}
    assert timed
    assert {row.measured for row in content.halves} == timed
    assert all(row.predicted > 0 for row in content.halves)


def test_it_says_the_plan_in_words(reported: Path) -> None:
    page, file = page_of(reported), Plan.load(reported).file
    assert file.report is not None
    for words in (
        *(file.model.name, file.device.name, file.link.name, file.server.name, file.codec.name, file.created),
        *(file.model.source_sha256, Plan.load(reported).sha256, f"{file.report.n} inputs that were never searched"),
        *("drop <= 30 %", "splitpoint plan", "The dashed line is the limit of 30 points"),
    ):
        assert words in page.text, words
    if file.answer is not None:
        assert file.answer.reason in page.text
        assert all(other.price in page.text for other in file.answer.instead)


def test_it_has_the_notes_of_the_plan_a_guess_of_the_levels_first(copied: Path) -> None:
    file = Plan.load(copied).file
    notes = ("left out jpeg <b>: it is not installed", "assumed an RGB picture of 16x16, levels 0..1")
    assert is_guess_of_levels(notes[1])
    (copied / PLAN).write_text(
        dump_yaml(msgspec.structs.replace(file, found_by=msgspec.structs.replace(file.found_by, notes=notes)))
    )
    page = page_of(copied)
    assert 0 < page.text.index(notes[1]) < page.text.index(notes[0])


def test_headings_are_in_order_and_landmarks_are_there(reported: Path) -> None:
    tags = page_of(reported).tags
    levels = [int(tag[1]) for tag, _ in tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    names = [tag for tag, _ in tags]
    assert all(names.count(tag) == 1 for tag in ("header", "nav", "main", "footer", "title"))
    assert ("html", {"lang": "en"}) in tags
    ids = {attrs["id"] for _, attrs in tags if "id" in attrs}
    targets = {(attrs["href"] or "")[1:] for tag, attrs in tags if tag == "a"}
    assert "main" in targets
    assert targets <= ids


def test_a_plan_that_does_not_say_what_it_measured_has_a_report(copied: Path) -> None:
    """As plans of older versions: charts of every measured point are left out with a sentence."""
    file = Plan.load(copied).file
    contents = {name: sha256 for name, sha256 in file.contents.items() if name != "measured.bin"}
    (copied / "measured.bin").unlink()
    (copied / PLAN).write_text(dump_yaml(msgspec.structs.replace(file, contents=contents)))
    page = page_of(copied)
    assert "does not say what it measured" in page.text
    assert len(read_content(copied).rows) == len(read_content(copied).shown.front)


def test_the_command_writes_it_again_and_says_where_on_one_line(
    run: Callable[..., tuple[int, str, str]], copied: Path
) -> None:
    copied = copied.rename(
        copied.with_name("a folder whose name is longer than the eighty columns that a pipe has" * 2)
    )
    code, out, _ = run("report", copied)
    assert code == 0
    assert out == f"report: {copied / PAGE}\n"
    first = (copied / PAGE).read_bytes()
    code, out, _ = run("report", copied, "--json")
    assert code == 0
    assert json.loads(out)["path"] == str(copied / PAGE)
    assert json.loads(out)["size_bytes"] == len(first)
    assert (copied / PAGE).read_bytes() == first
    assert [path.name for path in copied.iterdir() if path.name.startswith(PAGE)] == [PAGE]


def test_it_is_no_part_of_the_plan(copied: Path) -> None:
    """Hashes are the same with and without it; verify does not complain; a plan with it is replaced like any other."""
    before = Plan.load(copied).sha256
    write_report(copied)
    (copied / f"{PAGE}.0123abcd").write_text("left by a process that was killed")
    assert Plan.load(copied).sha256 == before
    assert PAGE not in Plan.load(copied).file.contents
    assert not [check for check in verify(copied) if check.name == "other files"]
    check_replaceable(copied)
    (copied / "report.htm").write_text("of the user")
    with pytest.raises(ProfileError, match=r"report\.htm is not part of the plan"):
        check_replaceable(copied)


def hide_plotly(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "plotly" else find(name))


def test_a_plan_has_its_report_and_without_plotly_is_whole_without_it(
    run: Callable[..., tuple[int, str, str]], home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = "plan", home / "labelled.yaml", "--profile", home / "fixed.yaml", "--evaluations", 4, "--out"
    with_page, without = tmp_path / "with", tmp_path / "without"
    _, _, err = run(*asked, with_page)
    assert f"report: {with_page / PAGE}" in err.splitlines()
    assert (with_page / PAGE).is_file()
    document = Plan.load(with_page).file
    assert document.found_by.notes  # the picture's levels, or what was left out
    assert all(note in page_of(with_page).text for note in document.found_by.notes)
    hide_plotly(monkeypatch)
    _, _, err = run(*asked, without)
    assert [line for line in err.splitlines() if 'pip install "splitpoint[report]"' in line]
    assert not (without / PAGE).exists()
    assert Plan.load(without).file.files == document.files
    monkeypatch.undo()
    out = tmp_path / "exported"
    _, _, err = run("export", without, "--point", 1, "--out", out)
    assert f"report: {out / PAGE}" in err.splitlines()
    assert (out / PAGE).is_file()


def test_without_plotly_one_line_says_what_to_install(
    run: Callable[..., tuple[int, str, str]], copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hide_plotly(monkeypatch)
    code, _, err = run("report", copied)
    assert code == 3
    assert 'pip install "splitpoint[report]"' in err
    line = add_report(copied)
    assert "\n" not in line
    assert 'pip install "splitpoint[report]"' in line
    assert f"splitpoint report {copied}" in line
    assert not (copied / PAGE).exists()


def test_a_folder_that_cannot_be_written_is_named(copied: Path) -> None:
    (copied / PAGE).mkdir()
    (copied / PAGE / "file").touch()
    with pytest.raises(ProfileError, match="cannot be written") as error:
        write_report(copied)
    assert error.value.at == str(copied / PAGE)
    shutil.rmtree(copied / PAGE)
    assert not [path for path in copied.iterdir() if path.name.startswith(PAGE)]
