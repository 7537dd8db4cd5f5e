"""`splitpoint calibrate` with tiny budgets: it writes a device, needs the base install only, and a plan can use it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import splitpoint.codecs.speed
import splitpoint.profiles.measurement.micro
import splitpoint.profiles.measurement.serial_speed
from splitpoint.cli import main
from splitpoint.planner.profiling.calibration import Calibration
from splitpoint.planner.profiling.fitted_device import LeftOut
from splitpoint.profiles.library.catalog import load_device
from splitpoint.profiles.machine.device import serial_factor
from splitpoint.profiles.machine.machine import this_machine
from splitpoint.profiles.measurement.serial_speed import generated, zstd_bytes_s


def shorten(patch: pytest.MonkeyPatch) -> None:
    """Measure once or twice in place of a minute."""
    patch.setattr(splitpoint.profiles.measurement.micro, "BUDGET_S", 0.0)
    patch.setattr(splitpoint.profiles.measurement.micro, "LEAST_RUNS", 2)
    patch.setattr(splitpoint.profiles.measurement.serial_speed, "BUDGET_S", 0.0)
    patch.setattr(splitpoint.codecs.speed, "BUDGET_S", 0.0)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `shorten`, for one test."""
    shorten(monkeypatch)


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A calibrated device of this machine, with one thread."""
    out = tmp_path_factory.mktemp("calibrate") / "mine.yaml"
    with pytest.MonkeyPatch.context() as patch:
        shorten(patch)
        assert main(["calibrate", "--out", str(out), "--threads", "1", "--json"]) in (0, 1)  # 1: busy, and it says so
    return out


def test_a_calibrated_device_loads_by_path_and_holds_every_figure(mine: Path) -> None:
    device = load_device(mine)
    machine = this_machine(threads=1)
    assert device.name == "mine"
    assert device.fingerprint == machine.fingerprint
    assert device.machine == machine
    assert device.runtime.threads == 1
    assert all(getattr(device.compute, field) > 0 for field in device.compute.__struct_fields__ if "macs" in field)
    assert device.compute.bytes_s > 1e8
    assert {"rans", "huffman", "zstd", "raw", "png", "jpeg", "preprocess"} <= device.serial.coders.keys()
    assert device.memory.ram_bytes is None or device.memory.ram_bytes > 1e8
    assert device.serial.zstd_bytes_s is not None
    assert device.prediction_error is not None
    assert device.interval_factor is not None
    assert 1 <= device.prediction_error < device.interval_factor


def test_the_table_has_the_spread_of_two_runs(capsys: pytest.CaptureFixture[str], mine: Path) -> None:
    from splitpoint.planner.output.documents.calibrate import calibrate_document
    from splitpoint.planner.output.terminal.calibrate import calibrate_view
    from splitpoint.planner.output.terminal.console import consoles

    device = load_device(mine)
    spread = dict.fromkeys(device.compute.__struct_fields__, 0.25)
    probed = (LeftOut(network="attention", seconds=2e-3, predicted_s=3e-3),)
    document = calibrate_document(Calibration(device=device, spread=spread, cold_s=0.05, probed=probed), mine)
    assert document.warning is not None
    assert "measurements differ by up to" in document.warning
    consoles()[0].print(calibrate_view(document))
    out = capsys.readouterr().out
    assert "GMAC/s" in out
    assert "25 %" in out
    assert "attention" in out
    assert "x1.50" in out
    assert f"90 % of others are expected within x{device.interval_factor:.2f}" in " ".join(out.split())


def test_calibrate_needs_the_base_install_only() -> None:
    """Nothing of the extra `plan` is imported on the way to the measurements."""
    script = (
        "import sys\n"
        "for name in ('torch', 'optuna', 'fvcore', 'onnxscript', 'torch_pruning', 'matplotlib'):\n"
        "    sys.modules[name] = None\n"
        "import splitpoint.planner.profiling.calibration, splitpoint.planner.output.terminal.console\n"
        "import splitpoint.planner.setup.loading\n"
        "from splitpoint.cli import main\n"
        "sys.exit(main(['calibrate', '--help']))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_generated_bytes_are_as_compressible_as_the_published_ones() -> None:
    import zstandard

    data = generated()
    assert data == generated(len(data))
    assert len(data) / len(zstandard.compress(data, 1)) == pytest.approx(3.17, rel=0.03)  # facebook/zstd pull 2749


def test_serial_code_scales_by_zstd_where_both_sides_know_it(mine: Path) -> None:
    host, pi = load_device(mine), load_device("raspberry-pi-4")
    assert host.serial.zstd_bytes_s is not None
    assert serial_factor(pi, host) == pytest.approx(host.serial.zstd_bytes_s / 130e6)
    unknown = load_device("pixel-4")
    old = host.compute.pointwise_macs_s / (unknown.compute.pointwise_macs_s / unknown.runtime.threads)
    assert serial_factor(unknown, host) == pytest.approx(old)
    assert zstd_bytes_s() > 1e6


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """tests/small_plan.py's network and pictures, and its profile on this machine with one thread."""
    import importlib.util

    spec = importlib.util.spec_from_file_location("splitpoint_small_plan", Path(__file__).parents[2] / "small_plan.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    folder = tmp_path_factory.mktemp("photos")
    module.write_inputs(folder)
    assert main(["profile", str(folder / "model.onnx"), "--out", str(folder / "profile.yaml"), "--threads", "1"]) == 0
    return folder


def plan(capsys: pytest.CaptureFixture[str], photos: Path, out: Path, *flags: object) -> tuple[int, str, str]:
    capsys.readouterr()
    fixed = [photos / "model.onnx", "--data", photos / "photos", "--profile", photos / "profile.yaml", "--out", out]
    code = main(["plan", *map(str, (*fixed, "--evaluations", 3, "--max-drop", "50%", *flags))])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_a_plan_is_made_with_the_calibrated_device(
    capsys: pytest.CaptureFixture[str], photos: Path, mine: Path, tmp_path: Path
) -> None:
    code, out, err = plan(
        capsys, photos, tmp_path / "plan", "--threads", 1, "--device", mine, "--server", "cloud-8core", "--json",
        "--link", "rayleigh-10db", "--deadline", "2 s", "--deadline-share", "99%", "--min-frame-rate", "1 fps",
        "--server-load", "5/s",
    )  # fmt: skip
    assert code == 0, err
    answer = json.loads(out)
    assert "latency <= 2 s in 99 % of cases" in answer["need"]
    assert "frame rate >= 1/s" in answer["need"]
    for row in answer["front"]:
        if row["placement"] != "device":
            assert row["latency_parts_s"]["wait"] > 0
            assert row["latency_s"] < row["deadline_latency_s"] <= 2
        assert row["frame_rate"] >= 1
        assert row["latency_s"] == pytest.approx(sum(row["latency_parts_s"].values()))


@pytest.mark.parametrize("link", ["awgn-5db", "lorawan-eu433"])
def test_a_plan_is_made_over_any_link(
    capsys: pytest.CaptureFixture[str], photos: Path, tmp_path: Path, link: str
) -> None:
    code, out, err = plan(
        capsys, photos, tmp_path / "plan", "--threads", 1, "--device", "raspberry-pi-4", "--server", "cloud-8core",
        "--link", link, "--json",
    )  # fmt: skip
    assert code == 0, err
    answer = json.loads(out)
    assert link in answer["header"]
    assert answer["recommended"] is not None
    never = [row for row in answer["baselines"] if row["infeasible"] is not None]
    assert all(row["latency_s"] is None and "cannot be sent" in row["notes"][0] for row in never)
    assert bool(never) == (link == "lorawan-eu433")  # a PNG is over its 222 bytes
    assert all(row["latency_s"] is not None for row in answer["front"])


def test_other_threads_than_the_profile_was_measured_with_are_refused(
    capsys: pytest.CaptureFixture[str], photos: Path, mine: Path, tmp_path: Path
) -> None:
    code, _, err = plan(capsys, photos, tmp_path / "plan", "--threads", 2, "--device", mine)
    assert code == 3
    assert "the model profile does not hold here: it was measured with threads 1, not 2" in err
    assert "profile.yaml: $.machine" in err
    assert not (tmp_path / "plan").exists()


def test_energy_is_bound_where_all_figures_are_known(
    capsys: pytest.CaptureFixture[str], photos: Path, mine: Path, tmp_path: Path
) -> None:
    flags = ("--threads", 1, "--server", "cloud-8core", "--max-energy", "1 uJ", "--json")
    code, out, err = plan(capsys, photos, tmp_path / "plan", "--device", "raspberry-pi-4", "--link", "wifi-5", *flags)
    assert code == 1, err
    answer = json.loads(out)
    assert "energy <= 1 µJ" in answer["need"]
    assert any(text.startswith("energy <= ") for text in answer["would_fit"])
    assert all(row["energy_j"] > 1e-6 for row in answer["nearest"])
    code, _, err = plan(capsys, photos, tmp_path / "plan", "--device", mine, "--link", "wifi-5", *flags)
    assert code == 3
    assert "energy is not known: the device" in err
    assert "$.need.max_energy" in err


@pytest.mark.parametrize(
    "flags", [("--provider", "cpu"), ("--provider", "azure", "--cpu-fallback")], ids=["cpu", "helped"]
)
def test_a_calibration_names_its_provider(mine: Path, tmp_path: Path, quick: None, flags: tuple[str, ...]) -> None:
    out = tmp_path / "other.yaml"
    assert main(["calibrate", "--out", str(out), "--threads", "1", *flags, "--json"]) in (0, 1)
    device, plain = load_device(out), load_device(mine)
    assert device.machine is not None
    assert device.runtime.provider == device.machine.provider
    if flags[1] == "cpu":
        assert device.fingerprint == plain.fingerprint
    else:
        assert device.runtime.provider == "AzureExecutionProvider"
        assert "AzureExecutionProvider, the rest on the CPU" in device.description
        assert device.fingerprint != plain.fingerprint  # its seconds are not those of the CPU


def test_a_calibration_never_measures_the_cpu_in_place_of_a_provider(
    tmp_path: Path, quick: None, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "other.yaml"
    assert main(["calibrate", "--out", str(out), "--threads", "1", "--provider", "azure"]) == 3
    assert "the CPU is not allowed to take over" in capsys.readouterr().err
    assert not out.exists()
    assert main(["calibrate", "--out", str(out), "--cpu-fallback"]) == 2
    assert main(["calibrate", "--out", str(out), "--provider", "cpu", "--provider-option", "x"]) == 2
