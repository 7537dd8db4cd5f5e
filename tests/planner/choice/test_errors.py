"""How far the seconds of a side may be off: from its profile, or what its profile states."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest

from splitpoint.benchmarks.fit_profiles import errors
from splitpoint.planner.choice.errors import STANDARD, UNSTATED, speed_errors
from splitpoint.planner.cost.anchored import NINETY
from splitpoint.planner.cost.price import Party
from splitpoint.profiles.library.catalog import list_profiles, load_device, load_server
from splitpoint.profiles.machine.device import THREAD_ERROR, ZSTD_ERROR, Coder, Device, Serial, serial_error

PI, CLOUD = load_device("raspberry-pi-4"), load_server("cloud-8core")


def party(device: Device, *, retest: float | None = None) -> Party:
    how = "modelled" if retest is None else "profiled"
    return Party(device=device, node_s=np.zeros(1), run_s=0.0, how=how, retest_error=retest)  # type: ignore[arg-type]  # a literal


def test_a_modelled_side_is_off_by_what_its_profile_states(host: Device) -> None:
    found = speed_errors(party(PI), party(CLOUD), host)
    assert PI.prediction_error is not None
    assert found.device == pytest.approx(PI.prediction_error**STANDARD)
    assert found.server == pytest.approx((CLOUD.prediction_error or 0) ** STANDARD)
    unstated = msgspec.structs.replace(PI, prediction_error=None)
    assert speed_errors(party(unstated), party(CLOUD), host).device == pytest.approx(UNSTATED**STANDARD)


def test_a_profiled_side_is_off_by_the_retest_error(host: Device) -> None:
    found = speed_errors(party(PI, retest=0.02), party(CLOUD, retest=0.0), host)
    assert found.device == pytest.approx(math.exp(0.02))
    assert found.server == 1.0


def test_coders_that_were_timed_on_the_device_have_no_error_of_scaling(host: Device) -> None:
    own = msgspec.structs.replace(
        PI, serial=Serial(coders={"rans": Coder(encode_s_per_symbol=1e-9, decode_s_per_symbol=1e-9)})
    )
    by_zstd = msgspec.structs.replace(host, serial=Serial(zstd_bytes_s=1e8))
    assert (serial_error(own, host), serial_error(PI, by_zstd), serial_error(PI, host)) == (
        1.0,
        ZSTD_ERROR,
        THREAD_ERROR,
    )
    assert speed_errors(party(own), party(PI), host).device_coder == 1.0
    assert speed_errors(party(own), party(PI), host).server_coder == THREAD_ERROR


# Those that benchmarks/fit_profiles.py makes state the error of left-out networks: tests/benchmarks/test_library.py.
ROOFLINES = [s for s in list_profiles() if isinstance(s.profile, Device) and s.profile.compute.kernels is None]


@pytest.mark.parametrize("shipped", ROOFLINES, ids=lambda s: s.name)
def test_the_stated_error_is_that_of_the_held_out_points(shipped: object) -> None:
    device = getattr(shipped, "profile", None)
    assert isinstance(device, Device)
    logs = [abs(math.log(1 + error)) for _, error in errors(device, device.check_points)]
    if not logs:
        assert device.prediction_error is None
        return
    assert device.prediction_error == pytest.approx(math.exp(sum(logs) / len(logs)), abs=0.006)  # two decimals


def test_the_interval_of_a_profile_is_that_of_its_error(host: Device) -> None:
    """Its factor contains 90 % of other networks: a whole network on that device gets it back as its interval."""
    board = load_device("rk3588-ncnn")
    assert board.interval_factor is not None
    assert speed_errors(party(board), party(CLOUD), host).device ** NINETY == pytest.approx(board.interval_factor)
