"""Batches are a function of seed and step; pictures are moved and mirrored, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitpoint.planner.training.batches import Batches, augmented


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 5))
def test_every_row_is_taken_at_most_once_an_epoch(inputs: int, size: int, seed: int) -> None:
    if size > inputs:
        with pytest.raises(ValueError, match="batches of"):
            Batches(inputs=inputs, size=size, seed=seed)
        return
    batches = Batches(inputs=inputs, size=size, seed=seed)
    for epoch in range(3):
        steps = range(epoch * batches.per_epoch, (epoch + 1) * batches.per_epoch)
        rows = np.concatenate([batches.rows(step) for step in steps])
        assert len(rows) == batches.per_epoch * size > inputs - size
        assert len(set(rows.tolist())) == len(rows)
        assert rows.min() >= 0
        assert rows.max() < inputs


def test_steps_may_be_taken_in_any_order() -> None:
    batches = Batches(inputs=50, size=8, seed=3)
    first = [batches.rows(step).tolist() for step in range(20)]
    assert [batches.rows(step).tolist() for step in reversed(range(20))] == first[::-1]
    assert first[0] != first[batches.per_epoch]  # another order in the next epoch
    assert first != [Batches(inputs=50, size=8, seed=4).rows(step).tolist() for step in range(20)]
    draws = [batches.generator(step).integers(0, 1 << 30) for step in (0, 1, 0)]
    assert draws[0] == draws[2] != draws[1]


def test_pictures_are_moved_and_mirrored() -> None:
    rng = np.random.default_rng(0)
    pictures = rng.integers(1, 256, (200, 16, 24, 3), np.uint8)
    made = augmented(pictures, np.random.default_rng(1))
    assert made.shape == pictures.shape
    assert made.dtype == np.uint8
    seen = set()
    for before, after in zip(pictures, made, strict=True):
        padded = np.pad(before, ((2, 2), (3, 3), (0, 0)))
        windows = {
            (down, across, mirrored): padded[down : down + 16, across : across + 24][:, :: -1 if mirrored else 1]
            for down in range(5)
            for across in range(7)
            for mirrored in (False, True)
        }
        # Mirrored first and moved then is moved the other way and mirrored then.
        seen.add(next(place for place, window in windows.items() if (window == after).all()))
    assert {place[0] for place in seen} == set(range(5))
    assert {place[1] for place in seen} == set(range(7))
    assert {place[2] for place in seen} == {False, True}
    assert (augmented(pictures, np.random.default_rng(1), share=0.0, mirror=False) == pictures).all()
