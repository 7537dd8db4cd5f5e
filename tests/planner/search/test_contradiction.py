"""When the report set contradicts the chosen point, and the next safer point."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from splitpoint.planner.deploy.accuracy import Figure
from splitpoint.planner.limits.text import needs_text
from splitpoint.planner.search.contradiction import contradiction, safer_point
from splitpoint.planner.search.decide import Decision

Make = Callable[..., Any]


def report(make_point: Make, **figures: Any) -> Any:
    return make_point(**figures).accuracy


@pytest.mark.parametrize(
    ("limits", "figures", "expected"),
    [
        ({"drop": 0.01}, {"drop": 0.01}, None),
        ({"drop": 0.01}, {"drop": 0.03, "drop_low": 0.01}, None),  # its inputs may be less lucky
        ({"drop": 0.01}, {"drop": 0.03, "drop_low": 0.02}, "drop 3 % on the report set (95 %: 2 % or worse)"),
        ({"drop": 0.01}, {"drop": 0.0, "drop_high": 0.5}, None),
        ({"drop": 0.01, "confident": True}, {"drop": 0.0, "drop_high": 0.5}, None),
        ({"quality": 0.9}, {"value": 0.8, "high": 0.9}, None),
        ({"quality": 0.9}, {"value": 0.8, "high": 0.895, "metric": "agreement"},
         "agreement 0.8 on the report set (95 %: 0.895 or worse)"),
        ({"quality": 0.9, "confident": True}, {"value": 0.95, "low": 0.5}, None),
        ({}, {"drop": 1.0, "value": 0.0}, None),
        ({"drop": 0.01}, {"drop": 0.01 + 1e-15}, None),
        ({"cosine": 0.9}, {"also": [Figure(name="cosine", value=0.8, drop=0.2, low=0.7, high=0.9)]}, None),
        ({"cosine": 0.9}, {"also": [Figure(name="cosine", value=0.8, drop=0.2)]},
         "cosine 0.8 on the report set (95 %: 0.8 or worse)"),
    ],
)  # fmt: skip
def test_the_report_set_contradicts_a_missed_floor(
    make_point: Make, make_needs: Make, limits: Any, figures: Any, expected: str | None
) -> None:
    found = contradiction(make_point(), report(make_point, **figures), make_needs(**limits))
    bound = "at most 1 %" if "drop" in limits else "at least 0.9"
    assert found == (None if expected is None else f"{expected}, {bound} was asked")


def decision(front: list[Any], recommended: int | None) -> Decision:
    return Decision(
        front=tuple(front),
        recommended=None if recommended is None else front[recommended],
        reason="",
        knee=None,
        nearest=(),
        would_fit=(),
    )


def test_the_next_safer_point_is_the_least_better_one(make_point: Make) -> None:
    front = [
        make_point(cut=str(i), payload=100 * (i + 1), drop=drop)
        for i, drop in enumerate((0.10, 0.15, 0.01, 0.07, 0.07))
    ]
    assert safer_point(decision(front, 0)) == 4  # 0.07 with the fewer bytes
    assert safer_point(decision(front, 1)) == 1
    assert safer_point(decision(front, 3)) == 3
    assert safer_point(decision(front, 2)) is None
    assert safer_point(decision(front, None)) is None
    assert safer_point(decision([front[0]], 0)) is None


def test_needs_in_words(make_needs: Make) -> None:
    needs = make_needs(latency=0.055, deadline_share=0.99, drop=0.01, payload=2000, device_memory=64_000_000)
    assert needs_text(needs, "top1") == (
        "latency <= 55 ms in 99 % of cases · top1 drop <= 1 % · payload <= 2 kB · device memory <= 64 MB"
    )
    more = make_needs(quality=0.9, frame_rate=10.0, energy=0.05, cost=1e-5, confident=True)
    assert needs_text(more, "agreement") == (
        "frame rate >= 10/s · agreement >= 0.9 · energy <= 50 mJ · cost <= 10 USD per million · 95 % bound"
    )
    assert needs_text(make_needs(), "top1") == ""
    assert "latency <= 55 ms ·" in needs_text(msgspec.structs.replace(needs, deadline_share=None), "top1")
