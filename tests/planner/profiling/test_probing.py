"""The error that a calibration states of itself: networks it was not fitted to, and an interval that keeps its word."""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec
import numpy as np
import pytest

from splitpoint.planner.choice.errors import STANDARD, UNSTATED
from splitpoint.planner.profiling.fitted_device import LeftOut
from splitpoint.planner.profiling.probing import time_probes, with_errors
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.library.catalog import load_device
from splitpoint.profiles.measurement.probes import PROBES
from splitpoint.profiles.network.graph import load_graph
from splitpoint.profiles.network.runtime import Provider

DEVICE = msgspec.structs.replace(load_device("raspberry-pi-4"), prediction_error=None, interval_factor=None)
OTHER = Provider(name="OtherExecutionProvider", options=(), cpu_fallback=False)


@pytest.fixture
def timing(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[str, int], float]], list[str]]:
    """Put a function of a network's name and the pass in the place of its seconds; gives the names in order timed."""
    names = {build(): name for name, build in PROBES.items()}

    def put(seconds: Callable[[str, int], float]) -> list[str]:
        order: list[str] = []

        def least_s(model: bytes, *, threads: int, provider: Provider) -> float:
            order.append(names[model])
            return seconds(names[model], order.count(names[model]))

        monkeypatch.setattr("splitpoint.planner.profiling.probing.least_s", least_s)
        return order

    return put


def test_the_probes_are_networks_of_their_families() -> None:
    graphs = {name: load_graph(build(), name=name, source=name) for name, build in PROBES.items()}
    classes = {name: {node.op_class for node in graph.nodes if node.macs} for name, graph in graphs.items()}
    assert classes["3x3 convolutions"] == {"dense", "matmul"}
    assert {"depthwise", "pointwise"} <= classes["inverted residuals"]
    assert classes["attention"] == {"matmul"}
    assert {"dense", "pointwise"} <= classes["squeeze and expand"] & classes["residual blocks"]
    assert all(graph.uncounted == {} for graph in graphs.values())
    assert all(1e8 < graph.macs < 1e9 for graph in graphs.values())


def test_seconds_are_the_best_of_passes_that_agree(timing: Callable[[Callable[[str, int], float]], list[str]]) -> None:
    order = timing(lambda name, done: 1.0 if done == 1 else 1.05)
    assert {one.seconds for one in time_probes(DEVICE, threads=1)} == {1.0}
    assert order == [*PROBES, *PROBES]  # two passes, each over all: other work does not hit one network alone
    order = timing(lambda name, done: 1.0 / done if name == "attention" else 1.0)
    found = {one.network: one.seconds for one in time_probes(DEVICE, threads=1)}
    assert found == {name: 0.2 if name == "attention" else 1.0 for name in PROBES}
    assert len(order) == 5 * len(PROBES)


def test_networks_that_a_provider_cannot_run_are_left_out(
    timing: Callable[[Callable[[str, int], float]], list[str]],
) -> None:
    def seconds(name: str, done: int) -> float:
        if name in refused:
            raise ProfileError("no such operator")
        return 1.0

    refused = {"attention"}
    timing(seconds)
    assert [one.network for one in time_probes(DEVICE, threads=1, provider=OTHER)] == [*PROBES][:-1]
    with pytest.raises(ProfileError, match="no such operator"):
        time_probes(DEVICE, threads=1)
    refused = {*[*PROBES][:3]}
    few = time_probes(DEVICE, threads=1, provider=OTHER)
    assert with_errors(DEVICE, few) == DEVICE  # two networks tell no error


def test_the_stated_errors_are_those_by_hand() -> None:
    factors = (1.1, 1 / 1.2, 1.3, 1.0, 1.05)
    probed = [LeftOut(network=str(f), seconds=1.0, predicted_s=f) for f in factors]
    found = with_errors(DEVICE, probed)
    logs = np.log(factors)
    assert found.prediction_error == pytest.approx(math.exp(np.abs(logs).mean()), abs=0.005)
    assert found.interval_factor == pytest.approx(math.exp(2.015 * math.sqrt((logs**2).mean())), abs=0.005)
    # Narrower than what is assumed of a profile that states nothing.
    assert found.interval_factor is not None
    assert math.log(found.interval_factor) < 1.6449 * STANDARD * math.log(UNSTATED)


@pytest.mark.parametrize("count", [3, 5])
@pytest.mark.parametrize("sigma", [0.1, 0.4])
def test_ninety_percent_of_other_networks_are_within(count: int, sigma: float) -> None:
    random, draws = np.random.default_rng(count), 4000
    within = 0
    for logs in random.normal(0.0, sigma, (draws, count + 1)):
        probed = [LeftOut(network="n", seconds=1.0, predicted_s=math.exp(log)) for log in logs[1:]]
        factor = with_errors(DEVICE, probed).interval_factor
        assert factor is not None
        within += abs(logs[0]) <= math.log(factor)
    assert within / draws == pytest.approx(0.9, abs=0.02)  # four standard errors
