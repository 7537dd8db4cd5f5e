"""What flags say: ranges and lists of quantities, and the configuration that they amount to."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest

from splitpoint.planner.setup.asked import asked_config, asked_needs, check_preference
from splitpoint.planner.setup.flags import FlagError, parse_quantities, parse_range
from splitpoint.profiles.units import BitRate, Decibel


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.05..100Mbit/s", (5e4, 1e8)),
        ("0.05 .. 100 Mbit/s", (5e4, 1e8)),
        ("50kbit/s..100Mbit/s", (5e4, 1e8)),
        ("1e-1..1e2 Mbit/s", (1e5, 1e8)),
        ("2 Mbit/s", (2e6, 2e6)),
    ],
)
def test_a_range_of_rates(text: str, expected: tuple[float, float]) -> None:
    assert parse_range(text, BitRate, "--link-rate") == pytest.approx(expected)


def test_a_range_of_snrs_may_begin_below_zero() -> None:
    assert parse_range("-5..20dB", Decibel, "--snr") == (-5.0, 20.0)
    assert parse_range("-5dB..-1dB", Decibel, "--snr") == (-5.0, -1.0)
    assert parse_range(None, Decibel, "--snr") is None


@pytest.mark.parametrize(
    "text", ["", "fast", "1..2", "5..1Mbit/s", "1..1Mbit/s", "1Mbit/s..", "..1Mbit/s", "1...2Mbit/s", "-1..2Mbit/s"]
)
def test_what_is_no_range_is_refused_with_its_flag(text: str) -> None:
    with pytest.raises(FlagError) as caught:
        parse_range(text, BitRate, "--link-rate")
    assert caught.value.flag == "--link-rate"


def test_a_list_and_a_range_in_equal_ratios() -> None:
    assert parse_quantities("1Mbit/s,5 Mbit/s", BitRate, "--link-rates", steps=3) == (1e6, 5e6)
    assert parse_quantities("0.1..10Mbit/s", BitRate, "--link-rates", steps=3) == pytest.approx((1e5, 1e6, 1e7))
    assert parse_quantities(None, BitRate, "--link-rates", steps=3) is None


def test_flags_change_a_configuration_and_leave_the_rest() -> None:
    config = asked_config("net.onnx", data="pictures", device="raspberry-pi-4", needs={"deadline": 0.1}, seed=3)
    assert (config.model, config.data.source, config.device, config.server) == (
        "net.onnx",
        "pictures",
        "raspberry-pi-4",
        "host",
    )
    assert (config.need.deadline, config.search.seed, config.search.evaluations) == (0.1, 3, 120)
    with pytest.raises(FlagError, match="needs sample inputs"):
        asked_config("net.onnx")


def test_needs_are_by_field_and_none_where_no_flag_was_given() -> None:
    needs = asked_needs({"deadline": "60 ms", "max_payload": None}, confident=False, deadline_share="99%")
    assert needs == {"deadline": 0.06, "max_payload": None, "confident": None, "deadline_share": 0.99}


def test_a_preference_that_there_is_not() -> None:
    with pytest.raises(FlagError, match="expected one of latency, payload"):
        check_preference("speed")


def test_the_load_of_a_shared_server_by_flags_and_by_the_file(tmp_path: Path) -> None:
    ask = functools.partial(asked_config, "net.onnx", data="pictures")
    assert ask().requests_s == 0
    assert ask(server_load="50/s").requests_s == 50
    assert ask(server_devices=20, device_rate="30/min").requests_s == 10
    path = tmp_path / "plan.yaml"
    path.write_text("model: n.onnx\ndata: {source: d}\nshared_by: {devices: 4, frame_rate: 5/s}\n", encoding="utf-8")
    assert asked_config(str(path)).requests_s == 20
    assert asked_config(str(path), server_devices=8).requests_s == 40
    assert asked_config(str(path), device_rate="1/s").requests_s == 4
    assert asked_config(str(path), server_load="3/s").requests_s == 3  # a flag replaces what the file says
    path.write_text("model: n.onnx\ndata: {source: d}\nserver_load: 7/s\n", encoding="utf-8")
    assert asked_config(str(path), server_devices=2, device_rate="3/s").requests_s == 6


@pytest.mark.parametrize(
    ("flags", "flag"),
    [
        ({"server_devices": 4}, "--device-rate"),
        ({"device_rate": "5/s"}, "--server-devices"),
        ({"server_devices": 4, "device_rate": "0/s"}, "--device-rate"),
        ({"server_devices": 4, "device_rate": "5/s", "server_load": "5/s"}, "--server-load"),
    ],
)
def test_half_a_load_or_two_are_refused(flags: dict[str, Any], flag: str) -> None:
    with pytest.raises(FlagError) as caught:
        asked_config("net.onnx", data="pictures", **flags)
    assert caught.value.flag == flag
