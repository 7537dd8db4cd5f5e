"""The choice against enumeration, and its edges: ties, unknown figures, several limits at once."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitpoint.planner.search.decide import CONSTRAINTS, INFEASIBLE, UNKNOWN, decide, violations

Make = Callable[..., Any]
OBJECTIVES = ("latency", "payload", "drop")
steps = st.integers(1, 4)
grids = st.lists(st.tuples(steps, steps, steps), min_size=0, max_size=8)
limits = st.one_of(st.none(), steps)


@given(grids, limits, limits, limits)
def test_choice_near_misses_and_what_would_fit_by_enumeration(
    make_point: Make, make_needs: Make, grid: Any, bytes_k: int | None, ms: int | None, points_lost: int | None
) -> None:
    """Bytes in kB, seconds in ms and drop in points are small whole numbers, and so are their limits."""
    made = [
        make_point(cut=str(i), payload=1000 * a, latency=b / 1000, drop=c / 100) for i, (a, b, c) in enumerate(grid)
    ]
    needs = make_needs(
        payload=None if bytes_k is None else 1000 * bytes_k,
        latency=None if ms is None else ms / 1000,
        drop=None if points_lost is None else points_lost / 100,
    )

    def missed(row: tuple[int, int, int]) -> list[float]:
        return [
            max(0.0, (row[0] - bytes_k) / bytes_k) if bytes_k else 0.0,
            max(0.0, (row[1] - ms) / ms) if ms else 0.0,
            max(0.0, (row[2] - points_lost) / 100) if points_lost else 0.0,
        ]

    decision = decide(made, needs, OBJECTIVES)
    fits = [i for i, row in enumerate(grid) if not any(missed(row))]
    if fits:
        order = (1, 2, 0)  # latency, whatever the limits; ties go to quality and then to fewer bytes
        best = min(tuple(grid[i][k] for k in order) for i in fits)
        chosen = grid[int(decision.recommended.candidate.cut)]  # type: ignore[union-attr]  # something fits
        assert tuple(chosen[k] for k in order) == best
        assert (decision.nearest, decision.would_fit) == ((), ())
        return
    assert decision.recommended is None
    misses = [sum(missed(grid[int(point.candidate.cut)])) for point in decision.nearest]
    assert misses == pytest.approx(sorted(sum(missed(row)) for row in grid)[:3])
    alone = [
        [row[k] for row in grid if not any(miss for other, miss in enumerate(missed(row)) if other != k)]
        for k in range(3)
    ]
    expected = (
        [f"latency <= {min(alone[1], default=0)} ms"] * bool(ms and alone[1])
        + [f"drop <= {min(alone[2], default=0)} %"] * bool(points_lost and alone[2])
        + [f"payload <= {min(alone[0], default=0)} kB"] * bool(bytes_k and alone[0])
    )
    assert list(decision.would_fit) == expected


def test_every_limit_that_is_missed_is_named_in_the_order_of_the_list(make_point: Make, make_needs: Make) -> None:
    bad = make_point(
        payload=20,
        latency=0.2,
        drop=0.2,
        value=0.7,
        head_peak_bytes=20,
        head_file_bytes=20,
        compute_j=2.0,
        radio_j=0.0,
        idle_j=0.0,
        server_usd=2.0,
        link_usd=0.0,
    )
    needs = make_needs(
        latency=0.1,
        energy=1.0,
        cost=1.0,
        frame_rate=10.0,
        payload=10,
        device_memory=10,
        device={"device flash": 10},
        drop=0.1,
        quality=0.8,
    )
    found = violations(bad, needs)
    names = [bound.limit for bound in needs.bounds]
    assert len(names) == 9
    assert [v.name for v in found] == names
    assert set(names) <= set(CONSTRAINTS)
    assert [v.excess for v in found] == pytest.approx([1.0, 0.5, 0.1, 0.1, 1.0, 1.0, 1.0, 1.0, 1.0])


def test_what_never_arrives_still_misses_memory_payload_and_quality(make_point: Make, make_needs: Make) -> None:
    never = make_point(link_s=math.inf, infeasible="no", payload=20, head_peak_bytes=20, head_file_bytes=20, drop=0.5)
    needs = make_needs(payload=10, device_memory=10, device={"device flash": 10}, drop=0.1, latency=1.0)
    names = ["infeasible", "drop", "payload", "device memory", "device flash"]
    assert [v.name for v in violations(never, needs)] == names
    assert decide([never], make_needs(), OBJECTIVES).nearest == (never,)
    assert decide([never], make_needs(latency=1.0), OBJECTIVES).would_fit == ()


def test_a_limit_of_zero_is_a_limit(make_point: Make, make_needs: Make) -> None:
    zero = make_needs(payload=0, drop=0.0)
    assert violations(make_point(payload=0, drop=0.0), zero) == ()
    missed = violations(make_point(payload=1, drop=0.01), zero)
    assert [(v.name, v.excess) for v in missed] == [("drop", pytest.approx(0.01)), ("payload", INFEASIBLE)]
    tiny = violations(make_point(payload=0, compute_j=1e-7, radio_j=0.0, idle_j=0.0), make_needs(energy=0.0))
    assert [v.excess for v in tiny] == pytest.approx([100.0])  # relative to 1e-9 where the limit is zero


def test_unknown_energy_ranks_as_twice_its_limit(make_point: Make, make_needs: Make) -> None:
    def joules(cut: str, j: float | None) -> Any:
        return make_point(cut=cut, compute_j=j, radio_j=0.0, idle_j=0.0)

    points = [joules("2.5", 2.5), joules("unknown", None), joules("1.5", 1.5)]
    decision = decide(points, make_needs(energy=1.0), OBJECTIVES)
    assert [p.candidate.cut for p in decision.nearest] == ["1.5", "unknown", "2.5"]
    assert decision.would_fit == ("energy <= 1.5 J",)
    assert UNKNOWN == 1.0
    assert decide([joules("1", 1.0), points[1]], make_needs(energy=1.0), OBJECTIVES).recommended is not None
    # without a limit on it, what is not known is no reason to leave a point out
    assert decide([points[1]], make_needs(), OBJECTIVES).recommended is points[1]


def test_equal_near_misses_stand_as_they_came(make_point: Make, make_needs: Make) -> None:
    points = [make_point(cut=cut, latency=0.02) for cut in "dbca"]
    assert [p.candidate.cut for p in decide(points, make_needs(latency=0.01), OBJECTIVES).nearest] == ["d", "b", "c"]


def test_of_equal_points_the_first_is_kept(make_point: Make, make_needs: Make) -> None:
    first, second = make_point(cut="z"), make_point(cut="a")
    decision = decide([first, second], make_needs(latency=1.0), OBJECTIVES)
    assert (decision.front, decision.recommended) == ((first,), first)


def test_the_front_follows_the_objectives_that_are_asked_for(make_point: Make, make_needs: Make) -> None:
    lean = make_point(cut="lean", payload=2000, compute_j=1.0, radio_j=0.0, idle_j=0.0)
    small = make_point(cut="small", payload=1000, compute_j=2.0, radio_j=0.0, idle_j=0.0)
    assert decide([lean, small], make_needs(), OBJECTIVES).front == (small,)
    assert decide([lean, small], make_needs(), (*OBJECTIVES, "energy")).front == (small, lean)


@pytest.mark.parametrize("bound", [True, False])
def test_a_deadline_in_a_share_would_fit_at_that_share_s_latency(
    make_point: Make, make_needs: Make, bound: bool
) -> None:
    point = make_point(latency=0.010, link_s=0.010, deadline_link_s=0.040 if bound else None)
    fits = decide([point], make_needs(latency=0.005), OBJECTIVES).would_fit
    assert fits == ("latency <= 50 ms" if bound else "latency <= 20 ms",)
