"""Seconds a symbol of every coder, and a pixel of every picture codec, measured on this machine."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np

from splitpoint.codecs.coders.context import ContextCode
from splitpoint.codecs.coders.huffman import Huffman
from splitpoint.codecs.coders.integers import Integers
from splitpoint.codecs.coders.packed import Packed
from splitpoint.codecs.coders.rans import Rans
from splitpoint.codecs.coders.raw import Raw
from splitpoint.codecs.contract.preset import CoderFit
from splitpoint.codecs.contract.protocol import Context, TensorSpec, fit_one
from splitpoint.codecs.pictures.picture import PICTURES, Picture
from splitpoint.codecs.pictures.tiles import Tiles
from splitpoint.codecs.registry import REGISTRY

__all__ = ["measure_coders", "measure_pictures"]


def __dir__() -> list[str]:
    return __all__


T = TypeVar("T")

SHAPE = (1, 64, 16, 16)  # symbols of one measurement: a tensor of the middle of a small network
PICTURE_SIDE = 224
PICTURE_RATE = 6  # index: about the quality that a network needs
BUDGET_S = 0.08  # seconds a direction
MOST_RUNS = 20

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


def measure_coders() -> dict[str, tuple[float, float]]:
    """(encode, decode) seconds a symbol by coder name: the least of several runs on zero-centred 4-bit symbols."""
    generator = np.random.default_rng(0)
    spread = np.exp(generator.uniform(-1, 1, (1, SHAPE[1], 1, 1)))
    values = np.rint(generator.laplace(scale=spread, size=(4, *SHAPE[1:])))
    symbols = np.clip(values + 8, 0, 15).astype(np.uint8)
    spec = TensorSpec(name="symbols", shape=SHAPE, dtype="uint8", low=0, high=15, channel_axis=1)
    coders = {name: kind.fit((spec,), {"symbols": symbols}) for name, kind in MEASURED.items()}
    measured = [(coder, {"symbols": symbols[:1]}) for coder in coders.values()]
    # Coders that quantize themselves (trellis, lossy tiles) are fitted by their presets, at the middle rate.
    activations = values.astype(np.float32)
    for codec in REGISTRY.values():
        if codec.boundary == "float32" and codec.refuses(SHAPE, "float32") is None:
            coder = fit_one(codec, activations, len(codec.rates) // 2, Context()).coder
            measured.append((coder, {coder.specs[0].name: activations[:1].reshape(coder.specs[0].shape)}))
    seconds = {}
    for coder, tensors in measured:
        payload, encode_s = _least(functools.partial(coder.encode, tensors))
        _, decode_s = _least(functools.partial(coder.decode, payload))
        elements = sum(tensor.size for tensor in tensors.values())
        seconds[coder.name] = encode_s / elements, decode_s / elements
    return seconds


def measure_pictures() -> dict[str, tuple[float, float]]:
    """(encode, decode) seconds a pixel of the full-size picture by codec name, without codecs that Pillow lacks."""
    picture = _picture()
    seconds = {}
    for name, codec in PICTURES.items():
        if codec.refuses() is not None:
            continue
        rate = min(PICTURE_RATE, len(codec.rates) - 1)
        data, encode_s = _least(functools.partial(codec.encode, picture, rate))
        _, decode_s = _least(functools.partial(codec.decode, data, (PICTURE_SIDE, PICTURE_SIDE)))
        seconds[name] = encode_s / PICTURE_SIDE**2, decode_s / PICTURE_SIDE**2
    return seconds


def _least(call: Callable[[], T]) -> tuple[T, float]:
    """The call's result and its least time, the first call (which may compile) not counted."""
    result = call()
    least, spent, runs = float("inf"), 0.0, 0
    while runs < 3 or (spent < BUDGET_S and runs < MOST_RUNS):
        begin = time.perf_counter()
        call()
        taken = time.perf_counter() - begin
        least, spent, runs = min(least, taken), spent + taken, runs + 1
    return result, least


def _picture() -> Picture:
    """Seeded noise whose spectrum falls as 1/f, as photographs' do."""
    generator = np.random.default_rng(0)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(PICTURE_SIDE), np.fft.fftfreq(PICTURE_SIDE)))
    frequency[0, 0] = np.inf
    noise = generator.standard_normal((3, PICTURE_SIDE, PICTURE_SIDE))
    smooth = np.fft.ifft2(np.fft.fft2(noise) / frequency).real
    smooth = 128 + 48 * smooth / smooth.std()
    return np.asarray(np.clip(smooth.transpose(1, 2, 0), 0, 255), np.uint8)
