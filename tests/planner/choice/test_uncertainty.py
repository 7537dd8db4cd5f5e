"""The uncertainty of a difference from its parts: what both points share cancels, what one has alone does not."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from splitpoint.planner.choice.errors import DIVISION_ERROR, STANDARD, SpeedErrors
from splitpoint.planner.choice.uncertainty import compare
from splitpoint.planner.limits.preferences import PREFERENCES
from splitpoint.planner.values.candidate import Evaluated
from splitpoint.planner.values.outcomes import InputOutcome, Outcomes

Make = Callable[..., Any]
NONE = SpeedErrors()


def latency(point: Evaluated) -> float:
    return point.cost.latency_s


def read(name: str) -> Callable[[Evaluated], float]:
    row = PREFERENCES[name].read
    assert row is not None
    return lambda point: row(point) or 0.0


def outcomes(
    sizes: Sequence[int], *, same: Sequence[bool] | None = None, groups: Sequence[str] | None = None, counts: int = 1
) -> Outcomes:
    rows = [
        InputOutcome(
            counts=(1.0 if same is None else float(same[i]),) * counts,
            unsplit_counts=(1.0,) * counts,
            margin_change=None,
            truth_margin=None,
            unsplit_truth_margin=None,
            divergence=None,
            relative_error=0.0,
            output_errors=(0.0,),
            group=str(i) if groups is None else groups[i],
        )
        for i in range(len(sizes))
    ]
    return Outcomes(subset="search", inputs=tuple(rows), payload_bytes=tuple(sizes))


def test_the_gain_is_the_difference_and_nothing_is_unsure_without_errors(make_point: Make) -> None:
    found = compare(make_point(latency=0.010), make_point(latency=0.030), latency, NONE)
    assert found.gain == pytest.approx(0.020)
    assert found.uncertainty == 0.0
    assert found.sure
    assert not compare(make_point(latency=0.010), make_point(latency=0.010), latency, NONE).sure


def test_an_error_of_the_device_is_common_and_only_the_difference_of_its_seconds_counts(make_point: Make) -> None:
    split = make_point(latency=0.036, prepare_s=0.002, link_s=0.050, tail_s=0.0)  # 38 ms on the device
    alone = make_point(placement="device", latency=0.147, prepare_s=0.002)  # 149 ms on the device
    slower = compare(split, make_point(latency=0.036, prepare_s=0.002, link_s=0.060), latency, SpeedErrors(device=2.0))
    assert slower.gain == pytest.approx(0.010)
    assert slower.uncertainty == 0.0  # as many device seconds in both
    found = compare(split, alone, latency, SpeedErrors(device=1.5))
    assert found.gain == pytest.approx(0.061)
    # The gain shrinks where the device is faster than its profile: by a third of the 111 ms that differ.
    assert found.uncertainty == pytest.approx(0.111 / 3)
    # Against sending the picture, which the device has next to nothing to do for, it is a slower device that costs.
    picture = make_point(placement="server", latency=0.0, encode_s=0.003, link_s=0.150)
    assert compare(split, picture, latency, SpeedErrors(device=1.5)).uncertainty == pytest.approx(0.035 / 2)


def test_an_error_of_the_server_and_of_the_coders_is_common_too(make_point: Make) -> None:
    one = make_point(latency=0.0, encode_s=0.004, tail_s=0.020, decode_s=0.001, placement="server")
    two = make_point(latency=0.0, encode_s=0.004, tail_s=0.020, decode_s=0.001, link_s=0.01, placement="server")
    everything = SpeedErrors(device=2.0, server=2.0, device_coder=2.0, server_coder=2.0)
    assert compare(one, two, latency, everything).uncertainty == 0.0
    other = make_point(latency=0.0, tail_s=0.010, placement="server", link_s=0.05)
    assert compare(one, other, latency, SpeedErrors(server=1.5)).uncertainty == pytest.approx(0.011 / 2)
    assert compare(one, other, latency, SpeedErrors(server_coder=1.5)).uncertainty == pytest.approx(0.001 / 2)
    assert compare(one, other, latency, SpeedErrors(device_coder=1.5)).uncertainty == pytest.approx(0.004 / 2)


def test_who_prepares_the_input_pays_for_the_error(make_point: Make) -> None:
    here = make_point(latency=0.0, prepare_s=0.010, link_s=0.0)
    there = make_point(latency=0.0, prepare_s=0.010, prepared_by="server", placement="server", link_s=0.1)
    assert compare(here, there, latency, SpeedErrors(device=2.0)).uncertainty == pytest.approx(0.010)
    assert compare(here, there, latency, SpeedErrors(server=2.0)).uncertainty == pytest.approx(0.005)


@pytest.mark.parametrize(
    ("how", "spread_s", "error_s"),
    [
        ("modelled", None, DIVISION_ERROR["modelled"] * 0.040),
        ("profiled", 0.123, DIVISION_ERROR["profiled"] * 0.040),
        ("measured", 0.002, STANDARD * 0.002),
        ("measured", None, 0.0),
    ],
)
def test_how_the_seconds_divide_is_an_error_of_each_split_alone(
    make_point: Make, how: str, spread_s: float | None, error_s: float
) -> None:
    split = make_point(latency=0.040, tail_s=1e-12, head_how=how, head_spread_s=spread_s, tail_how="measured")
    whole = make_point(placement="device", latency=0.100, head_how=how, head_spread_s=spread_s)
    assert compare(split, whole, latency, NONE).uncertainty == pytest.approx(error_s, abs=1e-11)
    assert compare(whole, split, latency, NONE).uncertainty == pytest.approx(error_s, abs=1e-11)
    assert compare(split, split, latency, NONE).uncertainty == pytest.approx(math.sqrt(2) * error_s, abs=1e-11)


def test_independent_errors_add_as_squares(make_point: Make) -> None:
    split = make_point(latency=0.040, tail_s=0.030, head_how="measured", head_spread_s=0.003 / STANDARD)
    split = make_point(
        latency=0.040,
        tail_s=0.030,
        head_how="measured",
        head_spread_s=0.003 / STANDARD,
        tail_how="measured",
        tail_spread_s=0.004 / STANDARD,
    )
    assert compare(split, make_point(), latency, NONE).uncertainty == pytest.approx(0.005)


def test_payloads_are_paired_by_input(make_point: Make) -> None:
    """1 kB takes 1 ms; the sizes vary by far more than they differ."""
    sizes = [1000, 5000, 9000, 3000]
    one = make_point(payload=4500.0, link_s=0.0045, air_s=0.0045, outcomes=outcomes(sizes))
    same = make_point(payload=5500.0, link_s=0.0055, air_s=0.0055, outcomes=outcomes([n + 1000 for n in sizes]))
    found = compare(one, same, latency, NONE)
    assert found.gain == pytest.approx(0.001)
    assert found.uncertainty == pytest.approx(0.0, abs=1e-12)
    # Differences of 0, 0, 2000, 2000 bytes: deviation 1154.7, over the root of 4 inputs.
    other = make_point(payload=5500.0, link_s=0.0055, air_s=0.0055, outcomes=outcomes([1000, 5000, 11_000, 5000]))
    assert compare(one, other, latency, NONE).uncertainty == pytest.approx(577.35e-6, rel=1e-4)
    assert compare(one, other, read("payload"), NONE).uncertainty == pytest.approx(577.35, rel=1e-4)
    # Two scenes of two inputs are two observations, not four.
    sent = [outcomes(sizes, groups="aabb"), outcomes([1000, 5000, 11_000, 5000], groups="aabb")]
    grouped, larger = make_point(payload=4500.0, outcomes=sent[0]), make_point(payload=5500.0, outcomes=sent[1])
    assert compare(grouped, larger, read("payload"), NONE).uncertainty == pytest.approx(816.5, rel=1e-4)


def test_quality_is_paired_by_input(make_point: Make) -> None:
    right = [True] * 99 + [False]
    worse = [True] * 97 + [False] * 3
    one = make_point(metric="agreement", drop=0.01, outcomes=outcomes([10] * 100, same=right))
    two = make_point(metric="agreement", drop=0.03, outcomes=outcomes([10] * 100, same=worse))
    found = compare(one, two, read("quality"), NONE)
    assert found.gain == pytest.approx(0.02)
    assert found.uncertainty == pytest.approx(math.sqrt(0.02 * 0.98 / 99), rel=1e-6)  # two inputs that differ
    assert compare(one, one, read("quality"), NONE).uncertainty == 0.0
    assert compare(one, two, latency, NONE).uncertainty == 0.0


def test_a_metric_of_several_counts_takes_its_intervals(make_point: Make) -> None:
    """F1 is no mean over inputs: the half-widths of both intervals add as squares."""
    rows = outcomes([10] * 4, counts=3)
    one = make_point(metric="f1", low=0.9 - 0.0294, high=0.9 + 0.0294, drop=0.1, outcomes=rows)
    two = make_point(metric="f1", low=0.8 - 0.0392, high=0.8 + 0.0392, drop=0.2, outcomes=rows)
    assert compare(one, two, read("quality"), NONE).uncertainty == pytest.approx(0.025)  # 0.015 and 0.020


def test_what_was_read_back_without_outcomes_has_no_spread(make_point: Make) -> None:
    one = make_point(payload=100.0, outcomes=outcomes([50, 150]))
    assert compare(one, make_point(payload=900.0), read("payload"), NONE).uncertainty == 0.0


def test_energy_follows_the_seconds_of_the_device(make_point: Make) -> None:
    """3 W more when computing and 2 W all the time: 50 ms of 100 ms are on the device."""
    split = make_point(latency=0.050, link_s=0.050, compute_j=0.15, radio_j=0.0, idle_j=0.20)
    alone = make_point(placement="device", latency=0.100, compute_j=0.30, radio_j=0.0, idle_j=0.20)
    found = compare(split, alone, read("energy"), SpeedErrors(device=2.0))
    assert found.gain == pytest.approx(0.15)
    # At half the seconds the device alone takes 0.25 J and the split 0.075 + 0.15 J.
    assert found.gain - found.uncertainty == pytest.approx(0.25 - 0.225)


def test_money_follows_the_seconds_of_the_server(make_point: Make) -> None:
    split = make_point(latency=0.0, tail_s=0.010, server_usd=1e-6, link_usd=0.0, placement="server")
    whole = make_point(latency=0.0, tail_s=0.030, server_usd=3e-6, link_usd=0.0, placement="server")
    found = compare(split, whole, read("cost"), SpeedErrors(server=2.0))
    assert found.gain == pytest.approx(2e-6)
    assert found.uncertainty == pytest.approx(1e-6)
