"""The view of the tensors at the cuts: a line for each, or everything about one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from splitpoint.planner.output.documents.tensors import TensorRow, TensorsPart
from splitpoint.planner.output.plot import columns
from splitpoint.planner.values.plurals import count_text
from splitpoint.profiles.units import format_bytes

__all__ = ["tensors_view"]


def __dir__() -> list[str]:
    return __all__


T = TypeVar("T")


def tensors_view(part: TensorsPart, *, detail: bool) -> RenderableType:
    """A line for each tensor, or everything about each with `detail`."""
    notes = [Text(f"note  {text}", style="yellow") for text in part.notes]
    if detail:
        return Group(*notes, *[Text(_tensor_text(row, part.target_db)) for row in part.cuts])
    target = f"{part.target_db:g} dB"
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.title, table.title_justify = f"tensors at the cuts, {count_text(part.inputs, 'input')}", "left"
    table.add_column("#", justify="right", no_wrap=True)
    table.add_column("after", overflow="ellipsis", no_wrap=True, max_width=20)
    table.add_column("shape", justify="right", no_wrap=True)
    for name in ("zeros", "bit", "dB", "95 %", "99 %", f"at {target}"):
        table.add_column(name, justify="right", no_wrap=True, min_width=len(name))
    for row in part.cuts:
        table.add_row(
            str(row.index),
            row.layer,
            "x".join(map(str, row.shape[1:])),
            f"{row.zero_fraction:.0%}",
            f"{row.entropy_bit['4']:.2f}",
            _decibel(row.sqnr_db["4"]).removesuffix(" dB"),
            _or_dash(row.components_95, str),
            _or_dash(row.components_99, str),
            _or_dash(_best_estimate(row), _bytes_of_bits),
        )
    legend = Text(
        "bit, dB: entropy of a value and signal-to-noise ratio (SQNR) of a 4 bit quantizer. 95 %, 99 %: channel"
        f" components with that share of the variance. at {target}: the smaller estimate of scalar coding and KLT."
        " --cut N shows everything about one cut.",
        style="dim",
    )
    return Group(*notes, table, legend)


def _tensor_text(row: TensorRow, target_db: float) -> str:
    """Everything about one tensor but its whole spectrum."""
    shares = [
        f"{share} %: {_or_dash(components, str)} of {row.channels} channels"
        for share, components in ((95, row.components_95), (99, row.components_99))
    ]
    bits = sorted(row.entropy_bit, key=int)
    estimates = [
        f"{kind} {_or_dash(bit, _bytes_of_bits)}"
        for kind, bit in (("scalar", row.scalar_estimated_bit), ("klt", row.klt_estimated_bit))
    ]
    lines = [
        f"cut {row.index} after {row.layer}: {row.tensor} {'x'.join(map(str, row.shape[1:]))}",
        f"zeros {row.zero_fraction:.1%}, range {row.low:.4g} … {row.high:.4g}",
        "quantizer " + "".join(f"{n + ' bit':>9}" for n in bits),
        "entropy   " + "".join(f"{row.entropy_bit[n]:>5.2f} bit" for n in bits),
        "SQNR      " + "".join(f"{_decibel(row.sqnr_db[n]):>9}" for n in bits),
        f"PCA       {', '.join(shares)}"
        + ("" if row.correlation is None else f"; mean |correlation| of two channels {row.correlation:.2f}"),
        *([] if row.spectrum is None else [f"spectrum  {columns(row.spectrum[:64])}  (square root scale)"]),
        f"histogram {columns(row.histogram)}  ({row.low:.3g} … {row.high:.3g}, square root scale)",
        f"estimated at {target_db:g} dB: {', '.join(estimates)}",
    ]
    return "\n".join(lines)


def _best_estimate(row: TensorRow) -> float | None:
    estimates = [row.scalar_estimated_bit, row.klt_estimated_bit]
    return min((bit for bit in estimates if bit is not None), default=None)


def _bytes_of_bits(bit: float) -> str:
    return format_bytes(bit / 8)


def _decibel(value: float | None) -> str:
    return "exact" if value is None else f"{value:.1f} dB"


def _or_dash(value: T | None, text: Callable[[T], str]) -> str:
    return "-" if value is None else text(value)
