"""Operators without a count: their measured share, a bound on slower devices, and the refusal."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np
import pytest

from splitpoint.planner.cost.price import op_work, party
from splitpoint.planner.cost.uncounted import (
    UNCOUNTED_SHARE,
    bound_uncounted,
    refuse_uncounted,
    uncounted_seconds,
    uncounted_share,
)
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.library.catalog import load_device
from splitpoint.profiles.machine.device import Device, OpWork, predict_s
from splitpoint.profiles.measurement.model_profile import ModelProfile
from splitpoint.profiles.network.graph import load_graph
from splitpoint.profiles.network.model import ModelGraph

Make = Callable[[ModelGraph], ModelProfile]
TEXT = """<ir_version: 8, opset_import: ["": 17]> g (float[1,2,2] x) => (float[1] y) {{
  a = Sigmoid(x)  b = Tanh(a)  c = Det(b)  y = {last}(c) }}"""


@pytest.fixture(scope="module")
def graph(nets: object) -> ModelGraph:
    return load_graph(nets.from_text(TEXT.format(last="Relu")), name="net")  # type: ignore[attr-defined]  # a module


def profile_of(make_profile: Make, graph: ModelGraph, seconds: list[float]) -> ModelProfile:
    made = make_profile(graph)
    nodes = [msgspec.structs.replace(node, seconds=s) for node, s in zip(made.nodes, seconds, strict=True)]
    return msgspec.structs.replace(made, nodes=tuple(nodes))


def slower(device: Device, **factors: float) -> Device:
    """`device` with its rates divided by the factors, and no overhead of a node."""
    rates = {name: getattr(device.compute, name) / factor for name, factor in factors.items()}
    return msgspec.structs.replace(
        device,
        name="slow",
        fingerprint=None,
        machine=None,
        compute=msgspec.structs.replace(device.compute, node_overhead_s=0.0, **rates),
    )


def test_the_share_is_that_of_the_measured_seconds(graph: ModelGraph, make_profile: Make) -> None:
    profile = profile_of(make_profile, graph, [0.4, 0.3, 0.1, 0.2])
    assert graph.uncounted == {"Det": 1}
    assert uncounted_share(graph, profile) == pytest.approx(0.1)
    assert uncounted_seconds(graph, profile) == {2: 0.1}


def test_another_networks_profile_knows_nodes_by_name_and_new_ones_as_the_slowest(
    nets: object, graph: ModelGraph, make_profile: Make
) -> None:
    profile = profile_of(make_profile, graph, [0.4, 0.3, 0.1, 0.2])
    text = TEXT.format(last="Relu").replace("y = Relu(c)", "d = Det(a)  y = Add(c, d)")
    other = load_graph(nets.from_text(text))  # type: ignore[attr-defined]  # a module
    new = msgspec.structs.replace(profile, nodes=profile.nodes[:3])
    assert other.uncounted == {"Det": 2}
    assert uncounted_seconds(other, new) == {2: 0.1, 3: 0.1}
    nothing = msgspec.structs.replace(profile, nodes=profile.nodes[:1])
    assert uncounted_seconds(graph, nothing) == {2: profile.whole.min_s}  # at most the whole


def test_a_modelled_device_takes_the_measured_seconds_times_its_worst_ratio(
    graph: ModelGraph, make_profile: Make
) -> None:
    profile = profile_of(make_profile, graph, [0.4, 0.3, 0.1, 0.2])
    device = slower(profile.host, matmul_macs_s=3.0, bytes_s=5.0, dense_macs_s=0.5)
    found = party(device, graph, profile)
    predicted = predict_s(device, [op_work(graph, node) for node in graph.nodes])
    assert found.how == "modelled"
    assert found.node_s[2] == pytest.approx(5.0 * 0.1)
    assert predicted[2] < 0.1
    assert found.node_s[[0, 1, 3]] == pytest.approx(predicted[[0, 1, 3]])


def test_a_bound_is_never_below_the_prediction_by_bytes() -> None:
    device = load_device("raspberry-pi-4")
    predicted = np.array([1.0, 2.0])
    assert bound_uncounted(predicted, device, device, {1: 0.5}).tolist() == [1.0, 2.0]
    bounded = bound_uncounted(predicted, device, device, {1: 3.0})
    assert bounded.tolist() == [1.0, 3.0 + device.compute.node_overhead_s]
    assert predicted.tolist() == [1.0, 2.0]


@pytest.mark.parametrize(("share", "refused"), [(UNCOUNTED_SHARE, False), (UNCOUNTED_SHARE + 0.01, True)])
def test_above_a_tenth_of_the_measured_time_a_model_is_refused(
    graph: ModelGraph, make_profile: Make, share: float, refused: bool
) -> None:
    profile = profile_of(make_profile, graph, [1 - share, 0.0, share, 0.0])
    if not refused:
        refuse_uncounted(graph, profile, device="camera")
        return
    with pytest.raises(ProfileError, match=r"11 % of the network's time .* \(Det\).* camera") as raised:
        refuse_uncounted(graph, profile, device="camera")
    assert "--device host --server host" in (raised.value.fix or "")


def test_every_operator_of_a_body_has_its_overhead() -> None:
    device = load_device("raspberry-pi-4")
    one = OpWork(op_class="other", macs=0, read_bytes=0, write_bytes=0, weight_bytes=0)
    ten = OpWork(op_class="other", macs=0, read_bytes=0, write_bytes=0, weight_bytes=0, operators=10)
    assert predict_s(device, [ten]) == pytest.approx(10 * predict_s(device, [one]))


def test_a_loop_is_priced_by_what_its_trips_move(nets: object) -> None:
    text = """<ir_version: 9, opset_import: ["": 17]> g (float[2,4] x) => (float[2,4] y)
      <float[4,4] w, int64 trips = {5}> {
      y = Loop (trips, , x) <body = b (int64 i, bool go, float[2,4] s) => (bool on, float[2,4] t)
        { on = Identity(go)  t = MatMul(s, w) }> }"""
    graph = load_graph(nets.with_weights(text))  # type: ignore[attr-defined]  # a module
    (loop,) = graph.nodes
    work = op_work(graph, loop)
    assert (work.macs, work.operators, work.weight_bytes) == (5 * 32, 1 + 5 * 2, 0)
    assert work.read_bytes == 5 * (2 + 32 + 64 + 32)  # flags, state, weights, state: at every trip
    assert loop.weight_bytes >= 64
