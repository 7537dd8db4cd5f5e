"""Operators that no network of a fit has: by hand, and left out of the fits of shipped devices."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np
import pytest

from splitpoint.planner.choice.errors import SpeedErrors
from splitpoint.planner.choice.intervals import chance_faster, latency_interval
from splitpoint.planner.cost.anchored import NINETY, anchor_device
from splitpoint.planner.cost.coverage import Coverage
from splitpoint.planner.deploy.cost import Cost
from splitpoint.planner.profiling.coverage import cover
from splitpoint.planner.profiling.published import compute_of, costs_of, features, fit_costs, load_prior
from splitpoint.profiles.library.catalog import list_profiles, load_device
from splitpoint.profiles.library.networks import published_networks
from splitpoint.profiles.machine.device import Device, OpWork
from splitpoint.profiles.measurement.probes import PROBES
from splitpoint.profiles.network.graph import load_graph
from splitpoint.profiles.network.model import ModelGraph


def graph(name: str) -> ModelGraph:
    return load_graph(PROBES[name](), name=name, source=name)


def test_the_extra_error_is_the_variance_beyond_that_of_usual_networks() -> None:
    coverage = Coverage(
        node_s=np.array([[3.0, 0.0], [0.0, 1.0]]),
        covariance=np.array([[0.01, 0.0], [0.0, 0.36]]),
        usual_variance=0.01,
        largest_share=np.array([1.0, 0.1]),
    )
    assert coverage.extra_error([0]) == 0.0
    assert coverage.extra_error([1]) == pytest.approx(math.sqrt(0.35))
    both = 0.75**2 * 0.01 + 0.25**2 * 0.36
    assert coverage.extra_error([0, 1]) == pytest.approx(math.sqrt(both - 0.01))
    assert coverage.extra_error([]) == 0.0
    assert coverage.unlike_share([0, 1]) == pytest.approx(0.25 - 0.1)


def test_the_costs_of_a_profile_are_those_that_made_it() -> None:
    prior = load_prior("cpu")
    for precision in ("fp32", "fp16"):
        logs = np.array(prior.mean)
        assert costs_of(compute_of(logs, precision), precision) == pytest.approx(logs, abs=0.02)  # four digits are kept


def test_attention_is_unlike_the_networks_of_ncnn_and_residual_blocks_are_not() -> None:
    device = load_device("rk3588-ncnn")
    usual, unlike = graph("residual blocks"), graph("attention")
    for network, wider in ((usual, False), (unlike, True)):
        coverage = cover(device, network)
        assert coverage is not None
        assert (coverage.extra_error(range(len(network.nodes))) > 0.2) == wider
        note = coverage.note(range(len(network.nodes)), device)
        assert (note is not None) == wider
    assert note is not None
    assert note.startswith("rk3588-ncnn: ")
    assert note.endswith(f"in 90 % of cases, those of other networks within {device.interval_factor:.2f}x")
    assert cover(load_device("raspberry-pi-4"), unlike) is None  # not of ncnn's tables: nothing is known of its fit
    assert cover(anchor_device(device, 1.0, [1.1]), unlike) is None  # timed: it has other errors


def cost(extra: float) -> Cost:
    return Cost(
        prepare_s=0.0,
        head_s=1.0,
        encode_s=0.0,
        link_s=0.0,
        decode_s=0.0,
        tail_s=0.0,
        how="modelled",
        payload_bytes=0.0,
        side_bytes=0,
        head_bytes=0,
        head_peak_bytes=0,
        head_extra_error=extra,
    )


def test_an_interval_has_both_errors_and_common_ones_cancel() -> None:
    errors = SpeedErrors(device=math.exp(0.2))
    interval = latency_interval(cost(0.3), errors)
    assert interval is not None
    assert math.log(interval.high_s / interval.low_s) == pytest.approx(2 * NINETY * math.hypot(0.2, 0.3), rel=0.03)
    slower = msgspec.structs.replace(cost(0.3), head_s=1.1)
    assert chance_faster(cost(0.3), slower, errors) == 1.0  # the same operators, and a little more


def left_out(device: Device, names: Sequence[str]) -> list[tuple[bool, bool]]:
    """Of each network of `names`: whether its seconds are in the interval without and with the extra error."""
    networks = published_networks()
    kept = [point for point in device.fitted_on if point.net.removeprefix("ncnn-") not in names]
    out = [point for point in device.fitted_on if point.net.removeprefix("ncnn-") in names]
    unit = "gpu" if device.runtime.provider == "Vulkan" else "cpu"
    amounts = np.stack([features(networks[point.net.removeprefix("ncnn-")]) for point in kept])
    logs = fit_costs(amounts, np.array([point.seconds for point in kept]), load_prior(unit))
    fitted = msgspec.structs.replace(device, fitted_on=tuple(kept), compute=compute_of(logs, device.runtime.precision))
    assert device.interval_factor is not None
    known, found = math.log(device.interval_factor) / NINETY, []
    for point in out:
        ops: Sequence[OpWork] = networks[point.net.removeprefix("ncnn-")]
        coverage = cover(fitted, ops)
        assert coverage is not None
        error = abs(math.log(float(features(ops) @ np.exp(logs)) / point.seconds))
        wide = math.hypot(known, coverage.extra_error(range(len(ops))))
        found.append((error <= NINETY * known, error <= NINETY * wide))
    return found


DEPTHWISE = (
    *("mobilenet", "mobilenet_v2", "mobilenet_v3", "efficientnet_b0", "efficientnetv2_b0", "blazeface"),
    *("mobilenet_ssd", "mobilenet_yolo", "mobilenetv2_yolov3", "shufflenet", "shufflenet_v2", "nanodet_m"),
    *("yolo-fastest-1.1", "yolo-fastestv2", "FastestDet"),
)


@pytest.mark.parametrize(("names", "before"), [(("alexnet", "vgg16"), 0.87), (DEPTHWISE, 0.87)])
def test_intervals_contain_networks_whose_operators_no_fitted_network_has(names: Sequence[str], before: float) -> None:
    """Fully connected layers, and depthwise convolutions, of every shipped device, left out of its fit."""
    found = [
        pair
        for shipped in list_profiles()
        if isinstance(shipped.profile, Device) and shipped.profile.compute.kernels is not None
        for pair in left_out(shipped.profile, names)
    ]
    narrow, wide = np.mean(np.array(found), axis=0)
    assert len(found) > 150
    assert narrow < before
    assert 0.88 <= wide <= 0.95
