"""Blocks of a set: every input once, groups whole, looks at the shares, an order that the seed decides."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from splitpoint.planner.samples.blocks import Blocks, make_blocks, one_block


def inputs_of(blocks: Blocks) -> list[int]:
    return [i for number in range(len(blocks.ends)) for i in blocks.block(number)]


@pytest.mark.parametrize(("inputs", "groups"), [(200, 200), (200, 70), (60, 12), (5000, 5000), (3, 1)])
def test_every_input_is_in_one_block_with_its_whole_group(inputs: int, groups: int) -> None:
    group_of = [f"scene {i % groups}" for i in range(inputs)]
    blocks = make_blocks(group_of, seed=3)
    assert sorted(inputs_of(blocks)) == list(range(inputs))
    assert blocks.inputs == inputs
    seen = [{group_of[i] for i in blocks.block(number)} for number in range(len(blocks.ends))]
    assert all(not a & b for a, b in itertools.combinations(seen, 2))
    assert len(blocks.block(0)) >= min(20, inputs)


def test_looks_are_at_the_shares_and_the_first_has_enough_inputs() -> None:
    assert make_blocks(range(1000), seed=0).ends == (50, 100, 200, 400, 700, 1000)
    assert make_blocks(range(450), seed=0).ends == (23, 45, 90, 180, 315, 450)  # 5 % or more
    assert make_blocks(range(100), seed=0).ends == (20, 40, 70, 100)
    assert make_blocks(range(24), seed=0).ends == (24,)
    assert one_block(7).ends == (7,)


def test_the_seed_decides_the_order_and_every_input_may_come_first() -> None:
    assert make_blocks(range(100), seed=1) == make_blocks(range(100), seed=1) != make_blocks(range(100), seed=2)
    firsts = [make_blocks(range(10), seed=seed).groups[0][0] for seed in range(2000)]
    counts = np.bincount(firsts, minlength=10)
    assert abs(counts - 200).max() < 4.5 * (2000 * 0.1 * 0.9) ** 0.5  # 4.5 standard deviations, ten counts
