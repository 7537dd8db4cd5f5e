"""The view of a measured network: its slowest operators, and our MAC counts beside fvcore's."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from splitpoint.planner.output.documents.profile import ModuleRow, OperatorTime, ProfileDocument, ProviderTime
from splitpoint.planner.output.terminal.tensors import tensors_view
from splitpoint.planner.values.plurals import count_text
from splitpoint.profiles.units import format_bytes, format_flops, format_fraction, format_macs, format_seconds

__all__ = ["profile_view"]


def __dir__() -> list[str]:
    return __all__


def profile_view(document: ProfileDocument, *, detail: bool) -> RenderableType:
    """What was measured of operators and tensors; with `detail` everything about each tensor, else one line."""
    parts: list[RenderableType] = []
    if document.lines is not None:
        parts.append(Text("\n".join(document.lines)))
    if document.slowest is not None:
        parts.append(_operators(document.slowest))
    if document.provider is not None:
        parts.append(Text(_with_provider(document.provider)))
    if document.modules is not None:
        parts.append(_modules(document.modules))
    if document.data is not None:
        parts.append(tensors_view(document.data, detail=detail))
    return Group(*parts)


def _with_provider(timed: ProviderTime) -> str:
    """The whole network with the provider against the CPU, what the CPU ran, and how a plan uses it."""
    options = "".join(f" {name}={value}" for name, value in sorted(timed.options.items()))
    beside = f", {count_text(len(timed.on_cpu), 'operator')} of it on the CPU" if timed.on_cpu else ""
    cpu, ratio = format_seconds(timed.cpu_seconds), timed.seconds / timed.cpu_seconds
    return (
        f"whole network with {timed.provider}{options}: {format_seconds(timed.seconds)}{beside}; on the CPU alone, in"
        f" turn: {cpu} (x{ratio:.2f}). The operators above are of the CPU. A plan takes the seconds as"
        f" --measured-device {1e3 * timed.seconds:.4g}ms beside the profile of the board"
    )


def _operators(rows: Sequence[OperatorTime]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title="slowest operators", title_justify="left")
    table.add_column("node", overflow="fold")
    table.add_column("type")
    for name in ("FLOPs", "weights", "time", "share"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            row.name,
            row.op_type,
            "not counted" if row.macs is None else format_flops(row.macs),
            format_bytes(row.weight_bytes),
            format_seconds(row.seconds),
            format_fraction(row.share),
        )
    return table


def _modules(rows: Sequence[ModuleRow]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title="MACs by type of module", title_justify="left")
    table.add_column("module", overflow="fold")
    for name in ("ours", "fvcore", "difference"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("reason", overflow="fold")
    for row in rows:
        gap = row.difference_macs
        table.add_row(
            f"{row.module_type} ({row.modules})",
            format_macs(row.macs),
            format_macs(row.fvcore_macs),
            "-" if gap == 0 else f"{'+' if gap > 0 else '-'}{format_macs(abs(gap))}",
            row.reason,
        )
    return table
