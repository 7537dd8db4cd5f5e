"""Predicted halves: shares of the profile, exact at the anchors, between them interpolated, whole at the ends."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

from splitpoint.planner.cost.anchors import Halves, choose_anchors, correct, predict_halves
from splitpoint.planner.cost.price import Party
from splitpoint.planner.cuts.enumeration import enumerate_cuts
from splitpoint.profiles.machine.device import Device
from splitpoint.profiles.network.graph import load_graph
from splitpoint.profiles.network.model import ModelGraph

SECONDS = (1.0, 2.0, 3.0, 4.0)  # of the four nodes


@pytest.fixture(scope="module")
def graph(nets: ModuleType) -> ModelGraph:
    text = '<ir_version: 8, opset_import: ["": 17]> g (float[1,4] x) => (float[1,4] y)'
    return load_graph(nets.from_text(text + " { a = Sigmoid(x)  b = Tanh(a)  c = Sin(b)  y = Cos(c) }"))


@pytest.fixture(scope="module")
def here(host: Device) -> Party:
    return Party(device=host, node_s=np.array(SECONDS), run_s=0.0, how="profiled", retest_error=0.0)


def test_shares_without_anchors(graph: ModelGraph, here: Party) -> None:
    halves = predict_halves(graph, here, enumerate_cuts(graph).cuts)
    assert [(half.head_s, half.tail_s) for half in halves] == [(0, 10), (1, 9), (3, 7), (6, 4)]


def test_anchors_are_met_and_interpolated_between(graph: ModelGraph, here: Party) -> None:
    cuts = enumerate_cuts(graph).cuts
    anchors = {
        3: Halves(head_s=7.2, tail_s=5.2),  # ratios 1.2 and 1.3
        1: Halves(head_s=1.5, tail_s=9.0),  # ratios 1.5 and 1.0
    }
    halves = correct(predict_halves(graph, here, cuts), anchors)
    assert (halves[3].head_s, halves[3].tail_s) == pytest.approx((7.2, 5.2))
    assert (halves[1].head_s, halves[1].tail_s) == pytest.approx((1.5, 9.0))
    # At 3 of 10 seconds, two fifths of the way from 1 to 6.
    assert halves[2].head_s == pytest.approx(3 * (1.5 + 0.4 * (1.2 - 1.5)))
    assert halves[2].tail_s == pytest.approx(7 * (1.0 + 0.4 * (1.3 - 1.0)))
    assert halves[0] == Halves(head_s=0.0, tail_s=10.0)


def test_anchors_at_the_ends_say_nothing(graph: ModelGraph, here: Party) -> None:
    cuts = enumerate_cuts(graph).cuts
    predicted = predict_halves(graph, here, cuts)
    assert correct(predicted, {0: Halves(head_s=0.5, tail_s=10.0)}) == predicted


def test_anchors_divide_the_time_evenly(graph: ModelGraph, here: Party) -> None:
    cuts = enumerate_cuts(graph).cuts
    assert [cut.tensors for cut in choose_anchors(here, cuts)] == [("b",), ("c",)]
    assert len(choose_anchors(here, cuts[:2])) == 1


def test_every_run_has_its_overhead(graph: ModelGraph, host: Device) -> None:
    slow = Party(device=host, node_s=np.array(SECONDS), run_s=0.5, how="profiled", retest_error=0.0)
    halves = predict_halves(graph, slow, enumerate_cuts(graph).cuts)
    assert [(half.head_s, half.tail_s) for half in halves] == [(0, 10.5), (1.5, 9.5), (3.5, 7.5), (6.5, 4.5)]
