"""Words for where a candidate cuts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from splitpoint.planner.values.place import place_text


@pytest.mark.parametrize(
    ("candidate", "alone", "with_variant"),
    [
        ({"cut": "a+b"}, "a+b", "a+b"),
        ({"cut": "a", "variant": "int8"}, "a", "int8: a"),
        ({"cut": "", "placement": "server", "variant": "int8"}, "send picture", "int8: send picture"),
        ({"cut": "", "placement": "device"}, "all on device", "all on device"),
        ({"cut": "", "placement": "device", "variant": "half width"}, "all on device", "half width: all on device"),
    ],
)
def test_places(make_point: Callable[..., Any], candidate: dict[str, str], alone: str, with_variant: str) -> None:
    point = make_point(**candidate)
    assert place_text(point.candidate) == alone
    assert place_text(point.candidate, with_variant=True) == with_variant
