"""Values made once, however many threads ask."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from splitpoint.planner.deploy.once import Once


def test_many_threads_get_one_value() -> None:
    once, made, start = Once(), list[object](), threading.Barrier(8)

    def make() -> object:
        time.sleep(0.01)  # the others come meanwhile
        made.append(object())
        return made[-1]

    def ask(_: int) -> object:
        start.wait()
        return once.get("value", make)

    with ThreadPoolExecutor(8) as pool:
        values = set(pool.map(ask, range(8)))
    assert len(made) == 1
    assert values == set(made)


def test_a_value_may_need_another_and_may_be_none() -> None:
    once = Once()
    assert once.get("sum", lambda: once.get("one", lambda: 1) + 1) == 2
    assert once.get("nothing", lambda: None) is None
    assert once.get("nothing", lambda: pytest.fail("made twice")) is None


def test_an_error_is_raised_each_time_until_it_is_made() -> None:
    once = Once()
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            once.get("value", lambda: 1 // 0)
    assert once.get("value", lambda: 5) == 5
