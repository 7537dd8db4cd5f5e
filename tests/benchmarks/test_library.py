"""The fitted files of the library: what they carry makes them again, and what is learned helps with few points."""

from __future__ import annotations

import json
import math
from pathlib import Path

import msgspec
import pytest

from splitpoint.benchmarks import networks
from splitpoint.benchmarks.library_files import compute_from_points, kind_of, read_entries
from splitpoint.benchmarks.stored import RESULTS
from splitpoint.planner.profiling.published import features, load_prior
from splitpoint.profiles.library import catalog
from splitpoint.profiles.library.networks import published_networks
from splitpoint.profiles.machine.device import Device, predict_run_s

SHIPPED = [(one.kind, one.profile) for one in catalog.list_profiles() if isinstance(one.profile, Device)]
MADE = [device for _, device in SHIPPED if device.compute.kernels is not None]
RESULT = json.loads((RESULTS / "device-latency.json").read_text())


@pytest.mark.parametrize("device", MADE, ids=lambda device: device.name)
def test_a_file_is_what_its_own_points_make(device: Device) -> None:
    made = compute_from_points(device.fitted_on, device.runtime.precision, load_prior(kind_of(device)))
    flat = [msgspec.to_builtins(compute) for compute in (made, device.compute)]
    again, kept = ({**{k: v for k, v in one.items() if k != "kernels"}, **one["kernels"]} for one in flat)
    assert again == pytest.approx(kept, rel=2e-3)


@pytest.mark.parametrize("device", MADE, ids=lambda device: device.name)
def test_a_file_says_what_its_left_out_networks_missed_by(device: Device) -> None:
    scores = RESULT["profiles"][device.name]
    assert device.prediction_error == pytest.approx(scores["mean_factor"], abs=0.006)
    assert device.prediction_error is not None
    assert device.prediction_error <= 2
    assert device.interval_factor is not None
    assert device.interval_factor > device.prediction_error
    assert len(device.fitted_on) == scores["points"] >= 15


def test_every_entry_ships_or_is_refused_and_nothing_else_does() -> None:
    names = {entry.name for entry in read_entries()}
    assert {device.name for device in MADE} == names - set(RESULT["refused"])
    assert sum(kind == "device" for kind, _ in SHIPPED) >= 45
    assert sum(kind == "server" for kind, _ in SHIPPED) >= 10


def test_the_law_of_the_fit_is_the_law_of_a_plan() -> None:
    device = catalog.load_device("raspberry-pi-4-ncnn")
    logs = [
        abs(math.log(predict_run_s(device, networks.network(point.net)) / point.seconds)) for point in device.fitted_on
    ]
    assert math.exp(sum(logs) / len(logs)) < 1.15  # of points that it was fitted to


def test_counts_are_ncnns() -> None:
    assert networks.macs("ncnn-resnet18") == pytest.approx(1826.9e6, rel=1e-4)
    assert networks.macs("ncnn-vgg16") == pytest.approx(15470e6, rel=1e-4)
    assert networks.macs("ncnn-mobilenet_v2") == pytest.approx(313.6e6, rel=1e-3)
    vgg = features(published_networks()["vgg16"])
    assert vgg[1] > 100 * vgg[0] > 0  # all its convolutions but the first are for Winograd


def test_a_plan_reads_only_the_files_that_it_names(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    plain = Path.read_text

    def noted(path: Path, *args: str, **kwargs: str) -> str:
        read.append(path.name)
        return plain(path, *args, **kwargs)

    monkeypatch.setattr(Path, "read_text", noted)
    catalog.load_device("raspberry-pi-5-ncnn")
    catalog.load_server("c5-4xlarge-ncnn")
    catalog.sources("device", "raspberry-pi-5-ncnn")
    assert read == ["raspberry-pi-5-ncnn.yaml", "c5-4xlarge-ncnn.yaml", "raspberry-pi-5-ncnn.yaml"]
