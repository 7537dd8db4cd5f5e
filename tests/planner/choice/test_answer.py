"""The answer in words: why, what the others would cost, and who is the runner-up of a kind."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from splitpoint.planner.choice.answer import RunnerUp, find_runner_ups, point_text, price_text, reason_text
from splitpoint.planner.choice.choose import quantity
from splitpoint.planner.choice.errors import SpeedErrors

Make = Callable[..., Any]
LATENCY = quantity("latency", [], [])


def alone(make_point: Make, **figures: Any) -> Any:
    return make_point(**{"placement": "device", "cut": "", "codec": "-", "label": "-", "payload": 0.0, **figures})


def jpeg(make_point: Make, **figures: Any) -> Any:
    return make_point(**{"placement": "server", "cut": "", "codec": "jpeg", "label": "q92", **figures})


@pytest.mark.parametrize(
    ("here", "there", "text"),
    [
        ({"latency": 0.048, "payload": 18_000.0}, {"latency": 0.020, "payload": 24_000.0}, "2.4x faster, 6 kB more"),
        ({"latency": 0.010}, {"latency": 0.030, "payload": 0.0}, "3x slower, nothing sent"),
        ({"latency": 0.001}, {"latency": 0.3872}, "387x slower"),
        ({"latency": 0.010}, {"latency": 0.01004}, "about as fast"),
        ({"latency": 0.010}, {"latency": 0.0101, "payload": 400.0}, "about as fast, 600 B less"),
        ({"value": 0.9}, {"value": 0.95}, "about as fast, top1 0.05 higher"),
        ({"value": 0.9}, {"value": 0.896}, "about as fast"),
        ({"value": 0.9}, {"value": 0.8, "metric": "agreement"}, "about as fast, agreement 0.10 lower"),
        ({}, {"latency": math.inf, "infeasible": "too long"}, ""),
    ],
)
def test_the_price_of_another_point(make_point: Make, here: Any, there: Any, text: str) -> None:
    assert price_text(make_point(**here), make_point(**there), "latency") == text


def test_the_price_names_what_is_preferred_and_what_is_missed(make_point: Make) -> None:
    figures = {"radio_j": 0.0, "idle_j": 0.0}
    one, two = make_point(compute_j=1.0, **figures), make_point(compute_j=2.5, **figures)
    assert price_text(one, two, "energy") == "about as fast, 2.5x the energy"
    assert price_text(one, two, "latency", ("latency by 4 ms", "drop by 2.0 points")) == (
        "about as fast, misses latency by 4 ms, misses drop by 2.0 points"
    )
    assert price_text(one, make_point(compute_j=None), "energy") == "about as fast"


def runner_up(point: Any, kind: Any, gain: float | None, uncertainty: float | None, *misses: str) -> RunnerUp:
    return RunnerUp(kind=kind, point=point, gain=gain, uncertainty=uncertainty, misses=misses)


def test_a_split_says_what_it_beats(make_point: Make) -> None:
    others = [
        runner_up(alone(make_point), "device", 0.057, 0.043),
        runner_up(jpeg(make_point), "input", None, None, "latency by 24 ms"),
    ]
    assert reason_text(make_point(), others, "latency") == (
        "it is the fastest; all on device is 57 ms slower (± 43 ms); send picture, jpeg q92 misses latency by 24 ms"
    )
    assert reason_text(make_point(), [], "payload") == "it is the one that sends the fewest bytes"


@pytest.mark.parametrize(
    ("gain", "uncertainty", "text"),
    [
        (0.020, 0.004, "the best split (after c, k q1) is 20 ms slower (± 4 ms)"),
        (
            -0.003,
            0.009,
            "the best split (after c, k q1) is 3 ms faster, within the ± 9 ms to which the difference is known",
        ),
        (0.0, 0.0, "the best split (after c, k q1) is as good in latency"),
        (None, None, "the latency of the best split (after c, k q1) is not known"),
    ],
)
def test_a_simple_answer_says_why_not_to_split(
    make_point: Make, gain: float | None, uncertainty: float | None, text: str
) -> None:
    others = [runner_up(make_point(), "split", gain, uncertainty)]
    assert reason_text(alone(make_point), others, "latency") == f"do not split: {text}"


def test_a_simple_answer_without_a_split_that_fits_says_so(make_point: Make) -> None:
    near = runner_up(make_point(), "split", None, None, "latency by 4 ms", "drop by 1.0 points")
    assert reason_text(jpeg(make_point), [near], "latency") == (
        "do not split: the nearest split (after c, k q1) misses latency by 4 ms and drop by 1.0 points"
    )
    assert reason_text(alone(make_point), [], "latency") == "do not split: no split was measured"
    never = "infeasible: a message of 999 B is over the 222 B that lora carries"
    far = runner_up(make_point(), "split", None, None, never, "drop by 1.0 points")
    assert reason_text(alone(make_point), [far], "latency") == (
        f"do not split: the nearest split (after c, k q1) is {never} and misses drop by 1.0 points"
    )


def test_a_point_by_its_words(make_point: Make) -> None:
    assert point_text(make_point(layer="blocks.1", variant="int8")) == "int8: after blocks.1, k q1"
    assert point_text(alone(make_point)) == "all on device"


def test_runner_ups_are_the_best_feasible_of_each_other_kind_or_the_first_of_the_rest(make_point: Make) -> None:
    answer = jpeg(make_point, latency=0.010)
    slow, fast = make_point(cut="slow", latency=0.030), make_point(cut="fast", latency=0.020)
    near, far = alone(make_point, latency=0.050), alone(make_point, latency=0.060)
    ranked = [(near, ("latency by 5 ms",)), (far, ("latency by 15 ms",)), (make_point(cut="late"), ("payload by 1 B",))]
    device, split = find_runner_ups(answer, [answer, slow, fast], ranked, LATENCY, SpeedErrors())
    assert (device.kind, device.point, device.gain, device.misses) == ("device", near, None, ("latency by 5 ms",))
    assert (split.kind, split.point, split.misses) == ("split", fast, ())
    assert split.gain == pytest.approx(0.010)
    assert find_runner_ups(answer, [answer], [], LATENCY, SpeedErrors()) == ()
    unknown = quantity("energy", [], [])
    (other,) = find_runner_ups(answer, [answer, fast], [], unknown, SpeedErrors())
    assert (other.gain, other.uncertainty) == (0.0, 0.0)
