"""Counts of published networks against the figures their papers print, and profiles against published latencies."""

from __future__ import annotations

import math

import msgspec
import pytest

from splitpoint.benchmarks import make_trace, networks, profiles
from splitpoint.profiles.library.catalog import list_profiles, load_link
from splitpoint.profiles.link.link import TraceLink
from splitpoint.profiles.machine.device import Device, Memory, predict_run_s

DEVICES = [shipped.profile for shipped in list_profiles() if isinstance(shipped.profile, Device)]
FITTED = [device for device in DEVICES if device.fitted_on and device.compute.kernels is None]


@pytest.mark.parametrize(
    ("net", "mmacs", "tolerance"),
    [
        ("mobilenet-v1-224", 569, 0.002),  # Howard et al. 2017, table 4
        ("mobilenet-v2-224", 300, 0.005),  # Sandler et al. 2018, table 4
        ("mobilenet-v2-1.4-224", 585, 0.006),
        ("resnet18-224", 1820, 0.005),  # Hailo model zoo, 3.64 G operations
        ("resnet50-224", 3860, 0.002),  # ncnn's Caffe form
        ("vgg16-224", 15470, 0.001),
        ("densenet121-224", 2845, 0.005),  # PaddleClas: 5.69 GFLOPs
        ("efficientnet-lite0-224", 407, 0.06),  # the README counts element-wise operators too
        ("efficientnet-lite4-300", 2640, 0.06),
        ("yolox-s-640", 13400, 0.01),  # Ge et al. 2021, table 3: 26.8 GFLOPs
        ("yolox-m-640", 36900, 0.01),  # 73.8
        ("yolox-l-640", 77800, 0.01),  # 155.6
        ("yolo11n-640", 3250, 0.05),  # 6.5 GFLOPs, element-wise operators included
        ("yolo11x-640", 97450, 0.05),  # 194.9
    ],
)
def test_counts_agree_with_the_papers(net: str, mmacs: float, tolerance: float) -> None:
    assert networks.macs(net) / 1e6 == pytest.approx(mmacs, rel=tolerance)


def test_parameters_agree_with_the_papers() -> None:
    def parameters(net: str) -> float:
        return sum(op.weight_bytes for op in networks.network(net)) / 4e6

    assert parameters("vgg16-224") == pytest.approx(138.3, rel=0.001)
    assert parameters("resnet50-224") == pytest.approx(25.5, rel=0.005)
    assert parameters("yolo11n-640") == pytest.approx(2.6, rel=0.01)


@pytest.mark.parametrize("device", FITTED, ids=lambda device: device.name)
def test_a_profile_predicts_the_points_it_was_fitted_on(device: Device) -> None:
    for point in device.fitted_on:
        predicted_s = predict_run_s(device, networks.network(point.net))
        assert abs(math.log(predicted_s / point.seconds)) < math.log(1.35), point.net


@pytest.mark.parametrize("device", FITTED, ids=lambda device: device.name)
def test_fitted_and_held_out_points_are_different_measurements(device: Device) -> None:
    fitted = {(point.net, point.seconds) for point in device.fitted_on}
    assert not fitted & {(point.net, point.seconds) for point in device.check_points}


def test_the_document_shows_what_the_profiles_predict() -> None:
    assert profiles.text() in profiles.DOCUMENT.read_text()


def test_the_cliff_is_what_makes_vgg16_slow_on_the_edge_tpu() -> None:
    coral = next(device for device in DEVICES if device.name == "coral-dev-board")
    whole = predict_run_s(coral, networks.network("vgg16-224"))
    flat = predict_run_s(msgspec.structs.replace(coral, memory=Memory()), networks.network("vgg16-224"))
    assert whole == pytest.approx(0.343, rel=0.15)
    assert whole > 8 * flat


def test_the_shipped_trace_is_the_generators() -> None:
    link = load_link("trace-walk")
    assert isinstance(link, TraceLink)
    assert [rate / 1e6 for rate in link.rates_bit_s] == pytest.approx(make_trace.rates_mbit_s())
