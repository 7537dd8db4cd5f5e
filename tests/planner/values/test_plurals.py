"""Nouns behind numbers."""

from __future__ import annotations

from splitpoint.planner.values.plurals import count_text, uncounted_text


def test_one_and_many() -> None:
    assert [count_text(n, "group") for n in (0, 1, 2)] == ["0 groups", "1 group", "2 groups"]


def test_operators_without_a_count() -> None:
    assert uncounted_text({"If": 2, "Foo": 1}) == "3 operators not counted: Foo (1), If (2)"
    assert uncounted_text({"Erf": 1}) == "1 operator not counted: Erf (1)"
