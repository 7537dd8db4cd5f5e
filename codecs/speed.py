"""Seconds a symbol of every coder, and a pixel of every picture codec, measured on this machine.

Other work on the machine only ever slows a run, so the least of many runs is the figure. It is trusted when two batches
of runs agree on it; otherwise there are more batches, and the spread that remains is given with it.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from splitpoint.codecs.coders.context import ContextCode
from splitpoint.codecs.coders.huffman import Huffman
from splitpoint.codecs.coders.integers import Integers
from splitpoint.codecs.coders.packed import Packed
from splitpoint.codecs.coders.rans import Rans
from splitpoint.codecs.coders.raw import Raw
from splitpoint.codecs.contract.preset import CoderFit
from splitpoint.codecs.contract.protocol import Context, TensorSpec, fit_one
from splitpoint.codecs.learned.bottleneck_coder import SHIFT, BottleneckCode
from splitpoint.codecs.learned.switch_coder import SwitchCode
from splitpoint.codecs.pictures.picture import PICTURES, Picture
from splitpoint.codecs.pictures.tiles import Tiles
from splitpoint.codecs.registry import REGISTRY

__all__ = ["Speed", "measure_coders", "measure_pictures"]


def __dir__() -> list[str]:
    return __all__


SHAPE = (1, 64, 16, 16)  # symbols of one measurement: a tensor of the middle of a small network
PICTURE_SIDE = 224
PICTURE_RATE = 6  # index: about the quality that a network needs
BUDGET_S = 0.04  # seconds of a batch of runs
MOST_RUNS = 10  # of a batch
BATCHES, MOST_BATCHES = 2, 5
STEADY = 0.1  # relative difference of the two best batches, up to which they agree


class Speed(NamedTuple):
    """Seconds a symbol, and by how much the two best batches of the less steady direction differ."""

    encode_s: float
    decode_s: float
    spread: float


MEASURED: Mapping[str, CoderFit] = {
    "raw": Raw(),
    "zstd": Packed(),
    "huffman": Huffman(),
    "rans": Rans(),
    "context": ContextCode(),
    "integers": Integers(),
    "tile-png": Tiles(kind="png"),
    "tile-webp": Tiles(kind="webp"),
}


def measure_coders() -> dict[str, Speed]:
    """Seconds a symbol by coder name: the least of several runs on zero-centred 4-bit symbols."""
    generator = np.random.default_rng(0)
    spread = np.exp(generator.uniform(-1, 1, (1, SHAPE[1], 1, 1)))
    values = np.rint(generator.laplace(scale=spread, size=(4, *SHAPE[1:])))
    symbols = np.clip(values + 8, 0, 15).astype(np.uint8)
    spec = TensorSpec(name="symbols", shape=SHAPE, dtype="uint8", low=0, high=15, channel_axis=1)
    coders = {name: kind.fit((spec,), {"symbols": symbols}) for name, kind in MEASURED.items()}
    measured = [(coder, {"symbols": symbols[:1]}) for coder in coders.values()]
    rate = TensorSpec(name="rate", shape=(1,), dtype="int64", low=0, high=0, side=True)
    switch = SwitchCode(widths=(SHAPE[1],), rate=0).fit((spec, rate), {"symbols": symbols})
    measured.append((switch, {"symbols": symbols[:1], "rate": np.zeros(1, np.int64)}))
    signed = TensorSpec(name="symbols", shape=SHAPE, dtype="int16", low=-32767, high=32767, channel_axis=1)
    wide = {"symbols": values.astype(np.int16)}
    steps = np.full((1, SHAPE[1]), 1 << SHIFT, np.int32)
    bottleneck = BottleneckCode(multipliers=steps, offset=0, rate=0).fit((signed, rate), wide)
    measured.append((bottleneck, {"symbols": wide["symbols"][:1]}))
    # Coders that quantize themselves (trellis, lossy tiles) are fitted by their presets, at the middle rate.
    activations = values.astype(np.float32)
    for codec in REGISTRY.values():
        if codec.boundary == "float32" and codec.refuses(SHAPE, "float32") is None:
            coder = fit_one(codec, activations, len(codec.rates) // 2, Context()).coder
            measured.append((coder, {coder.specs[0].name: activations[:1].reshape(coder.specs[0].shape)}))
    seconds = {}
    for coder, tensors in measured:
        elements = sum(tensor.size for tensor in tensors.values())
        seconds[coder.name] = _speed(functools.partial(coder.encode, tensors), coder.decode, elements)
    return seconds


def measure_pictures() -> dict[str, Speed]:
    """Seconds a pixel of the full-size picture by codec name, without codecs that Pillow lacks."""
    picture = _picture()
    seconds = {}
    for name, codec in PICTURES.items():
        if codec.refuses() is not None:
            continue
        rate = min(PICTURE_RATE, len(codec.rates) - 1)
        decode = functools.partial(codec.decode, size=(PICTURE_SIDE, PICTURE_SIDE))
        seconds[name] = _speed(functools.partial(codec.encode, picture, rate), decode, PICTURE_SIDE**2)
    return seconds


def _speed(encode: Callable[[], bytes], decode: Callable[[bytes], object], elements: int) -> Speed:
    payload = encode()  # the first call may compile
    decode(payload)
    encode_s, encode_spread = _steady(lambda: _batch(encode))
    decode_s, decode_spread = _steady(lambda: _batch(lambda: decode(payload)))
    return Speed(encode_s / elements, decode_s / elements, max(encode_spread, decode_spread))


def _steady(batch: Callable[[], float]) -> tuple[float, float]:
    """The least seconds of batches of runs, and the relative difference of the two best batches."""
    seconds = sorted(batch() for _ in range(BATCHES))
    while seconds[1] - seconds[0] > STEADY * seconds[0] and len(seconds) < MOST_BATCHES:
        seconds = sorted([*seconds, batch()])
    return seconds[0], (seconds[1] - seconds[0]) / seconds[0]


def _batch(call: Callable[[], object]) -> float:
    """The least seconds of some runs."""
    least, spent, runs = float("inf"), 0.0, 0
    while runs < 3 or (spent < BUDGET_S and runs < MOST_RUNS):
        begin = time.perf_counter()
        call()
        taken = time.perf_counter() - begin
        least, spent, runs = min(least, taken), spent + taken, runs + 1
    return least


def _picture() -> Picture:
    """Seeded noise whose spectrum falls as 1/f, as photographs' do."""
    generator = np.random.default_rng(0)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(PICTURE_SIDE), np.fft.fftfreq(PICTURE_SIDE)))
    frequency[0, 0] = np.inf
    noise = generator.standard_normal((3, PICTURE_SIDE, PICTURE_SIDE))
    smooth = np.fft.ifft2(np.fft.fft2(noise) / frequency).real
    smooth = 128 + 48 * smooth / smooth.std()
    return np.asarray(np.clip(smooth.transpose(1, 2, 0), 0, 255), np.uint8)
