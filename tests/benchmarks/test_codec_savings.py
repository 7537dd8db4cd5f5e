"""Savings at equal quality: curves whose saving is known, and intervals that hold what chance gives."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from splitpoint.benchmarks.codec_folds import FOLDS
from splitpoint.benchmarks.codec_savings import (
    Seen,
    compare,
    measure,
    points_at_equal_bytes,
    saving_at_equal_divergence,
)

COUNT = 400
EVERY = np.arange(COUNT)


def curve(factor: float, *, rates: tuple[float, ...] = (1, 2, 3, 4), wrong: int = 0, seed: int = 0) -> list[Seen]:
    """KL falls as the square of the bytes, `factor` of 100,000 * 2^rate; `wrong` more pictures at each coarser rate."""
    noise = np.exp(0.2 * np.random.default_rng(seed).standard_normal(COUNT))
    found = []
    for number, rate in enumerate(rates):
        answers = np.zeros(COUNT, np.int64)
        answers[: wrong * (len(rates) - number)] = 1
        size = np.rint(1000 * factor * 100 * 2**rate * noise).astype(np.int64)
        divergence = 0.1 * 4.0**-rate * noise
        found.append(
            Seen(rate=str(rate), payload_bytes=size, divergence=divergence, answers=answers, encode_s=1, head_s=1)
        )
    return found


@pytest.mark.parametrize("shifted", [(1, 2, 3, 4), (1.5, 2.5, 3.5), (2, 3, 4, 5)])
def test_a_tenth_fewer_bytes_at_every_quality_is_ten_percent_at_any_rates(shifted: tuple[float, ...]) -> None:
    new, old = curve(0.9, rates=shifted), curve(1.0)
    assert saving_at_equal_divergence(new, old, EVERY) == pytest.approx(-10, abs=0.01)
    assert saving_at_equal_divergence(old, new, EVERY) == pytest.approx(100 / 0.9 - 100, abs=0.01)


def test_points_are_compared_at_equal_bytes() -> None:
    # One octave of bytes is `wrong` = 4 of 400 pictures, a point: half of the bytes for the same answers is one point.
    new, old = curve(0.5, wrong=4), curve(1.0, wrong=4)
    assert points_at_equal_bytes(new, old, np.zeros(COUNT, np.int64), EVERY) == pytest.approx(-1, abs=0.01)


def test_the_interval_is_paired_and_excludes_zero_where_every_picture_saves() -> None:
    scene: Any = SimpleNamespace(truth=np.zeros(COUNT, np.int64), exact=np.zeros(COUNT, np.int64))
    value, low, high = compare(scene, curve(0.99, wrong=1), curve(1.0, wrong=1))["percent_more_bytes"]
    assert low <= value <= high < 0
    assert high - low < 0.1  # a percent, where pictures differ by a fifth
    value, low, high = compare(scene, curve(1.0, seed=1, wrong=1), curve(1.0, wrong=1))["percent_more_bytes"]
    assert low < 0 < high  # unpaired noise


def test_curves_without_a_common_quality_are_refused() -> None:
    with pytest.raises(SystemExit, match="no quality or size in common"):
        saving_at_equal_divergence(curve(1.0, rates=(1, 2)), curve(1.0, rates=(3, 4)), EVERY)


@pytest.mark.parametrize("fifths", [1, FOLDS - 1])
def test_every_picture_is_coded_once_by_a_codec_that_was_not_fitted_to_it(fifths: int) -> None:
    fitted: list[Any] = []
    coded: list[int] = []

    def fit(indices: Any, rate: int) -> Any:
        assert len(indices) == fifths * COUNT // FOLDS
        fitted.append(set(indices.tolist()))
        return code

    def code(index: int) -> tuple[int, Any, float]:
        assert index not in fitted[-1]
        coded.append(index)
        return index, np.zeros(2), 1.0

    network = SimpleNamespace(tail=lambda outputs, cut: np.zeros((len(outputs), 2)))
    scene = SimpleNamespace(network=network, x=np.zeros((COUNT, 2)), logs=np.full((COUNT, 2), -np.log(2)))
    place: Any = SimpleNamespace(scene=scene, cut=0, activations=scene.x)
    [seen] = measure(place, fit, ["q1"], [0], fifths)
    assert sorted(coded) == EVERY.tolist()
    assert seen.payload_bytes.tolist() == EVERY.tolist()
    assert seen.divergence == pytest.approx(np.zeros(COUNT))
