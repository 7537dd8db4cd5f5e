"""This machine as a device profile: effective rates by operator class, and seconds a symbol of every coder."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from splitpoint.codecs.speed import measure_coders, measure_pictures
from splitpoint.planner.cost.price import PREPROCESS
from splitpoint.profiles.machine.device import Coder, Compute, Device, Memory, Runtime, Serial
from splitpoint.profiles.machine.machine import Machine
from splitpoint.profiles.measurement.micro import micro_benchmarks
from splitpoint.profiles.measurement.serial_speed import zstd_bytes_s
from splitpoint.profiles.measurement.steady import repeat_rates, worst_spread
from splitpoint.profiles.network.inputs import InputSpec, preprocess

__all__ = ["measure_host"]


def __dir__() -> list[str]:
    return __all__


PICTURE_SIDE = 224
REPEATS = 9


def measure_host(
    machine: Machine,
    *,
    name: str = "host",
    description: str = "this machine, measured now",
    rates: Mapping[str, float] | None = None,
    memory: Memory | None = None,
) -> Device:
    """Measure in half a minute; `machine` says with which runtime, provider and threads.

    `rates` are those of one run of `micro_benchmarks` where the caller measures the others.
    """
    spread = None
    if rates is None:
        rates, spreads = repeat_rates(lambda: micro_benchmarks(threads=machine.threads))
        spread = worst_spread(spreads)
    coders = {
        coder: Coder(encode_s_per_symbol=speed.encode_s, decode_s_per_symbol=speed.decode_s, spread=speed.spread)
        for coder, speed in (*measure_coders().items(), *measure_pictures().items())
    }
    pixel_s = _preprocess_pixel_s()
    coders[PREPROCESS] = Coder(encode_s_per_symbol=pixel_s, decode_s_per_symbol=pixel_s)
    values: dict[str, Any] = {**rates}
    return Device(
        name=name,
        description=description,
        runtime=Runtime(name="onnxruntime", provider=machine.provider, threads=machine.threads, precision="fp32"),
        compute=Compute(**values),
        memory=memory or Memory(),
        serial=Serial(coders=coders, zstd_bytes_s=zstd_bytes_s()),
        fingerprint=machine.fingerprint,
        machine=machine,
        spread=spread,
    )


def _preprocess_pixel_s() -> float:
    """Seconds a pixel from the resized picture to the network's input."""
    spec = InputSpec(size=PICTURE_SIDE, mean=127.0, std=128.0)
    picture = np.random.default_rng(0).integers(0, 256, (PICTURE_SIDE, PICTURE_SIDE, 3), np.uint8)
    return _least(lambda: preprocess(picture, spec)) / PICTURE_SIDE**2


def _least(call: Callable[[], object]) -> float:
    call()
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return min(seconds)
