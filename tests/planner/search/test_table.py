"""The table the search starts from: which cuts it keeps, what it interpolates, which candidates come first."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import pytest

from splitpoint.codecs.contract.protocol import Array, FitError, Rate
from splitpoint.planner.coding.runs import Coded
from splitpoint.planner.deploy.cost import Cost
from splitpoint.planner.search import table
from splitpoint.planner.search.table import Entry, entropy_bits, promising, starting_points, tabulate
from splitpoint.planner.values.candidate import Candidate
from splitpoint.planner.values.cut import Cut
from splitpoint.profiles.errors import ProfileError

Make = Callable[..., Any]


def cut(name: str, macs: int) -> Cut:
    return Cut(
        index=macs,
        tensors=(name,),
        after=f"after {name}",
        head=tuple(range(macs)),
        elements=64,
        bytes=256,
        head_macs=macs,
        head_parameters=0,
        head_weight_bytes=0,
    )


class Bits:
    """Only what `promising` asks: tensors whose entropy at 4 bits is the number of values that is wanted, in bits."""

    def __init__(self, bits: Mapping[str, float]) -> None:
        self.bits = bits

    def sweep(self, cuts: Sequence[Cut], subset: str, count: int) -> Iterator[dict[str, Array]]:
        for _ in range(count):  # two values, equally often: one bit each
            yield {name: np.arange(round(bits)) % 2 * 1.0 for name, bits in self.bits.items()}


def kept(bits: Sequence[float], **options: Any) -> list[str]:
    """Names of the promising ones of a chain of cuts with these bits."""
    names = [f"t{i}" for i in range(len(bits))]
    bench: Any = Bits(dict(zip(names, bits, strict=True)))
    arguments = {"limit": 100, **options}
    return [c.name for c in promising(bench, [cut(n, i) for i, n in enumerate(names)], **arguments)]


def test_entropy_of_known_distributions() -> None:
    assert entropy_bits(np.array([0.0, 0.0, 1.0, 1.0]), 4) == pytest.approx(4.0)
    assert entropy_bits(np.full(9, 3.0), 4) == 0.0
    assert entropy_bits(np.arange(16.0), 4) == pytest.approx(64.0)
    assert entropy_bits(np.arange(16.0), 2) < 32.1  # 4 levels: at most 2 bits each
    assert entropy_bits(np.array([0.0, 1.0, 1.0, 1.0]), 4) == pytest.approx(4 * 0.8112781)


def test_a_cut_that_an_earlier_one_beats_is_dropped() -> None:
    assert kept([1000, 400, 900, 300]) == ["t0", "t1", "t3"]
    assert kept([1000, 1000, 2000, 4000]) == ["t0", "t1"]


def test_a_near_tie_is_kept() -> None:
    assert kept([1000, 1500]) == ["t0", "t1"]
    assert kept([1000, 1504]) == ["t0"]
    assert kept([1000, 1400, 1504]) == ["t0", "t1"]  # against the best so far, not against the last that was kept


def test_cuts_above_the_picture_are_dropped_but_never_all() -> None:
    assert kept([1000, 400, 300], ceiling_bit=500) == ["t1", "t2"]
    assert kept([1000, 400, 300], ceiling_bit=300) == ["t2"]
    assert kept([1000, 400, 300], ceiling_bit=10) == ["t2"]


def test_cuts_are_thinned_where_bits_change_least() -> None:
    assert kept([1000, 990, 500, 250], limit=3) == ["t0", "t2", "t3"]
    assert kept([1000, 500, 490, 250], limit=3) == ["t0", "t1", "t3"]  # of the two the later goes
    assert kept([1000, 500, 250], limit=1) == ["t2"]
    assert len(kept([1000, 900, 800, 700, 600], limit=2)) == 2


def test_cuts_of_equal_macs_are_ordered_by_their_heads() -> None:
    bench: Any = Bits({"long": 100, "short": 400})
    long_, short = cut("long", 5), msgspec.structs.replace(cut("short", 5), head=(0,))
    assert [c.name for c in promising(bench, [long_, short], limit=9)] == ["short", "long"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class FakeCodec:
    """As much of a codec as the table asks for."""

    name: str
    rates: tuple[Rate, ...]
    boundary: str = "symbols"

    def refuses(self, shape: tuple[int, ...], dtype: str) -> str | None:
        return "never" if self.name == "refusing" else None


class FakeBench:
    """One cut; a codec's payload has 100 x 2^rate bytes, and its reconstruction is off by 0.5^rate."""

    def __init__(self, *, unfit: Sequence[int] = ()) -> None:
        tensor = types.SimpleNamespace(shape=(1, 4), dtype="float32")
        self.graph = types.SimpleNamespace(tensors={"t": tensor})
        self.unfit, self.looks, self.tails = unfit, 0, 0
        self.kept = None

    def lacks(self, codec: object, cut: Cut) -> str | None:
        return None

    def activation(self, cut: Cut, subset: str, index: int) -> dict[str, Array]:
        assert subset == "calibration"
        return {"t": np.full((1, 4), float(index + 1))}

    def tail(self, cut: Cut, tensors: Mapping[str, Array]) -> list[Array]:
        self.tails += 1
        return [np.asarray(tensors["t"])]

    def fit(self, cut: Cut, codec: str, rate: int) -> int:
        if rate in self.unfit:
            raise FitError(f"{codec} cannot be fitted at {rate}")
        return rate

    def encode(self, cut: Cut, fitted: int, tensors: Mapping[str, Array]) -> tuple[int, Array]:
        self.looks += 1
        return fitted, np.asarray(tensors["t"])

    def decode(self, cut: Cut, fitted: int, payload: tuple[int, Array], *, draw: int) -> Coded:
        rate, x = payload
        return Coded(payload=bytes(100 * 2**rate), tensors={"t": x * (1 + 0.5**rate)}, key=str(rate).encode())

    def map(self, function: Callable[[Any], Any], items: Any) -> list[Any]:
        return [function(item) for item in items]


def tabulated(
    make_point: Make, *codecs: FakeCodec, bench: FakeBench | None = None, price: Any = None, **options: Any
) -> tuple[list[list[Entry]], dict[str, str], list[tuple[int, float]]]:
    """Entries by codec, what was left out, and the (rate, payload) that were priced."""
    left_out: dict[str, str] = {}
    priced: list[tuple[int, float]] = []

    def cost(candidate: Candidate, payload_bytes: float) -> Cost:
        priced.append((candidate.rate, payload_bytes))
        found: Cost = make_point(payload=payload_bytes).cost
        return found

    used: Any = bench or FakeBench()
    given: Any = codecs
    rows = tabulate(used, [cut("t", 1)], given, price or cost, variant="given", left_out=left_out, **options)
    return list(rows), left_out, priced


def rates(count: int) -> tuple[Rate, ...]:
    return tuple(Rate(label=f"q{i}", value=i) for i in range(count))


def test_payload_and_error_are_log_linear_through_two_looks_and_beyond_them(make_point: Make) -> None:
    bench = FakeBench()
    [entries], left_out, priced = tabulated(make_point, FakeCodec(name="a", rates=rates(9)), bench=bench)
    assert [e.candidate.rate for e in entries] == list(range(9))
    assert [e.cost.payload_bytes for e in entries] == pytest.approx([100 * 2**rate for rate in range(9)])
    assert [e.error for e in entries] == pytest.approx([0.5**rate for rate in range(9)])
    assert bench.looks == 2 * table.PROBE_INPUTS
    assert left_out == {}
    nearest = [2] * 5 + [6] * 4  # whose graphs stand for it; ties to the coarser
    assert [rate for rate, _ in priced] == [rate for rate in nearest for _ in ("cost", "least_cost")]
    assert [e.least_cost.payload_bytes for e in entries] == pytest.approx([50 * 2**rate for rate in range(9)])


@pytest.mark.parametrize("workers", [1, 3])
def test_the_table_is_the_same_whatever_is_fitted_at_once(make_point: Make, workers: int) -> None:
    codecs = [FakeCodec(name=name, rates=rates(count)) for name, count in (("a", 9), ("b", 1), ("c", 5), ("d", 3))]
    expected = tabulated(make_point, *codecs, bench=FakeBench(unfit=[2]))
    found = tabulated(make_point, *codecs, bench=FakeBench(unfit=[2]), workers=workers)
    assert found[:2] == expected[:2]
    assert list(found[1]) == list(expected[1])  # in the order of the codecs
    assert len(found[0]) == 4


def test_the_error_is_by_the_distance_that_is_given(make_point: Make) -> None:
    [entries], _, _ = tabulated(make_point, FakeCodec(name="a", rates=rates(9)), distance=lambda y, exact: 0.25)
    assert [e.error for e in entries] == pytest.approx([0.25] * 9)


def test_one_rate_is_one_look(make_point: Make) -> None:
    [entries], _, _ = tabulated(make_point, FakeCodec(name="a", rates=rates(1)))
    assert [e.cost.payload_bytes for e in entries] == pytest.approx([100.0])


def test_each_rate_of_channel_symbols_is_looked_at(make_point: Make) -> None:
    """How many symbols there are is a number of its own, which no line through two looks gives."""
    codec = FakeCodec(name="a", rates=rates(5), boundary="channel_symbols")
    bench = FakeBench()
    [entries], _, _ = tabulated(make_point, codec, bench=bench)
    assert bench.looks == 5 * table.PROBE_INPUTS
    assert [e.cost.payload_bytes for e in entries] == pytest.approx([100.0 * 2**rate for rate in range(5)])


def test_a_rate_that_cannot_be_fitted_is_named_and_the_other_look_stands_for_all(make_point: Make) -> None:
    [entries], left_out, _ = tabulated(make_point, FakeCodec(name="a", rates=rates(9)), bench=FakeBench(unfit=[2]))
    assert left_out == {"a q2 after after t": "a cannot be fitted at 2"}
    assert [e.cost.payload_bytes for e in entries] == pytest.approx([6400.0] * 9)
    [entries], left_out, _ = tabulated(make_point, FakeCodec(name="a", rates=rates(9)), bench=FakeBench(unfit=[2, 6]))
    assert (entries, len(left_out)) == ([], 2)


def test_a_codec_that_refuses_the_tensor_has_no_entries(make_point: Make) -> None:
    [entries], left_out, _ = tabulated(make_point, FakeCodec(name="refusing", rates=rates(3)))
    assert (entries, left_out) == ([], {})


def test_a_codec_whose_seconds_nobody_measured_is_left_out_with_the_reason(make_point: Make) -> None:
    def price(candidate: Candidate, payload_bytes: float) -> Cost:
        if candidate.codec == "slow":
            raise ProfileError("nobody measured it")
        found: Cost = make_point().cost
        return found

    rows, left_out, _ = tabulated(
        make_point, FakeCodec(name="slow", rates=rates(2)), FakeCodec(name="b", rates=rates(2)), price=price
    )
    assert left_out == {"slow": "nobody measured it"}
    assert [len(row) for row in rows] == [0, 2]


def test_equal_reconstructions_run_the_tail_once(make_point: Make) -> None:
    bench = FakeBench()
    tabulated(make_point, FakeCodec(name="a", rates=rates(9)), FakeCodec(name="b", rates=rates(9)), bench=bench)
    assert bench.tails == table.PROBE_INPUTS + 2 * table.PROBE_INPUTS  # exact, then two rates; b's are the same


def entry(make_point: Make, name: str, *, payload: float, latency: float, error: float) -> Entry:
    point = make_point(cut=name, payload=payload, latency=latency)
    return Entry(candidate=point.candidate, cut=cut(name, 1), cost=point.cost, least_cost=point.cost, error=error)


def names(candidates: Sequence[Candidate]) -> list[str]:
    return [candidate.cut for candidate in candidates]


def test_the_search_starts_from_the_front_of_the_table_spread_over_payload(make_point: Make) -> None:
    front = [entry(make_point, f"{i}", payload=100 + i, latency=0.02 - 0.001 * i, error=0.01) for i in range(9)]
    worse = entry(make_point, "worse", payload=105, latency=0.0155, error=0.02)
    entries = [worse, *reversed(front)]
    assert names(starting_points(entries, deadline_s=None, count=99)) == [str(i) for i in range(9)]
    assert names(starting_points(entries, deadline_s=None, count=3)) == ["0", "4", "8"]
    assert names(starting_points(entries, deadline_s=None, count=0)) == []
    assert starting_points([], deadline_s=1.0, count=5) == []


def test_what_meets_the_deadline_comes_first(make_point: Make) -> None:
    front = [entry(make_point, f"{i}", payload=100 + i, latency=0.02 - 0.001 * i, error=0.01) for i in range(9)]
    assert names(starting_points(front, deadline_s=0.014, count=4)) == ["6", "7", "8", "0"]
    assert names(starting_points(front, deadline_s=0.014, count=2)) == ["6", "8"]
    assert names(starting_points(front, deadline_s=0.001, count=2)) == ["0", "8"]


def test_a_better_error_alone_is_on_the_front(make_point: Make) -> None:
    cheap = entry(make_point, "cheap", payload=1, latency=0.01, error=0.5)
    good = entry(make_point, "good", payload=2, latency=0.02, error=0.1)
    assert names(starting_points([cheap, good], deadline_s=None, count=9)) == ["cheap", "good"]
