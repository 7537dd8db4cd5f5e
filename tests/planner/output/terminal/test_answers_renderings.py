"""What the map, what-if, the policy and looser limits look like; ``REGENERATE=1`` writes the golden files again."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rich.console import Console, Group, RenderableType

from splitpoint.planner.answers.relax import Relaxation
from splitpoint.planner.choice.errors import SpeedErrors
from splitpoint.planner.deploy.schema import Kind, PolicyRow
from splitpoint.planner.output.documents.answers.map import LegendRow, MapCell, MapDocument, MapRow
from splitpoint.planner.output.documents.answers.what_if import StretchRow, UnmeasuredPart, WhatIfDocument
from splitpoint.planner.output.documents.point import PointRow, point_row
from splitpoint.planner.output.terminal.answers.map import map_view
from splitpoint.planner.output.terminal.answers.policy import hypervolume_text, policy_table, relax_lines
from splitpoint.planner.output.terminal.answers.what_if import what_if_view
from splitpoint.planner.output.terminal.points import points_table
from splitpoint.planner.plandir.front import front_row

GOLDEN = Path(__file__).parents[1] / "golden"
WIDTH = 80
WIDTHS = (40, 60, 80, 120, 200)
Make = Callable[..., Any]


def rendered(view: RenderableType, width: int = WIDTH) -> str:
    console = Console(width=width, color_system=None, force_terminal=False, _environ={}, file=io.StringIO())
    console.print(view, crop=False)  # as the commands do
    text = console.file.getvalue()  # type: ignore[attr-defined]  # the StringIO above
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines())


def check_golden(name: str, view: RenderableType) -> str:
    text, path = rendered(view), GOLDEN / f"{name}.txt"
    if os.environ.get("REGENERATE"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")
    assert max(map(len, text.splitlines())) <= WIDTH
    return text


KINDS: dict[str, Kind | None] = {"D": "device", "P": "input", "A": "split", "B": "split", ".": None}


def cell(letter: str) -> MapCell:
    return MapCell(
        letter=letter,
        kind=KINDS[letter.upper()],
        what=None if letter == "." else "somewhere",
        number=None,
        gain=0.3 if letter.isupper() else 0.1,
        latency_s=0.1,
        payload_bytes=1000.0,
        value=0.9,
        unmeasured=0,
        faster_share=None,
        certain=letter != "p",
    )


def map_document() -> MapDocument:
    rows = {
        "stm32h747": (1.78, "..........."),
        "raspberry-pi-4": (0.147, "DddBAApPPPP"),
        "jetson-orin-nano": (0.00148, "DDDDDDDDddd"),
    }
    table = [
        MapRow(device=name, whole_s=seconds, cells=tuple(map(cell, letters)), reason="")
        for name, (seconds, letters) in rows.items()
    ]
    table.append(MapRow(device="pixel-4", whole_s=None, cells=(), reason="energy is not known"))
    return MapDocument(
        header="net · devices ──awgn-5db at other rates──> cloud-8core",
        need="latency <= 300 ms · top1 drop <= 1 %",
        prefer="latency",
        rates_bit_s=(5e4, 1e5, 2e5, 5e5, 1e6, 2e6, 5e6, 1e7, 2e7, 5e7, 1e8),
        rows=tuple(table),
        legend=(
            LegendRow(letter="D", kind="device", place="all on device", cells=14),
            LegendRow(letter="P", kind="input", place="send picture", cells=5),
            LegendRow(letter="A", kind="split", place="after blocks.3", cells=2),
            LegendRow(letter="B", kind="split", place="after blocks.5", cells=1),
        ),
        split_cells=3,
        empty_cells=11,
        answer="A split wins in 3 of 33 cells, by 10 % to 36 % of the latency: on raspberry-pi-4; over links of"
        " 500 kbit/s to 2 Mbit/s.",
        uncertain_cells=1,
        unmeasured_cells=5,
    )


def stretch(low: float, high: float, what: str | None, number: int | None = None) -> StretchRow:
    return StretchRow(
        low=low,
        high=high,
        kind=None if what is None else "split",
        what=what,
        number=number,
        payload_bytes=None if what is None else 2030.0,
        value=None if what is None else 0.92,
        latency_low_s=None if what is None else 0.12,
        latency_high_s=None if what is None else 0.0995,
    )


def what_if_document(make_point: Make, **changes: Any) -> WhatIfDocument:
    values: dict[str, Any] = {
        "header": "net · raspberry-pi-4 ──awgn-5db──> cloud-8core",
        "need": "latency <= 120 ms · agreement >= 0.9",
        "unit": "bit/s",
        "rows": (
            stretch(5e4, 5.26e5, None),
            stretch(5.26e5, 1.45e6, "after blocks.5, kltq-rans q3", 2),
            stretch(1.45e6, 1e8, "int8: after features.12.block.3, kltq-rans q8"),
        ),
        "row": None,
        "answer_kind": None,
        "prefer": "latency",
        "reason": "",
        "not_certain": None,
        "instead": (),
        "nearest": (),
        "would_fit": (),
        "relax": (),
        "unmeasured": UnmeasuredPart(
            count=12,
            first=("after blocks.5, fast 4 bit", "after blocks.3, kltq-ctx q2"),
            command="splitpoint plan plan/config.yaml --link awgn-5db@0.1621Mbit/s --deadline '120 ms' --out DIR",
        ),
    }
    return WhatIfDocument(**{**values, **changes})


def answer(make_point: Make) -> PointRow:
    point = make_point(cut="x", layer="blocks.5", head_share=0.33, payload=2030.0, latency=0.101)
    return point_row(front_row(point, SpeedErrors(), number=2), notes=["recommended"])


RELAXED = Relaxation(
    limit="latency",
    asked=0.12,
    relaxed=0.132,
    text="latency <= 132 ms instead of 120 ms",
    what="after blocks.5, kltq-ctx q3",
    price="1.1x slower, 420 B less",
)
NONE = UnmeasuredPart(count=0, first=(), command=None)


def test_the_map() -> None:
    text = check_golden("map", map_view(map_document(), width=WIDTH))
    assert "pixel-4: left out, energy is not known" in text


def test_what_if_over_a_range(make_point: Make) -> None:
    check_golden("what-if-range", what_if_view(what_if_document(make_point), width=WIDTH))


def test_what_if_over_one_link(make_point: Make) -> None:
    document = what_if_document(
        make_point, unit=None, rows=(), row=answer(make_point), answer_kind="split", reason="it is the fastest"
    )
    check_golden("what-if", what_if_view(msgspec.structs.replace(document, relax=(RELAXED,)), width=WIDTH))


def test_what_if_nothing_fits(make_point: Make) -> None:
    document = what_if_document(
        make_point,
        unit=None,
        rows=(),
        nearest=(msgspec.structs.replace(answer(make_point), notes=("misses latency by 4 ms",), misses=("latency",)),),
        would_fit=("latency <= 125 ms",),
        relax=(RELAXED,),
        unmeasured=NONE,
    )
    text = rendered(what_if_view(document, width=WIDTH))
    assert "No measured point meets latency <= 120 ms" in text
    assert "would fit with latency <= 125 ms" in text
    assert "with latency <= 132 ms instead of 120 ms: after blocks.5" in text
    assert "not measured" not in text


def test_by_snr_the_ends_are_decibels(make_point: Make) -> None:
    document = what_if_document(make_point, unit="dB", rows=(stretch(-5.0, 0.7101, "after blocks.5, fast q1"),))
    assert "-5 dB 0.7101 dB" in rendered(what_if_view(document, width=WIDTH))


@pytest.mark.parametrize("width", WIDTHS)
def test_every_view_fits_its_terminal(make_point: Make, width: int) -> None:
    policy = [
        PolicyRow(from_bit_s=5e4, to_bit_s=2e6, number=12, what="int8: after features.12.block.3, kltq-rans q8"),
        PolicyRow(from_bit_s=2e6, to_bit_s=5e7, number=None, what=None),
    ]
    whole = Group(
        map_view(map_document(), width=width),
        what_if_view(what_if_document(make_point), width=width),
        *policy_table(policy),
        *relax_lines([RELAXED]),
        *hypervolume_text([0.5, 0.9, 0.95, 1.0]),
    )
    lines = rendered(whole, width).splitlines()
    assert max(map(len, lines)) <= width
    text = " ".join(" ".join(lines).split())
    for part in ("kltq-rans q8", "nothing meets every limit", "50 kbit/s", "A split wins in 3 of 33"):
        assert part.replace(" ", "") in text.replace(" ", "")


@pytest.mark.parametrize("width", WIDTHS)
def test_a_map_shows_every_cell_at_every_width(width: int) -> None:
    document = map_document()
    lines = rendered(map_view(document, width=width), width).splitlines()
    for row in document.rows[:3]:
        found = [line for line in lines if re.match(rf"{row.device[:7]}.* (s|ms) ", line)]
        letters = [re.sub(r".* (s|ms) ", "", line).replace(" ", "") for line in found]
        assert "".join(letters) == "".join(f"{'' if shown.certain else '?'}{shown.letter}" for shown in row.cells)


def test_one_answer_everywhere_needs_no_table_and_few_points_no_series() -> None:
    assert policy_table([PolicyRow(from_bit_s=5e4, to_bit_s=5e7, number=1, what="all on device")]) == []
    assert policy_table([]) == []
    assert hypervolume_text([1.0, 1.0, 1.0]) == []


def test_the_recommended_point_is_bold(make_point: Make) -> None:
    other = point_row(front_row(make_point(), SpeedErrors(), number=3))
    table: Any = points_table([answer(make_point), other], "front", share=None, width=WIDTH)
    assert [row.style for row in table.rows] == ["bold", ""]
