"""How long something still takes, in words."""

from __future__ import annotations

import pytest

from splitpoint.planner.values.progress import time_left_text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "0 s left"),
        (89, "89 s left"),
        (91, "2 min left"),
        (240, "4 min left"),
        (3599, "1 h 0 min left"),
        (4800, "1 h 20 min left"),
    ],
)
def test_seconds_minutes_and_hours(seconds: float, text: str) -> None:
    assert time_left_text(seconds) == text
