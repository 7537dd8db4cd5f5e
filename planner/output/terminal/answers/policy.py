"""Which point answers at which link, as a table; and what looser limits would buy."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from splitpoint.planner.answers.hypervolume import shares_reached
from splitpoint.planner.answers.relax import Relaxation
from splitpoint.planner.deploy.schema import PolicyRow
from splitpoint.profiles.units import format_fraction, format_rate

__all__ = ["NOTHING", "hypervolume_text", "policy_table", "relax_lines"]


def __dir__() -> list[str]:
    return __all__


NOTHING = "nothing meets every limit"
SHARES = (0.25, 0.5, 0.75)  # of the evaluations


def policy_table(rows: Sequence[PolicyRow]) -> list[RenderableType]:
    """The policy over the uplink rate; nothing where one point answers everywhere, or none is known."""
    if len(rows) < 2:
        return []
    table = Table(title="By uplink rate, from the same measured points", title_justify="left", title_style="bold")
    table.box, table.pad_edge, table.padding = None, False, (0, 1, 0, 0)
    table.add_column("from", justify="right", no_wrap=True)
    table.add_column("to", justify="right", no_wrap=True)
    table.add_column("#", justify="right", no_wrap=True)
    table.add_column("answer", overflow="fold")
    for row in rows:
        number = "" if row.number is None else str(row.number)
        style = "dim" if row.what is None else ""
        table.add_row(format_rate(row.from_bit_s), format_rate(row.to_bit_s), number, row.what or NOTHING, style=style)
    return [Text(""), table]


def relax_lines(relax: Sequence[Relaxation]) -> list[Text]:
    """What each limit that binds keeps out: "latency <= 330 ms instead of 300 ms: after blocks.12, kltq-rans q7"."""
    return [Text(f"with {row.text}: {row.what}{f' ({row.price})' if row.price else ''}") for row in relax]


def hypervolume_text(series: Sequence[float]) -> list[Text]:
    """How much of the final hypervolume was reached after parts of the evaluations; nothing for a few points."""
    if len(series) < 1 / min(SHARES):
        return []
    reached = zip(SHARES, shares_reached(series, SHARES), strict=True)
    parts = ", ".join(f"{format_fraction(value)} after {format_fraction(share)}" for share, value in reached)
    return [Text(f"hypervolume of the front: {parts} of {len(series)} evaluations", style="dim")]
