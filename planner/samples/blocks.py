"""The blocks of a set in which candidates are measured: groups stay whole, in an order that the seed decides."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Hashable, Sequence

import msgspec

__all__ = ["Blocks", "make_blocks", "one_block"]


def __dir__() -> list[str]:
    return __all__


SHARES = (0.05, 0.1, 0.2, 0.4, 0.7, 1.0)  # of the groups, measured after each block
LEAST_INPUTS = 20  # of the first block: fewer settle nothing


class Blocks(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Groups of inputs in random order; the first `ends[k]` of them are measured after block number k."""

    groups: tuple[tuple[int, ...], ...]  # indices of the inputs of each group
    ends: tuple[int, ...]  # ascending; the last one is all groups

    def block(self, number: int) -> tuple[int, ...]:
        """Indices of the inputs of a block, ascending."""
        begin = self.ends[number - 1] if number else 0
        return tuple(sorted(itertools.chain(*self.groups[begin : self.ends[number]])))

    @property
    def inputs(self) -> int:
        """Inputs of all groups."""
        return sum(map(len, self.groups))


def one_block(inputs: int) -> Blocks:
    """All inputs at once."""
    return Blocks(groups=tuple((i,) for i in range(inputs)), ends=(inputs,))


def make_blocks(groups: Sequence[Hashable], *, seed: int) -> Blocks:
    """Blocks that end at `SHARES` of the groups, the first with at least `LEAST_INPUTS` inputs.

    `groups` (N,) has the group of each input. Every order of the groups is equally likely, which the tests of
    `planner.racing.sequential` need; strata would make it another.
    """
    members: dict[Hashable, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group, []).append(index)
    order = [tuple(member) for member in members.values()]
    random.Random(seed).shuffle(order)
    inputs = list(itertools.accumulate(map(len, order)))
    ends = sorted({math.ceil(round(share * len(order), 6)) for share in SHARES})  # 0.07 * 100 is above 7
    large = tuple(end for end in ends if inputs[end - 1] >= LEAST_INPUTS)
    return Blocks(groups=tuple(order), ends=large or (len(order),))
