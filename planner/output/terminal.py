"""What a person sees: the only home of rich. Functions give renderables; `cli.py` prints them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from splitpoint.planner.limits.limits import LIMITS
from splitpoint.planner.output.plot import columns, scatter
from splitpoint.planner.plandir.verify import Check
from splitpoint.planner.values.candidate import GIVEN
from splitpoint.planner.values.rows import bar
from splitpoint.profiles.units import format_bytes, format_flops, format_fraction, format_rate, format_seconds

__all__ = [
    "StageBars",
    "calibration_view",
    "check_line",
    "consoles",
    "count_line",
    "cuts_view",
    "plan_view",
    "profile_view",
    "profiles_table",
    "show_view",
]


def __dir__() -> list[str]:
    return __all__


FIXED_WIDTH = 46  # columns of a table of points that cut, codec and notes leave: numbers and gaps
STAR = "★"  # the recommended point
MARKS = {"passed": ("✓", "green"), "failed": ("✗", "red"), "warning": ("!", "yellow"), "not made": ("-", "dim")}


def consoles() -> tuple[Console, Console]:
    """Standard output for answers, standard error for progress and warnings; NO_COLOR and pipes are respected."""
    return Console(highlight=False, soft_wrap=False), Console(stderr=True, highlight=False)


class StageBars:
    """One progress bar a stage on standard error, then one line that stays."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextlib.contextmanager
    def stage(self, name: str, total: int | None) -> Iterator[Callable[[str], None]]:
        """A bar (a spinner when the number of steps is not known) until the block ends, then its last text."""
        begin, last = time.perf_counter(), ""
        progress = Progress(
            SpinnerColumn(),
            TextColumn(f"{name:<10}"),
            BarColumn(bar_width=24),
            *([MofNCompleteColumn(), TimeRemainingColumn(compact=True)] if total else []),
            TextColumn("{task.description}"),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )

        def step(text: str) -> None:
            nonlocal last
            last = text or last
            progress.update(task, advance=0 if text else 1, description=last)

        with progress:
            task = progress.add_task("", total=total)
            yield step
        seconds = format_seconds(time.perf_counter() - begin)
        self._console.print(Text.assemble(("✓ ", "green"), f"{name:<10} {last:<54} ", (f"{seconds:>8}", "dim")))


def plan_view(answer: Mapping[str, Any], *, width: int) -> RenderableType:
    """The answer of ``splitpoint plan``: baselines, front, plot, recommendation, report."""
    parts: list[RenderableType] = [
        Text.assemble("\n", answer["header"], "\n", ("need  ", "dim"), answer["need"]),
        *([Text("\n".join(f"note  {text}" for text in answer["notes"]), style="yellow")] if answer["notes"] else []),
        _points(answer["baselines"], f"Baselines ({_origin(answer)})", share=answer["deadline_share"], width=width),
    ]
    if answer["recommended"] is None:
        return Group(*parts, *_nothing_fits(answer, width=width))
    parts += [
        _points(answer["front"], f"Pareto front ({_origin(answer)})", share=answer["deadline_share"], width=width),
        _plot(answer, width=width),
        Text.assemble(
            "\n",
            (f"Recommended: {answer['recommended']['number']}", "bold"),
            f", because {answer['recommended']['reason']}.",
        ),
        Text(_parts_text(answer["recommended"]["parts"], answer["recommended"]["halves"])),
        *[Text(line) for line in _rates_text(answer["recommended"]["by_rate"])],
    ]
    return Group(*parts, *_report(answer))


def show_view(answer: Mapping[str, Any], *, width: int) -> RenderableType:
    """A stored plan."""
    search = answer["search"]
    network = "" if answer["variant"] == GIVEN else f"{answer['variant']} · "
    texts = [
        answer["header"],
        f"need   {answer['need']}",
        f"made   {answer['created']}",
        f"point  {answer['point']}: {network}{answer['cut']} · {answer['codec']} ·"
        f" {format_bytes(answer['payload_bytes'])} · {format_seconds(answer['parts']['latency_s'])} {answer['how']}",
        _parts_text(answer["parts"], answer["halves"]),
        f"search set: {_quality(search)}",
    ]
    if answer["report"] is not None:
        texts.append(f"report set: {_quality(answer['report'])}")
    table = _points(answer["front"], "Pareto front (search set)", share=answer["deadline_share"], width=width)
    return Group(Text("\n".join(texts)), table, _plot(answer, width=width))


def cuts_view(answer: Mapping[str, Any], *, refused: bool) -> RenderableType:
    """Cuts, then what was refused and what is not counted."""
    parts: list[RenderableType] = [_cuts(answer["cuts"])]
    count = len(answer["refused"])
    if count and refused:
        parts.append(Text("\n".join(f"refused after {row['after']}: {row['reason']}" for row in answer["refused"])))
    elif count:
        first = answer["refused"][0]
        parts.append(Text(f"refused {count}, such as after {first['after']}: {first['reason']} (--refused lists all)"))
    if answer["uncounted"]:
        listed = ", ".join(f"{name} ({n})" for name, n in sorted(answer["uncounted"].items()))
        parts.append(Text(f"{sum(answer['uncounted'].values())} operators not counted: {listed}", style="yellow"))
    parts.append(Text(f"{len(answer['cuts'])} cuts of {answer['model']}, {format_flops(answer['macs'])}"))
    return Group(*parts)


def count_line(count: Mapping[str, int]) -> Text:
    """The end of a verification; a check that was not made is not among the passed."""
    named = [f"{count['passed']} passed", f"{count['failed']} failed"]
    named += [
        f"{count[status]} {text}" for status, text in (("warning", "warned"), ("not made", "not made")) if count[status]
    ]
    return Text(", ".join(named), style="red" if count["failed"] else "")


def _origin(answer: Mapping[str, Any]) -> str:
    rows = [*answer["baselines"], *answer["front"]]
    how, metric = " or ".join(dict.fromkeys(row["latency_how"] for row in rows)), rows[0]["metric"]
    return f"search set, {answer['search_set']}; latency {how}, payload and {metric} measured"


def _parts_text(parts: Mapping[str, float], halves: Mapping[str, Mapping[str, Any]]) -> str:
    """The sum, and how the seconds of head and tail are known."""

    def said(name: str) -> str:
        if name not in halves:
            return ""
        spread_s = halves[name]["spread_s"]
        return f" ({halves[name]['how']}{'' if spread_s is None else f' ± {format_seconds(spread_s)}'})"

    named = [
        f"{name} {format_seconds(value)}{said(name)}"
        for name, value in ((key.removesuffix("_s"), value) for key, value in parts.items() if key != "latency_s")
        if value or name != "wait"
    ]
    return f"  {format_seconds(parts['latency_s'])} = " + " + ".join(named)


def _rates_text(ranges: Sequence[Mapping[str, Any]]) -> list[str]:
    if len(ranges) < 2:
        return []
    texts = ["At other uplink rates, of the same measured points:"]
    for row in ranges:
        ends = [format_rate(row[name]) for name in ("from_bit_s", "to_bit_s")]
        span = " to ".join(dict.fromkeys(ends))
        texts.append(f"  {span:<26} {row['what'] or 'nothing fits'}")
    return texts


def _quality(report: Mapping[str, Any]) -> str:
    return (
        f"{report['metric']} {report['value']:.3f} [{report['low']:.2f}, {report['high']:.2f}]"
        f" · drop {100 * report['drop']:.1f} % · relative error of the outputs {report['relative_error']:.3f}"
        f" · payload {format_bytes(report['payload_bytes'])} (n = {report['n']} in {report['groups']} groups)"
    )


def _report(answer: Mapping[str, Any]) -> list[RenderableType]:
    parts: list[RenderableType] = [Text(f"\nReport set (never searched): {_quality(answer['report'])}")]
    if answer["contradicted"] is not None:
        parts.append(
            Text(f"CONTRADICTED: {answer['contradicted']}. The point stays as the search chose it.", style="red")
        )
        if answer["safer"] is not None:
            safer = answer["safer"]
            parts.append(
                Text(
                    f"next safer point: {safer['number']} ({safer['cut']}, {safer['codec']} {safer['rate']})"
                    f" → splitpoint export {answer['directory']} --point {safer['number']} --out DIR"
                )
            )
    where = answer["directory"]
    parts.append(Text(f"wrote {where}/ → splitpoint verify {where} · splitpoint export {where} --point N --out DIR"))
    return parts


def _nothing_fits(answer: Mapping[str, Any], *, width: int) -> list[RenderableType]:
    parts: list[RenderableType] = [
        Text(f"\nNo candidate meets {answer['need']}.", style="bold"),
        _points(answer["nearest"], "Nearest", share=answer["deadline_share"], width=width),
    ]
    if answer["would_fit"]:
        parts.append(Text("would fit with " + ", or ".join(answer["would_fit"])))
    return parts


def _points(rows: Sequence[Mapping[str, Any]], title: str, *, share: float | None, width: int) -> Table:
    """Points (rows of `planner.values.rows.point_row`) with units; where the figures come from stands in the title.

    With a `share` of the draws in which the deadline must hold, the latency held against it stands beside the mean.
    """
    metric = rows[0]["metric"] if rows else "quality"
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("#", justify="right", no_wrap=True, min_width=2)
    several = any(row["variant"] != GIVEN for row in rows)
    latencies = {"latency": "latency_s"}
    if share is not None:
        latencies = {"mean": "latency_s", format_fraction(share): "deadline_latency_s"}
    taken = FIXED_WIDTH + 8 * (len(latencies) - 1) + max((_width(row) for row in rows), default=0)
    spare = max(20, width - taken)
    if several:
        longest = max(len(row["variant"]) for row in rows)
        wide = min(28, longest, round(0.36 * spare))
        table.add_column("network", no_wrap=True, overflow="ellipsis", width=wide)
        spare -= wide + 1
    table.add_column("cut", no_wrap=True, overflow="ellipsis", max_width=min(28, round(0.42 * spare)))
    table.add_column("codec", no_wrap=True, overflow="ellipsis", max_width=min(36, spare - round(0.42 * spare)))
    for name in ("payload", "+ once", *latencies):
        table.add_column(name, justify="right", no_wrap=True, min_width=7)
    table.add_column(f"{metric} 95 %", no_wrap=True, min_width=14)
    table.add_column("", no_wrap=True, min_width=max((_width(row) for row in rows), default=0))
    for row in rows:
        codec = row["codec"] if row["rate"] in ("-", "lossless") else f"{row['codec']} {row['rate']}"
        number = "" if row["number"] is None else str(row["number"])
        table.add_row(
            number,
            *([row["variant"]] if several else []),
            row["cut"] if row["label"] is None else row["label"],
            codec,
            format_bytes(row["payload_bytes"]),
            format_bytes(row["side_bytes"]),
            *("never" if row[key] is None else format_seconds(row[key]) for key in latencies.values()),
            f"{row['value']:.2f} {row['low']:.2f}-{row['high']:.2f}",
            " ".join(_short(note) for note in row["notes"]),
            style="bold" if "recommended" in row["notes"] else "",
        )
    return table


def _width(row: Mapping[str, Any]) -> int:
    return len(" ".join(_short(note) for note in row["notes"]))


def _short(note: str) -> str:
    """A note as narrow tables show it."""
    if note == "recommended":
        return STAR
    missed = note.removeprefix("misses ")
    return note if missed == note else LIMITS[missed].short if missed in LIMITS else missed


def _plot(answer: Mapping[str, Any], *, width: int) -> Text:
    """Latency, as a deadline is held against it, over payload; the recommended point has a star."""
    points = [
        (
            row["deadline_latency_s"],
            row["payload_bytes"],
            f"{row['number']}{STAR if 'recommended' in row['notes'] else ''}",
        )
        for row in answer["front"]
    ]
    return Text("\n".join(scatter(points, deadline_s=answer["deadline_s"], width=min(width, 100) - 1)))


def _cuts(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Cuts (rows of `planner.values.rows.cut_row`); the bar is the bytes against the largest."""
    largest = max((row["bytes"] for row in rows), default=1)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("#", justify="right")
    table.add_column("after node", overflow="fold", max_width=24)
    table.add_column("tensor", overflow="fold", max_width=16)
    for name in ("shape", "FLOPs", "cum.", "size"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    before = 0
    for row in rows:
        table.add_row(
            str(row["index"]),
            row["after"],
            "+".join(row["tensors"]),
            " ".join("x".join(map(str, shape[1:])) for shape in row["shapes"]),
            format_flops(row["head_macs"] - before),
            format_fraction(row["head_share"]),
            format_bytes(row["bytes"]),
            bar(row["bytes"] / largest),
        )
        before = row["head_macs"]
    return table


def profile_view(answer: Mapping[str, Any], *, detail: bool) -> RenderableType:
    """Seconds of the operators, the tensors at the cuts, or both: what was measured."""
    parts = [_operators(answer)] if "slowest" in answer else []
    return Group(*parts, *([_tensors(answer["data"], detail=detail)] if "data" in answer else []))


def _operators(summary: Mapping[str, Any]) -> RenderableType:
    """A measured profile: totals, then the slowest operators."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title="slowest operators", title_justify="left")
    table.add_column("node", overflow="fold")
    table.add_column("type")
    for name in ("FLOPs", "weights", "time", "share"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in summary["slowest"]:
        table.add_row(
            row["name"],
            row["op_type"],
            "not counted" if row["macs"] is None else format_flops(row["macs"]),
            format_bytes(row["weight_bytes"]),
            format_seconds(row["seconds"]),
            format_fraction(row["share"]),
        )
    return Group(Text("\n".join(summary["lines"])), table)


def _tensors(answer: Mapping[str, Any], *, detail: bool) -> RenderableType:
    """Compressibility (`planner.profiling.tensors.data_answer`): a line for each cut, or all of the first."""
    notes = [Text(f"note  {text}", style="yellow") for text in answer["notes"]]
    if detail:
        return Group(*notes, *[Text(_tensor_text(row, answer["target_db"])) for row in answer["cuts"]])
    target = f"{answer['target_db']:g} dB"
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.title, table.title_justify = f"tensors at the cuts, {answer['inputs']} inputs", "left"
    table.add_column("#", justify="right", no_wrap=True)
    table.add_column("after node", overflow="ellipsis", no_wrap=True, max_width=20)
    table.add_column("shape", justify="right", no_wrap=True)
    for name in ("zeros", "bit", "dB", "95 %", "99 %", f"at {target}"):
        table.add_column(name, justify="right", no_wrap=True, min_width=len(name))
    for row in answer["cuts"]:
        table.add_row(
            str(row["index"]),
            row["after"],
            "x".join(map(str, row["shape"][1:])),
            f"{row['zero_fraction']:.0%}",
            f"{row['entropy_bit']['4']:.2f}",
            _decibel(row["sqnr_db"]["4"]).removesuffix(" dB"),
            *[_or_dash(row[name], str) for name in ("components_95", "components_99")],
            _or_dash(_best_estimate(row), lambda bit: format_bytes(bit / 8)),
        )
    legend = Text(
        "bit, dB: entropy a value and SQNR at 4 bit. 95 %, 99 %: channel components with that share of the variance."
        f" at {target}: the smaller estimate of scalar coding and KLT. --cut N shows everything about one.",
        style="dim",
    )
    return Group(*notes, table, legend)


def _tensor_text(row: Mapping[str, Any], target_db: float) -> str:
    """Everything about one tensor but its whole spectrum."""
    channels = row["channels"]
    shares = [f"{share} %: {_or_dash(row[f'components_{share}'], str)} of {channels} channels" for share in (95, 99)]
    bits = sorted(row["entropy_bit"], key=int)
    estimates = [
        f"{kind} {_or_dash(row[f'{kind}_estimated_bit'], lambda bit: format_bytes(bit / 8))}"
        for kind in ("scalar", "klt")
    ]
    lines = [
        f"cut {row['index']} after {row['after']}: {row['tensor']} {'x'.join(map(str, row['shape'][1:]))}",
        f"zeros {row['zero_fraction']:.1%}, range {row['low']:.4g} … {row['high']:.4g}",
        "quantizer " + "".join(f"{n + ' bit':>9}" for n in bits),
        "entropy   " + "".join(f"{row['entropy_bit'][n]:>5.2f} bit" for n in bits),
        "SQNR      " + "".join(f"{_decibel(row['sqnr_db'][n]):>9}" for n in bits),
        f"PCA       {', '.join(shares)}"
        + ("" if row["correlation"] is None else f"; mean |correlation| of two channels {row['correlation']:.2f}"),
        *([] if row["spectrum"] is None else [f"spectrum  {columns(row['spectrum'][:64])}  (square root scale)"]),
        f"histogram {columns(row['histogram'])}  ({row['low']:.3g} … {row['high']:.3g}, square root scale)",
        f"estimated at {target_db:g} dB: {', '.join(estimates)}",
    ]
    return "\n".join(lines)


def _best_estimate(row: Mapping[str, Any]) -> float | None:
    estimates = [row["scalar_estimated_bit"], row["klt_estimated_bit"]]
    return min((bit for bit in estimates if bit is not None), default=None)


def _decibel(value: float | None) -> str:
    return "exact" if value is None else f"{value:.1f} dB"


def _or_dash(value: Any, text: Callable[[Any], str]) -> str:
    return "-" if value is None else text(value)


def calibration_view(answer: Mapping[str, Any]) -> RenderableType:
    """What `splitpoint calibrate` measured; the spread is between two runs."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("measured", overflow="fold")
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("two runs differ by", justify="right", no_wrap=True)
    for row in answer["rows"]:
        table.add_row(row["name"], row["value"], "" if row["spread"] is None else format_fraction(row["spread"]))
    lines = [f"wrote {answer['written']}, machine {answer['fingerprint']}", f"→ {answer['next']}"]
    warning = [Text(answer["warning"], style="yellow")] if answer["warning"] is not None else []
    return Group(table, *warning, Text("\n".join(lines)))


def profiles_table(rows: Sequence[Mapping[str, str]]) -> Table:
    """Shipped profiles by kind."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("kind", "name", "description"):
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(row["kind"], row["name"], row["description"])
    return table


def check_line(check: Check) -> Text:
    """One check of `planner.plandir.verify`."""
    mark, style = MARKS[check.status]
    return Text.assemble((f"{mark} ", style), f"{check.name:<12} ", check.text)
