"""Limits in words."""

from __future__ import annotations

from splitpoint.planner.deploy.schema import Requirements
from splitpoint.profiles.units import format_bytes, format_fraction, format_joules, format_seconds, format_usd

__all__ = ["needs_text"]


def __dir__() -> list[str]:
    return __all__


def needs_text(needs: Requirements, metric: str) -> str:
    """The requirements on one line, units on everything."""
    parts = [
        None if needs.deadline_s is None else f"latency <= {format_seconds(needs.deadline_s)}{_share(needs)}",
        None if needs.min_frame_rate is None else f"frame rate >= {needs.min_frame_rate:g}/s",
        None if needs.max_drop is None else f"{metric} drop <= {100 * needs.max_drop:.1f} %",
        None if needs.min_agreement is None else f"{metric} >= {needs.min_agreement:.2f}",
        None if needs.max_payload_bytes is None else f"payload <= {format_bytes(needs.max_payload_bytes)}",
        None if needs.max_head_bytes is None else f"device memory <= {format_bytes(needs.max_head_bytes)}",
        None if needs.max_energy_j is None else f"energy <= {format_joules(needs.max_energy_j)}",
        None if needs.max_usd is None else f"cost <= {format_usd(needs.max_usd)}",
        "95 % bound" if needs.confident else None,
    ]
    return " · ".join(part for part in parts if part is not None)


def _share(needs: Requirements) -> str:
    return "" if needs.deadline_share is None else f" in {format_fraction(needs.deadline_share)} of the draws"
