"""Tables of points and cuts at 40 to 120 columns, and the last screen of a plan: numbers and names stay whole."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console, RenderableType
from rich.text import Text

from splitpoint.planner.choice.errors import SpeedErrors
from splitpoint.planner.deploy.cost import How
from splitpoint.planner.output.documents.cuts import CutRow, CutsDocument
from splitpoint.planner.output.documents.point import PointRow, point_row
from splitpoint.planner.output.terminal.answers.screen import LastScreen
from splitpoint.planner.output.terminal.cuts import cuts_view
from splitpoint.planner.output.terminal.points import points_legend, points_table
from splitpoint.planner.plandir.front import front_row

WIDTHS = [40, 60, 80, 120]
FIGURES = ("18.2 kB", "55 kB", "47.1 ms", "0.90", "0.0 ±0.0", "late", "knee")
HOW: How = "modelled"
Make = Callable[..., Any]


def rendered(view: RenderableType, width: int, height: int | None = None) -> list[str]:
    """Lines in a file, or on a terminal of `height` lines."""
    console = Console(
        width=width,
        height=height,
        color_system=None,
        force_terminal=height is not None,
        _environ={},
        file=io.StringIO(),
    )
    console.print(view)
    text: str = console.file.getvalue()  # type: ignore[attr-defined]  # the StringIO above
    return [line.rstrip() for line in text.splitlines()]


def front(make_point: Make, count: int = 12, *, variant: str = "given", best: int = 7) -> list[PointRow]:
    rows = []
    for number in range(1, count + 1):
        point = make_point(
            variant=variant,
            cut="features.3.block.0/add",
            layer="features.13.block",
            head_share=0.134,
            codec="dynamic-switch",
            label="q12",
            payload=18_200.0,
            latency=0.0471,
            side_bytes=55_000,
        )
        notes = ["recommended"] if number == best else ["knee"]
        rows.append(
            point_row(front_row(point, SpeedErrors(device=1.2), number=number), notes=notes, misses=["latency"])
        )
    return rows


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("share", [None, 0.99])
@pytest.mark.parametrize("variant", ["given", "160x160, int8, pruned .25"])
def test_digits_numbers_and_marks_are_whole_at_every_width(
    make_point: Make, width: int, share: float | None, variant: str
) -> None:
    lines = rendered(points_table(front(make_point, variant=variant), "Front", share=share, width=width), width)
    text = "\n".join(lines)
    assert max(map(len, lines)) <= width
    narrow = width < 60
    needed = [figure for figure in FIGURES if figure != "55 kB" or width == 120 or narrow]
    for figure in needed:
        assert text.count(figure) >= 11, figure  # of 12 points, one of which is no knee
    numbers = [line for line in lines if line[:4].replace("★", "").strip().isdigit()]
    assert [int(line[:4].replace("★", "")) for line in numbers] == list(range(1, 13))
    assert [line[:4].split() for line in numbers if "★" in line] == [["★", "7"]]
    assert not narrow or len(lines) > 3 * 12  # a block of lines a point


def test_what_is_stored_once_gives_way_to_names_before_the_share_of_macs(make_point: Make) -> None:
    headers = {
        width: rendered(points_table(front(make_point), "Front", share=None, width=width), width)[1]
        for width in (64, 72, 80)
    }
    assert ["+ once" in header for header in headers.values()] == [False, False, True]
    assert ["MACs" in header for header in headers.values()] == [False, True, True]
    for width, header in headers.items():
        legend = str(points_legend(front(make_point), width=width))
        block = "cut after" not in header  # its lines name both
        assert ("MACs:" in legend, "+ once:" in legend) == (block or "MACs" in header, block or "+ once" in header)
    assert ["cut after" in header for header in headers.values()] == [False, True, True]
    assert "MACs:" in str(points_legend(front(make_point), front(make_point, 1), width=80))  # of one of two tables


def test_the_point_that_is_shown_has_a_mark(make_point: Make) -> None:
    rows = front(make_point, 2, best=1)
    shown = point_row(front_row(make_point(), SpeedErrors(device=1.2), number=3), notes=["shown"])
    lines = rendered(points_table([*rows, shown], "Front", share=None, width=80), 80)
    assert lines[-1].split()[:2] == ["▸", "3"]
    assert "▸: shown here." in str(points_legend([*rows, shown], width=80))
    assert "▸" not in str(points_legend(rows, width=80))


def last_screen(make_point: Make, **changes: Any) -> LastScreen:
    rows = front(make_point)
    values: dict[str, Any] = {
        "before": Text("Answer: split\n  instead  nothing"),
        "front": rows,
        "title": "Front",
        "more": "my plan",
        "others": rows,
        "share": None,
        "deadline_s": 0.1,
        "after": Text("wrote plan"),
    }
    return LastScreen(**{**values, **changes})


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("height", [16, 24, 30, 50])
def test_the_last_screen_holds_the_answer_the_runner_ups_and_the_top_of_the_front(
    make_point: Make, width: int, height: int
) -> None:
    lines = rendered(last_screen(make_point), width, height)
    assert len(lines) <= height - 1  # the prompt
    text = "\n".join(lines)
    assert lines[0] == "Answer: split"
    assert "★ 7" in text or "★  7" in text
    assert lines[-1] == "wrote plan"
    hidden = 12 - text.count("47.1 ms")
    assert (f"(+ {hidden} more: splitpoint show 'my plan')" in text) == (hidden > 0)
    if (width, height) == (80, 50):
        assert "more:" not in text
        assert "latency (ms)" in text
        assert "knee: the best compromise" in text


def test_a_pipe_gets_every_point_the_legend_and_the_plot(make_point: Make) -> None:
    text = "\n".join(rendered(last_screen(make_point), 80))
    assert text.count("dynam") == 12
    assert "knee: the best compromise" in text
    assert "latency (ms)" in text


def cuts(name: str) -> CutsDocument:
    rows = [
        CutRow(
            index=index,
            layer=f"{name}.{index}",
            after="node",
            tensors=(f"{name}.{index}/relu",),
            shapes=((1, 32, 112, 112),),
            dtypes=("float32",),
            elements=1,
            bytes=1_610_000,
            head_macs=index * 10**8,
            head_flops=index * 10**8,
            head_share=index / 12,
            head_parameters=1,
            head_weight_bytes=4,
        )
        for index in range(12)
    ]
    return CutsDocument(model="net", macs=1, parameters=1, cuts=tuple(rows), refused=(), uncounted={})


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["b", "features", "backbone.features.block", "model.backbone.layers.blocks.residual"])
def test_names_and_figures_of_cuts_are_whole(width: int, name: str) -> None:
    lines = rendered(cuts_view(cuts(name), refused=False, width=width), width)
    text, joined = "\n".join(lines), "".join(line.strip() for line in lines)
    assert max(map(len, lines)) <= width
    assert all(f"{name}.{index}" in (text if len(name) + 5 < width else joined) for index in range(12))
    assert text.count("32x112x112") == text.count("1.61 MB") == 12
    assert ("Names of the tensors" in " ".join(text.split())) == (f"{name}.3/relu" not in text)
