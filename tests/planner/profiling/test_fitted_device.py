"""A device of a user's own latencies: the truth is found again, the errors are of networks that the fit did not see."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from splitpoint.planner.cost.anchored import NINETY
from splitpoint.planner.profiling.fitted_device import fit_device, interval_factor, leave_out
from splitpoint.planner.profiling.latency_table import KnownLatency
from splitpoint.planner.profiling.published import compute_of, features, fit_costs, load_prior
from splitpoint.profiles.library.catalog import load_device, load_server
from splitpoint.profiles.library.networks import backbone, published_networks
from splitpoint.profiles.machine.device import Device, Runtime, predict_run_s

RUNTIME = Runtime(name="onnxruntime", provider="CPU", threads=4, precision="fp32")
Run = Callable[..., tuple[int, str, str]]


def true_device(slower: float = 3.0) -> Device:
    """A board whose costs are those of a middling one, times `slower`."""
    compute = compute_of(np.array(load_prior("cpu").mean) + math.log(slower), "fp32")
    return msgspec.structs.replace(load_device("raspberry-pi-4"), runtime=RUNTIME, compute=compute)


def latencies_of(device: Device, names: list[str]) -> list[KnownLatency]:
    counted = published_networks()
    return [
        KnownLatency(
            network=name, backbone=backbone(name), seconds=predict_run_s(device, counted[name]), ops=counted[name]
        )
        for name in names
    ]


FEW = ["resnet18", "mobilenet_v2", "squeezenet", "vgg16"]


def test_a_board_is_found_again_from_four_networks() -> None:
    truth = true_device()
    device, left_out = fit_device(latencies_of(truth, FEW), name="m", description="", runtime=RUNTIME, unit="cpu")
    # The prior alone is off by 3; four networks leave some of its pull in what they do not have (channel shuffles).
    for name, ops in published_networks().items():
        assert predict_run_s(device, ops) == pytest.approx(predict_run_s(truth, ops), rel=0.25), name
    assert [one.network for one in left_out] == FEW
    assert device.prediction_error == pytest.approx(1.0, abs=0.25)
    assert not device.measured
    assert [(point.net, point.seconds) for point in device.fitted_on] == [
        (one.network, one.seconds) for one in left_out
    ]


def test_what_is_left_out_is_predicted_without_its_backbone() -> None:
    prior = load_prior("cpu")
    known = latencies_of(true_device(), [*FEW, "mobilenet", "mobilenet_ssd"])
    known[-1] = dataclasses.replace(known[-1], seconds=5 * known[-1].seconds)  # a hot run that no other fit may see
    rest = known[:-2]
    logs = fit_costs(np.stack([features(one.ops) for one in rest]), np.array([one.seconds for one in rest]), prior)
    for one, left_out in zip(known, leave_out(known, prior), strict=True):
        if one.backbone == "mobilenet":
            assert left_out.predicted_s == pytest.approx(float(features(one.ops) @ np.exp(logs)), rel=1e-6)
            assert left_out.log_error == pytest.approx(math.log(left_out.predicted_s / one.seconds))


def test_the_error_is_the_mean_factor_and_the_interval_grows_with_it() -> None:
    prior = load_prior("cpu")
    assert interval_factor([0.0] * 10, prior) < prior.interval_factor < interval_factor([0.5] * 3, prior)
    assert interval_factor([0.1] * 20, prior) < interval_factor([0.1] * 3, prior)
    known = latencies_of(true_device(), FEW)
    known[0] = dataclasses.replace(known[0], seconds=4 * known[0].seconds)
    device, left_out = fit_device(known, name="m", description="", runtime=RUNTIME, unit="cpu")
    errors = [abs(math.log(one.predicted_s / one.seconds)) for one in left_out]
    assert device.prediction_error == pytest.approx(math.exp(sum(errors) / 4), abs=0.006)
    assert device.interval_factor == pytest.approx(interval_factor(errors, prior), abs=0.006)


@pytest.mark.parametrize("given", [3, 10])
def test_few_networks_widen_the_interval_as_much_as_they_miss_by(given: int) -> None:
    prior = load_prior("cpu")
    own = math.log(prior.interval_factor) / NINETY  # errors as large as those of all devices
    stored = math.log(interval_factor([own] * given, prior)) / math.log(prior.interval_factor)
    assert stored == pytest.approx(math.sqrt(1 + 2 / given))


def table(folder: Path, seconds: dict[str, float]) -> Path:
    path = folder / "table.csv"
    path.write_text("network,s\n" + "".join(f"{name},{value!r}\n" for name, value in seconds.items()), encoding="utf-8")
    return path


def test_the_command_writes_a_device_that_a_plan_takes(home: Path, run: Run, tmp_path: Path) -> None:
    known = latencies_of(true_device(), FEW)
    path, out = table(tmp_path, {one.network: one.seconds for one in known}), tmp_path / "mine.yaml"
    fit = ("calibrate", "--from", path, "--out", out, "--threads", 4)
    code, said, _ = run(*fit)
    assert code == 0
    for name in FEW:
        assert name in said
    device = load_device(out)
    assert load_server(out) == device  # one file serves as both
    assert f"miss by x{device.prediction_error:.2f} on average" in " ".join(said.split())
    assert (device.name, device.runtime) == ("mine", RUNTIME)
    document = json.loads(run(*fit, "--json")[1])
    assert [row["network"] for row in document["left_out"]] == FEW
    assert (document["prediction_error"], document["interval_factor"]) == (
        device.prediction_error,
        device.interval_factor,
    )
    options = ("--profile", home / "fixed.yaml", "--evaluations", 1, "--out", tmp_path / "plan", "--json")
    code, said, err = run("plan", home / "labelled.yaml", "--device", out, *options)
    assert code in (0, 1), err
    assert json.loads(said)["kind"] == "plan"
    said = run("profiles", out)[1]
    assert "fitted_on resnet18" in said
    assert f"x{device.prediction_error:.2f} on average for networks that were left out" in " ".join(said.split())


def test_latencies_of_no_one_machine_are_not_to_be_used(run: Run, tmp_path: Path) -> None:
    path = table(tmp_path, {"resnet18": 1.0, "mobilenet_v2": 1e-4, "vgg16": 1e-3, "squeezenet": 3.0})
    code, said, _ = run("calibrate", "--from", path, "--out", tmp_path / "mine.yaml", "--threads", 1)
    assert code == 1
    assert "DO NOT USE THIS FILE" in said


def test_threads_are_asked_for_and_flags_of_a_table_need_one(run: Run, tmp_path: Path) -> None:
    out = ("calibrate", "--out", tmp_path / "mine.yaml")
    code, _, err = run(*out, "--from", tmp_path / "table.csv")
    assert (code, "Give --threads" in " ".join(err.split())) == (2, True)
    code, _, err = run(*out, "--precision", "int8")
    assert (code, "--from FILE.csv" in " ".join(err.split())) == (2, True)
    assert not (tmp_path / "mine.yaml").exists()
