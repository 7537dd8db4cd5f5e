"""A profile scaled by timings of the whole network: every operator alike, and the interval is that of the timings."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from splitpoint.planner.choice.errors import speed_errors
from splitpoint.planner.choice.intervals import latency_interval
from splitpoint.planner.cost.anchored import NINETY, ONE_TIMING, anchor_device, anchor_note
from splitpoint.planner.cost.price import Party
from splitpoint.profiles.library.catalog import load_device, load_server
from splitpoint.profiles.machine.device import Coder, Device, OpWork, Serial, predict_run_s, serial_s

Make = Callable[..., Any]
OPS = (
    OpWork(op_class="dense", macs=10**8, read_bytes=10**6, write_bytes=10**6, weight_bytes=10**7, kernel="winograd"),
    OpWork(op_class="depthwise", macs=10**7, read_bytes=10**6, write_bytes=10**6, weight_bytes=10**4),
    OpWork(op_class="other", macs=None, read_bytes=10**6, write_bytes=10**6, weight_bytes=0, kernel="moves"),
)


@pytest.mark.parametrize("name", ["rk3588-ncnn", "raspberry-pi-4", "coral-dev-board"])
def test_every_operator_takes_the_same_factor_longer(name: str) -> None:
    device = load_device(name)
    slower = anchor_device(device, 0.040, [0.060])
    for ops in (OPS, *([op] for op in OPS)):
        assert predict_run_s(slower, ops) == pytest.approx(1.5 * predict_run_s(device, ops))


def test_serial_code_keeps_its_speed(host: Device) -> None:
    device = load_device("rk3588-ncnn")
    coder = Coder(encode_s_per_symbol=1e-8, decode_s_per_symbol=1e-8)
    timed = msgspec.structs.replace(host, serial=Serial(coders={"rans": coder}))
    slower = anchor_device(device, 0.040, [0.060])
    seconds = [serial_s(each, timed, "rans", 1000, direction="encode") for each in (device, slower)]
    assert seconds[1] == pytest.approx(seconds[0])


def test_the_interval_is_that_of_the_timings() -> None:
    device = load_device("rk3588-ncnn")
    one, two, apart = (anchor_device(device, 0.04, times) for times in ([0.05], [0.05, 0.05], [0.04, 0.06]))
    assert one.interval_factor == pytest.approx(math.exp(NINETY * ONE_TIMING))
    assert two.interval_factor == pytest.approx(math.exp(NINETY * ONE_TIMING / math.sqrt(2)))
    # Of two logarithms that are d apart the deviation is d / sqrt(2), and that of their mean d / 2.
    assert apart.interval_factor == pytest.approx(math.exp(NINETY * math.log(1.5) / 2))
    assert predict_run_s(apart, OPS) / predict_run_s(device, OPS) == pytest.approx(math.sqrt(0.04 * 0.06) / 0.04)


def test_a_timing_narrows_the_interval_of_a_cut_which_keeps_its_own_error(make_point: Make, host: Device) -> None:
    device, server = load_device("rk3588-ncnn"), load_server("cloud-8core")

    def interval(edge: Device, head_s: float, tail_s: float) -> float:
        mine, other = (Party(device=each, node_s=[], run_s=0.0, how="modelled") for each in (edge, server))  # type: ignore[arg-type]  # no nodes
        errors = msgspec.structs.replace(speed_errors(mine, other, host), server=1.0)
        found = latency_interval(make_point(latency=head_s, tail_s=tail_s).cost, errors)
        assert found is not None
        return found.high_s / (head_s + tail_s)

    anchored = anchor_device(device, 0.040, [0.040, 0.040])
    assert interval(anchored, 0.04, 0.0) < 1.1 < 1.3 < interval(device, 0.04, 0.0)
    assert interval(anchored, 0.04, 1e-9) > 1.15  # how the network divides was not measured


def test_the_note_says_what_changed() -> None:
    device = load_device("rk3588-ncnn")
    text = anchor_note(device, anchor_device(device, 0.040, [0.050]), [0.050])
    assert text.startswith("rk3588-ncnn: its seconds are those of the profile times 1.25, ")
    assert "50 ms" in text
    assert "1.09x" in text
