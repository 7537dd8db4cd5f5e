"""The byte cache: a budget that holds, the least recently used goes first, values are made again."""

from __future__ import annotations

import concurrent.futures
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitpoint.planner.coding.cache import ByteCache, default_budget


def test_a_value_is_made_once_while_it_is_kept() -> None:
    cache, calls = ByteCache(10), []
    for _ in range(3):
        assert cache.get("a", lambda: calls.append(1) or "value", lambda _: 4) == "value"  # type: ignore[func-returns-value]  # None
    assert (len(calls), cache.used_bytes, "a" in cache, "b" in cache) == (1, 4, True, False)
    cache.clear()
    assert (cache.used_bytes, "a" in cache) == (0, False)


def test_the_least_recently_used_goes_first() -> None:
    cache = ByteCache(10)
    for key in ("a", "b"):
        cache.get(key, lambda: 0, lambda _: 5)
    cache.get("a", lambda: 0, lambda _: 5)
    cache.get("c", lambda: 0, lambda _: 5)
    assert ["a" in cache, "b" in cache, "c" in cache] == [True, False, True]


def test_what_is_larger_than_the_budget_is_given_and_not_kept() -> None:
    cache = ByteCache(10)
    cache.get("small", lambda: 1, lambda _: 10)
    assert cache.get("large", lambda: 2, lambda _: 11) == 2
    assert ["small" in cache, "large" in cache, cache.used_bytes] == [True, False, 10]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 7)), max_size=40))
def test_the_budget_holds_and_values_are_right(asked: list[tuple[int, int]]) -> None:
    cache = ByteCache(12)
    for key, size in asked:
        assert cache.get((key, size), lambda key=key: key, lambda _, size=size: size) == key  # type: ignore[misc]  # bound now
        assert 0 <= cache.used_bytes <= 12


def test_several_threads_get_equal_values_and_the_sum_stays_right() -> None:
    cache = ByteCache(50)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        keys = [i % 13 for i in range(2000)]
        values = list(pool.map(lambda key: cache.get(key, lambda: key * 2, lambda _: 7), keys))
    assert values == [key * 2 for key in keys]
    assert cache.used_bytes == 7 * sum(key in cache for key in range(13)) <= 50


def test_threads_that_ask_for_one_value_wait_for_the_one_that_makes_it() -> None:
    cache, made = ByteCache(50), list[int]()

    def make() -> str:
        made.append(1)
        time.sleep(0.05)
        return "value"

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: cache.get("a", make, lambda _: 5), range(8))) == {"value"}
    assert made == [1]


def test_a_value_that_could_not_be_made_is_asked_for_again() -> None:
    cache = ByteCache(50)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            cache.get("a", lambda: 1 // 0, lambda _: 5)
    assert cache.get("a", lambda: 1, lambda _: 5) == 1


@pytest.mark.parametrize(
    ("free_pages", "expected"), [(1000, 1_024_000), (10**6, 1_024_000_000), (10**7, 2_000_000_000), (0, 0)]
)
def test_the_default_is_a_quarter_of_the_free_memory_and_at_most_two_gigabytes(
    monkeypatch: pytest.MonkeyPatch, free_pages: int, expected: int
) -> None:
    system = {"SC_AVPHYS_PAGES": free_pages, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr("os.sysconf", system.__getitem__)
    assert default_budget() == expected


def test_where_the_free_memory_is_not_known_the_default_is_two_gigabytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("os.sysconf")
    assert default_budget() == 2_000_000_000
