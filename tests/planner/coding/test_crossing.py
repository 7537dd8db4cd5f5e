"""How each tensor of a cut is coded: by the candidate's codec where that takes it, without loss beside it."""

from __future__ import annotations

import math

import pytest

from splitpoint.codecs.registry import REGISTRY
from splitpoint.planner.coding.crossing import applies, codec_of, coded_shape
from splitpoint.profiles.network.model import Tensor


def tensor(dtype: str, *shape: int) -> Tensor:
    return Tensor(name="t", shape=shape, dtype=dtype, elements=math.prod(shape), bytes=math.prod(shape))


MAP, STATE, IDS = tensor("float32", 1, 8, 4, 4), tensor("float32", 2, 1, 16), tensor("int64", 1, 64)
MASK, HALF, LENGTH = tensor("bool", 1, 64), tensor("float16", 1, 64), tensor("int64", 1)


@pytest.mark.parametrize(
    ("shape", "coded"),
    [((1, 8, 4, 4), (1, 8, 4, 4)), ((2, 1, 16), (1, 2, 1, 16)), ((), (1, 1)), ((1,), (1, 1)), ((7,), (1, 7))],
)
def test_codecs_see_a_batch_axis_of_one(shape: tuple[int, ...], coded: tuple[int, ...]) -> None:
    assert coded_shape(shape) == coded


@pytest.mark.parametrize(
    ("codec", "held", "used"),
    [
        ("fast", MAP, "fast"),
        ("fast", STATE, "fast"),
        ("fast", IDS, "integers"),
        ("fast", MASK, "integers"),
        ("fast", LENGTH, "integers"),
        ("fast", HALF, "raw"),
        ("integers", IDS, "integers"),
        ("integers", MAP, "raw"),
        ("raw", IDS, "raw"),
        ("choi-tiles", STATE, "choi-tiles"),
        ("choi-tiles", tensor("float32"), "raw"),
    ],
)
def test_what_a_codec_does_not_take_goes_without_loss(codec: str, held: Tensor, used: str) -> None:
    assert codec_of(REGISTRY[codec], held).name == used


def test_a_codec_is_for_a_cut_of_which_it_takes_something() -> None:
    assert applies(REGISTRY["fast"], [MAP, IDS, MASK])
    assert applies(REGISTRY["integers"], [IDS, MAP])
    assert applies(REGISTRY["raw"], [IDS, MAP, HALF, LENGTH])
    assert not applies(REGISTRY["fast"], [IDS, MASK])
    assert not applies(REGISTRY["integers"], [MAP, STATE])
    assert not applies(REGISTRY["bytes-rans"], [IDS, MAP])
    assert not applies(REGISTRY["fast"], [MAP, tensor("float32", 1, 0)])


def test_a_codec_that_takes_the_smaller_part_of_the_numbers_is_not_for_the_cut() -> None:
    assert applies(REGISTRY["fast"], [MAP, tensor("float32", 1, 127)])
    assert not applies(REGISTRY["fast"], [MAP, tensor("float32", 1, 128)])
    assert applies(REGISTRY["fast"], [MAP, tensor("int64", 1, 4000)])
