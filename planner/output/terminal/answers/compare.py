"""The view of two plans beside each other."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from splitpoint.planner.output.documents.answers.compare import CompareDocument, ComparedPlan
from splitpoint.profiles.units import format_bytes, format_fraction, format_interval

__all__ = ["compare_view"]


def __dir__() -> list[str]:
    return __all__


def compare_view(document: CompareDocument) -> RenderableType:
    """A row a figure, a column a plan, then what keeps them from being compared."""
    one, other = document.plans[0], document.plans[-1]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("", one.directory, other.directory):
        table.add_column(name, overflow="fold")
    rows = zip(_rows(one), _rows(other), strict=True)
    for (name, left), (_, right) in rows:
        table.add_row(name, left, right, style="" if left == right else "bold")
    by = _ratio("payload", one.payload_bytes, other.payload_bytes), _ratio("latency", one.latency_s, other.latency_s)
    lines = [text for text in by if text] + [f"not the same: {text}" for text in document.different]
    return Group(table, *([Text("\n".join(lines))] if lines else []))


def _rows(plan: ComparedPlan) -> list[tuple[str, str]]:
    quality = plan.quality
    share = "-" if plan.head_share is None else format_fraction(plan.head_share)
    return [
        ("network", plan.model),
        ("device", plan.device),
        ("link", plan.link),
        ("server", plan.server),
        ("need", plan.need or "-"),
        ("answer", f"{plan.cut}, {plan.codec}"),
        ("MACs on device", share),
        ("payload", format_bytes(plan.payload_bytes)),
        ("latency", f"{format_interval(plan.latency_s, plan.latency_low_s, plan.latency_high_s)} {plan.how}"),
        (quality.metric, f"{quality.value:.3f} [{quality.low:.2f}, {quality.high:.2f}]"),
        ("drop", f"{100 * quality.drop:.1f} % [{100 * quality.drop_low:.1f}, {100 * quality.drop_high:.1f}]"),
        ("measured on", f"{quality.subset} set, n = {quality.n}"),
        ("misses", "; ".join(plan.misses) or "nothing"),
        ("points", str(plan.front_points)),
    ]


def _ratio(name: str, one: float, other: float) -> str:
    """How many times more the second takes; nothing where one takes none."""
    if not one or not other or one == other:
        return ""
    return f"{name}: the second takes {other / one:.3g} times that of the first"
