"""The figures of one point on one line: its latency as a sum of parts, and its quality on a set of inputs."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from rich.text import Text

from splitpoint.planner.deploy.accuracy import Accuracy, Figure
from splitpoint.planner.deploy.schema import PayloadRange
from splitpoint.planner.deploy.task import MetricUse, Task
from splitpoint.planner.output.documents.latency import Half, Halves, LatencySum
from splitpoint.planner.values.plurals import count_text
from splitpoint.profiles.units import format_bytes, format_seconds, format_uses

__all__ = [
    "command_line",
    "latency_text",
    "metric_text",
    "next_step",
    "payload_range_text",
    "quality_text",
    "size_text",
    "whole_parts",
]


def __dir__() -> list[str]:
    return __all__


def metric_text(task: Task, metric: MetricUse) -> str:
    """The task, and its metric with unit and definition."""
    outputs = f" of {', '.join(task.outputs)}" if task.outputs else ""
    return f"{task.name}{outputs} · {metric.name} ({metric.unit}): {metric.definition}"


def next_step(*words: str) -> str:
    """A command of ours that can be pasted into a shell: "splitpoint verify 'my plan'"."""
    return shlex.join(["splitpoint", *words])


def command_line(*parts: str | tuple[str, str], style: str = "") -> Text:
    """A line with a command to copy: a narrow console does not break it, which would make two commands of one."""
    return Text.assemble(*parts, style=style, no_wrap=True, overflow="ignore")


def whole_parts(parts: Sequence[str], width: int) -> str:
    """`parts` with a dot between them, in lines of at most `width` columns that break between parts where they can."""
    lines = [parts[0]]
    for part in parts[1:]:
        fits = len(lines[-1]) + len(" · ") + len(part) <= width
        lines[-1:] = [f"{lines[-1]} · {part}"] if fits else [lines[-1], part]
    return "\n".join(lines)


def latency_text(parts: LatencySum, halves: Halves) -> str:
    """The latency as the sum of its parts; head and tail with how they were obtained. Waiting is left out when zero."""
    origin = {"head": _half_text(halves.head), "tail": _half_text(halves.tail)}
    names = [field.removesuffix("_s") for field in LatencySum.__struct_fields__ if field != "latency_s"]
    texts = [
        f"{name} {format_seconds(seconds)}{origin.get(name, '')}"
        for name, seconds in ((name, getattr(parts, f"{name}_s")) for name in names)
        if seconds or name != "wait"
    ]
    return f"  {format_seconds(parts.latency_s)} = " + " + ".join(texts)


def size_text(payload_bytes: float, channel_uses: float | None) -> str:
    """What a request takes of the link: channel uses, or bytes where the link has none."""
    return format_bytes(payload_bytes) if channel_uses is None else format_uses(channel_uses)


def quality_text(accuracy: Accuracy, *, symbols: int | None) -> str:
    """Quality with its 95 % interval, what is lost, and the payload on the same inputs, or `symbols` in its place."""
    sent = f"payload {format_bytes(accuracy.payload_bytes)}"
    if symbols is not None:
        sent = f"{symbols:,} channel symbols, through a simulated channel"
    groups = count_text(accuracy.groups, "group")
    others = "".join(f" · {_figure_text(figure)}" for figure in accuracy.also)
    drop = f"drop {100 * accuracy.drop:.1f} % [{100 * accuracy.drop_low:.1f}, {100 * accuracy.drop_high:.1f}]"
    return (
        f"{accuracy.metric} {accuracy.value:.3f} [{accuracy.low:.2f}, {accuracy.high:.2f}] · {drop}{others}"
        f" · relative error of the outputs {accuracy.relative_error:.3f}"
        f" · {sent} (n = {accuracy.n} in {groups})"
    )


def payload_range_text(payload: PayloadRange, *, symbols: int | None) -> str:
    """How many bytes the head emits, on the report inputs and on corrupted ones; `symbols` are the same for all."""
    if symbols is not None:
        return f"for the modem: {symbols:,} symbols as fp16 in {format_bytes(payload.clean_max_bytes)}, for every input"
    refused = f" ({payload.refused} refused)" if payload.refused else ""
    return (
        f"payload: 95 % of {count_text(payload.n, 'input')} up to {format_bytes(payload.clean_p95_bytes)},"
        f" at most {format_bytes(payload.clean_max_bytes)};"
        f" corrupted inputs at most {format_bytes(payload.corrupted_max_bytes)}{refused}"
    )


def _figure_text(figure: Figure) -> str:
    interval = "" if figure.low is None or figure.high is None else f" [{figure.low:.2f}, {figure.high:.2f}]"
    return f"{figure.name} {figure.value:.3g}{interval}"


def _half_text(half: Half | None) -> str:
    if half is None:
        return ""
    return f" ({half.how}{'' if half.spread_s is None else f' ± {format_seconds(half.spread_s)}'})"
