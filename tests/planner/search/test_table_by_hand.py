"""Corners of the table: cuts of two tensors, tensors that say nothing, coding without loss, inputs that differ."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from splitpoint.codecs.contract.protocol import Array, Rate
from splitpoint.planner.coding.runs import Coded
from splitpoint.planner.search.table import Entry, entropy_bits, promising, tabulate
from splitpoint.planner.values.cut import Cut

Make = Callable[..., Any]


def cut(*tensors: str, macs: int = 1) -> Cut:
    return Cut(
        index=macs,
        tensors=tensors,
        after="node",
        head=tuple(range(macs)),
        elements=64,
        bytes=256,
        head_macs=macs,
        head_parameters=0,
        head_weight_bytes=0,
    )


def coin(bits: int) -> Array:
    """A tensor of two values, equally often: so many bits of entropy."""
    return np.arange(bits) % 2 * 1.0


def kept(cuts: Sequence[Cut], tensors: Mapping[str, Array], *, limit: int = 100) -> list[str]:
    def sweep(cuts: Sequence[Cut], subset: str, count: int) -> Iterator[Mapping[str, Array]]:
        assert subset == "calibration"
        return iter([tensors] * count)

    runs: Any = types.SimpleNamespace(sweep=sweep)
    return [c.name for c in promising(runs, cuts, limit=limit)]


def test_entropy_is_of_the_nearest_levels() -> None:
    assert entropy_bits(np.array([0.0, 0.0, 0.6, 1.0]), 1) == pytest.approx(4.0)  # 0 0 1 1


def test_cuts_are_compared_at_four_bits() -> None:
    """350 values of 256 levels have 4 bits each there, which is a near tie with 1000; at 8 bits it would not be."""
    tensors = {"a": coin(1000), "b": np.arange(350.0)}
    assert kept([cut("a"), cut("b", macs=2)], tensors) == ["a", "b"]


def test_all_tensors_of_a_cut_count() -> None:
    tensors = {"a": coin(1000), "b": coin(900), "c": coin(900)}
    cuts = [cut("a"), cut("b", "c", macs=2)]
    assert kept(cuts, tensors) == ["a"]
    assert kept(cuts, tensors | {"c": coin(500)}) == ["a", cuts[1].name]


def test_a_tensor_that_never_changes_is_kept_and_can_be_thinned() -> None:
    tensors = {"a": coin(1000), "b": coin(900), "c": np.ones(8)}
    cuts = [cut("a"), cut("b", macs=2), cut("c", macs=3)]
    assert kept(cuts, tensors) == ["a", "b", "c"]
    assert kept(cuts, tensors, limit=2) == ["a", "c"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class FakeCodec:
    """Of five rates; refuses tensors of more than `most` elements."""

    name: str = "k"
    most: int = 100
    rates: tuple[Rate, ...] = tuple(Rate(label=f"q{i}", value=i) for i in range(5))
    boundary: str = "symbols"

    def refuses(self, shape: tuple[int, ...], dtype: str) -> str | None:
        return "too large" if shape[-1] > self.most else None


class FakeRuns:
    """Input i has 100 x 3^i bytes; its reconstruction is off by `off[i]`, at every rate."""

    def __init__(self, *off: float) -> None:
        self.kept = None
        sizes = {"small": 4, "large": 400}
        self.graph = types.SimpleNamespace(
            tensors={name: types.SimpleNamespace(shape=(1, size), dtype="float32") for name, size in sizes.items()}
        )
        self._off = off

    def lacks(self, codec: object, cut: Cut) -> str | None:
        return None

    def activation(self, cut: Cut, subset: str, index: int) -> dict[str, Array]:
        return {"small": np.full((1, 4), float(index + 1)), "index": np.array(index)}

    def tail(self, cut: Cut, tensors: Mapping[str, Array]) -> list[Array]:
        return [np.asarray(tensors["small"])]

    def fit(self, cut: Cut, codec: str, rate: int) -> int:
        return rate

    def encode(self, cut: Cut, fitted: int, tensors: Mapping[str, Array]) -> Mapping[str, Array]:
        return tensors

    def decode(self, cut: Cut, fitted: int, payload: Mapping[str, Array], *, draw: int) -> Coded:
        index = int(payload["index"])
        x = payload["small"] * (1 + self._off[index])
        return Coded(payload=bytes(100 * 3**index), tensors={"small": x}, key=b"the same of all")

    def map(self, function: Callable[[Any], Any], items: Any) -> list[Any]:
        return [function(item) for item in items]


def tabulated(make_point: Make, runs: FakeRuns, codec: FakeCodec, *tensors: str) -> tuple[list[Entry], dict[str, str]]:
    left_out: dict[str, str] = {}
    used: Any = runs
    given: Any = [codec]
    rows = tabulate(
        used,
        [cut(*tensors)],
        given,
        lambda candidate, payload: make_point(payload=payload).cost,
        variant="given",
        left_out=left_out,
    )
    [entries] = rows
    return entries, left_out


def test_payload_and_error_are_means_over_the_inputs(make_point: Make) -> None:
    entries, _ = tabulated(make_point, FakeRuns(0.1, 0.3), FakeCodec(), "small")
    assert [e.cost.payload_bytes for e in entries] == pytest.approx([200.0] * 5)
    assert [e.error for e in entries] == pytest.approx([0.2] * 5)


def test_coding_without_loss_has_an_error_of_about_nothing(make_point: Make) -> None:
    entries, _ = tabulated(make_point, FakeRuns(0.0, 0.0), FakeCodec(), "small")
    assert [e.error for e in entries] == pytest.approx([1e-9] * 5)


def test_a_codec_that_refuses_one_tensor_of_a_cut_does_not_code_it(make_point: Make) -> None:
    runs = FakeRuns(0.1, 0.1)
    assert tabulated(make_point, runs, FakeCodec(), "small", "large") == ([], {})
    assert len(tabulated(make_point, runs, FakeCodec(most=400), "small", "large")[0]) == 5
