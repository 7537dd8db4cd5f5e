"""Words for where a point cuts, and which kind of answer it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from splitpoint.planner.values.place import KINDS, codec_text, kind_of, place_text


@pytest.mark.parametrize(
    ("figures", "kind", "alone", "with_variant"),
    [
        ({"cut": "a+b", "layer": "blocks.1"}, "split", "after blocks.1", "after blocks.1"),
        ({"cut": "a", "layer": "blocks.1", "variant": "int8"}, "split", "after blocks.1", "int8: after blocks.1"),
        ({"cut": "a"}, "split", "after a", "after a"),  # named by its tensor
        ({"cut": "x", "layer": ""}, "input", "send input", "send input"),
        ({"cut": "", "placement": "server", "variant": "int8"}, "input", "send picture", "int8: send picture"),
        ({"cut": "", "placement": "device"}, "device", "all on device", "all on device"),
        ({"cut": "", "placement": "device", "variant": "wide"}, "device", "all on device", "wide: all on device"),
    ],
)
def test_places(
    make_point: Callable[..., Any], figures: dict[str, str], kind: str, alone: str, with_variant: str
) -> None:
    point = make_point(**figures)
    assert kind_of(point) == kind
    assert place_text(point) == alone
    assert place_text(point, with_variant=True) == with_variant


def test_a_codec_has_the_label_of_its_rate_where_it_has_several() -> None:
    assert [codec_text("png", "lossless"), codec_text("-", "-"), codec_text("fast", "4 bit")] == [
        "png",
        "-",
        "fast 4 bit",
    ]


def test_the_simplest_kind_comes_first() -> None:
    assert KINDS == ("device", "input", "split")
