"""Measurements are repeated until the two best agree, and no more than five times."""

from __future__ import annotations

import itertools

import pytest

from splitpoint.codecs import speed
from splitpoint.profiles.measurement.steady import best_rates, repeat_rates, worst_spread

FIELDS = ("dense_macs_s", "pointwise_macs_s", "depthwise_macs_s", "matmul_macs_s", "bytes_s", "run_overhead_s")


def run(dense: float = 100.0, **changes: float) -> dict[str, float]:
    return {**dict.fromkeys(FIELDS, 100.0), "dense_macs_s": dense, **changes}


def test_two_runs_that_agree_are_enough() -> None:
    runs = iter([run(100), run(91)])
    rates, spread = repeat_rates(lambda: next(runs))
    assert (rates["dense_macs_s"], spread["dense_macs_s"]) == pytest.approx((100, 0.09))
    assert list(runs) == []


@pytest.mark.parametrize(
    ("dense", "best", "spread", "count"),
    [
        ((50, 100, 95), 100, 0.05, 3),  # the slow one no longer counts
        ((50, 100, 80, 99, 1), 100, 0.01, 4),
        ((10, 100, 50, 70, 60, 99), 100, 0.3, 5),  # never again after five
    ],
)
def test_runs_that_do_not_agree_are_followed_by_others(
    dense: tuple[float, ...], best: float, spread: float, count: int
) -> None:
    made = itertools.count()
    rates, spreads = repeat_rates(lambda: run(dense[next(made)]))
    assert rates["dense_macs_s"] == best
    assert worst_spread(spreads) == pytest.approx(spread)
    assert next(made) == count


def test_runs_that_were_made_count() -> None:
    runs = iter([run(99)])
    assert repeat_rates(lambda: next(runs), [run(100)])[0]["dense_macs_s"] == 100


def test_seconds_are_best_small_and_do_not_decide() -> None:
    runs = iter([run(run_overhead_s=4.0), run(run_overhead_s=1.0)])
    rates, spread = repeat_rates(lambda: next(runs))
    assert (rates["run_overhead_s"], spread["run_overhead_s"]) == (1.0, 0.75)
    assert worst_spread(spread) == 0
    assert best_rates([run(run_overhead_s=0.0), run(run_overhead_s=0.0)])[1]["run_overhead_s"] == 0


@pytest.mark.parametrize(
    ("batches", "least", "spread", "count"),
    [
        ((1.0, 1.05), 1.0, 0.05, 2),
        ((2.0, 1.0, 1.04), 1.0, 0.04, 3),
        ((9.0, 1.0, 2.0, 3.0, 1.5, 1.0), 1.0, 0.5, 5),
    ],
)
def test_batches_of_a_coder_are_repeated_too(
    batches: tuple[float, ...], least: float, spread: float, count: int
) -> None:
    made = itertools.count()
    assert speed._steady(lambda: batches[next(made)]) == pytest.approx((least, spread))
    assert next(made) == count


def test_the_spread_of_a_speed_is_that_of_its_less_steady_direction(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([(4.0, 0.3), (2.0, 0.01)])
    monkeypatch.setattr(speed, "_steady", lambda batch: next(answers))
    assert speed._speed(lambda: b"x", len, 2) == speed.Speed(encode_s=2.0, decode_s=1.0, spread=0.3)
