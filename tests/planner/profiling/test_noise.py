"""What is said of a busy machine, and that a useless calibration does not end well."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from splitpoint.planner.profiling import calibration
from splitpoint.planner.profiling.noise import advise, describe_noise, largest_spread
from splitpoint.profiles.library.catalog import load_device
from splitpoint.profiles.machine.device import Coder, Device, Serial


def device(spread: float | None = None, **coders: float) -> Device:
    made = {
        name: Coder(encode_s_per_symbol=1e-9, decode_s_per_symbol=1e-9, spread=value) for name, value in coders.items()
    }
    return msgspec.structs.replace(
        load_device("raspberry-pi-4"), name="mine", spread=spread, serial=Serial(coders=made)
    )


@pytest.mark.parametrize(
    ("spread", "says"),
    [(0.0, None), (0.1, None), (0.11, "busy machine"), (0.3, "busy machine"), (0.57, "DO NOT USE THIS FILE")],
)
def test_what_to_do_with_a_spread(spread: float, says: str | None) -> None:
    text = advise(spread)
    assert text is None if says is None else text is not None and text.startswith(says)


def test_a_device_is_described_once_with_what_did_not_agree() -> None:
    assert describe_noise([load_device("raspberry-pi-4"), device(0.1, rans=0.1)]) == []
    assert describe_noise([device(0.2), device(0.2)]) == [
        "busy machine: mine: measurements of its operators differ by up to 20 %"
    ]
    assert describe_noise([device(0.2, a=0.5, b=0.2, c=0.11, d=0.3, e=0.05)]) == [
        "busy machine: mine: measurements of its operators and the coders a, b, c and 1 more differ by up to 50 %"
    ]
    assert largest_spread(device(None, a=0.4)) == 0.4


@pytest.mark.parametrize(("gap", "code"), [(0.05, 0), (0.2, 0), (0.57, 1)])
def test_calibrate_on_a_busy_machine(
    run: Callable[..., tuple[int, str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gap: float, code: int
) -> None:
    rates = {name: 1e-6 if name.endswith("overhead_s") else 1e9 for name in FIELDS}
    speeds = iter([1.0] + [1 - gap] * 9)

    def measured(**options: Any) -> dict[str, float]:
        speed = next(speeds)
        return {name: rate * (speed if name.endswith("macs_s") else 1) for name, rate in rates.items()}

    monkeypatch.setattr(calibration, "micro_benchmarks", measured)
    monkeypatch.setattr(calibration, "measure_host", lambda machine, rates, **options: host(machine, rates, options))
    monkeypatch.setattr(calibration, "cold_s", lambda **options: 0.01)
    done, out, _ = run("calibrate", "--out", tmp_path / "mine.yaml", "--threads", 1)
    assert done == code
    assert ("DO NOT USE THIS FILE" in out) == (code == 1)
    assert ("busy machine" in out) == (0.1 < gap < 0.3)
    assert load_device(tmp_path / "mine.yaml").spread == pytest.approx(gap)


FIELDS = (
    *("dense_macs_s", "pointwise_macs_s", "depthwise_macs_s", "matmul_macs_s"),
    *("bytes_s", "node_overhead_s", "run_overhead_s"),
)


def host(machine: Any, rates: dict[str, float], options: dict[str, Any]) -> Device:
    base = load_device("raspberry-pi-4")
    compute = msgspec.structs.replace(base.compute, **rates)
    return msgspec.structs.replace(base, name=options["name"], compute=compute, machine=machine)
