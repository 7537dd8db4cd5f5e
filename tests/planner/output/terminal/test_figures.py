"""The figures of a point on one line."""

from __future__ import annotations

import io

from rich.console import Console, Group

from splitpoint.planner.output.documents.latency import Halves, LatencySum
from splitpoint.planner.output.terminal.figures import command_line, latency_text, next_step


def test_every_part_of_the_latency_is_named_but_a_wait_of_nothing() -> None:
    zero = dict.fromkeys(LatencySum.__struct_fields__, 0.0)
    neither = Halves(head=None, tail=None)
    assert latency_text(LatencySum(**zero), neither) == (
        "  0 s = prepare 0 s + head 0 s + encode 0 s + link 0 s + decode 0 s + tail 0 s"
    )
    assert " + wait 1 s + decode" in latency_text(LatencySum(**{**zero, "wait_s": 1.0}), neither)


def test_a_narrow_console_does_not_break_a_command() -> None:
    out = io.StringIO()
    line = command_line(("notes ", "dim"), f"4: {next_step('show', '/a long folder/of my plans', '--notes')}")
    Console(file=out, width=30).print(Group("text that is wrapped at thirty columns", line), crop=False)
    assert out.getvalue().splitlines()[2:] == ["notes 4: splitpoint show '/a long folder/of my plans' --notes"]
