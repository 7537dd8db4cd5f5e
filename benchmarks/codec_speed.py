"""Each coder against the entropy of its symbols, and its time against a numpy copy of the same fp32 tensor.

The last rows are preset `fast` against the head that it stands behind: EfficientNet-Lite0 up to block 10, one thread.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from splitpoint.benchmarks.codec_networks import efficientnet_lite0
from splitpoint.codecs.coders.context import ContextCode
from splitpoint.codecs.coders.huffman import Huffman
from splitpoint.codecs.coders.packed import Packed
from splitpoint.codecs.coders.rans import Rans
from splitpoint.codecs.coders.raw import Raw
from splitpoint.codecs.container import pack
from splitpoint.codecs.contract.preset import CoderFit, Layout
from splitpoint.codecs.contract.protocol import Coder, Context, Rate, TensorSpec, fit_one
from splitpoint.codecs.lossy.trellis import Trellis
from splitpoint.codecs.pictures.tiles import Tiles
from splitpoint.codecs.registry import CODEC_IDS, REGISTRY
from splitpoint.profiles.network.runtime import Session, open_session
from splitpoint.profiles.network.torch_model import export_module

__all__ = ["AIMS", "HEAD_SHARE", "head_rows", "table"]

Array = NDArray[Any]
SHAPES = ((1, 112, 14, 14), (1, 64, 56, 56))
BITS = 4
ROUNDS = 30
AIMS = {"huffman": 20, "rans": 80, "context": 1200, "trellis": 500}  # times a copy, each way
HEAD_SHARE = 0.1  # of the head's time that preset `fast` may take to encode
HEAD_STAGES = 12  # stem and blocks 0..10
INPUT = (1, 3, 224, 224)
FAST_BITS = (4, 8)
CODERS: dict[str, CoderFit] = {
    "raw": Raw(),
    "zstd -3": Packed(),
    "zstd -1": Packed(level=1),
    "huffman": Huffman(),
    "huffman, one table": Huffman(per_channel=False),
    "rans": Rans(),
    "rans, one table": Rans(per_channel=False),
    "context": ContextCode(),
    "tile-png": Tiles(kind="png"),
    "tile-webp": Tiles(kind="webp"),
}


def table(say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Rows by coder and shape; all timed round-robin with the copy, the least of all rounds."""
    rows: list[dict[str, Any]] = []
    for shape in SHAPES:
        symbols, activations = _symbols(shape)
        spec = TensorSpec(name="symbols", shape=shape, dtype="uint8", low=0, high=(1 << BITS) - 1, channel_axis=1)
        tensor = activations[:1].copy()
        calls: dict[str, Callable[[], Any]] = {"copy": tensor.copy}
        lengths: dict[str, int] = {}
        for name, kind in CODERS.items():
            coder = kind.fit((spec,), {"symbols": symbols[1:]})
            one = {"symbols": symbols[:1]}
            payload = coder.encode(one)
            lengths[name] = len(payload)
            calls[name + " encode"] = functools.partial(coder.encode, one)
            calls[name + " decode"] = functools.partial(coder.decode, payload)
        for bits in (1, 2, 4):
            name = f"trellis, {bits} bit"
            float_spec = TensorSpec(name="x", shape=shape, dtype="float32", channel_axis=1)
            rate = Rate(label="", value=bits)
            lossy = Trellis(coder=Huffman(per_channel=False)).fit(
                float_spec, activations[1:], Layout(axis=1), rate, Context()
            )
            payload = lossy.encode({"x": tensor})
            lengths[name] = len(payload)
            calls[name + " encode"] = functools.partial(lossy.encode, {"x": tensor})
            calls[name + " decode"] = functools.partial(lossy.decode, payload)
        least = _least(calls)
        counts = np.bincount(symbols[0].ravel())
        p = counts[counts > 0] / counts.sum()
        entropy = float(-(p * np.log2(p)).sum())
        copy_us = 1e6 * least["copy"]
        say(
            f"{shape}: {tensor.size} symbols of {BITS} bit, zero-order entropy {entropy:.3f} bit, copy {copy_us:.1f} us"
        )
        say(f"  {'coder':20} {'bit/symbol':>10} {'encode':>9} {'decode':>9} (times a copy) {'MB/s of fp32':>14}   aim")
        for name, length in lengths.items():
            encode_s, decode_s = least[name + " encode"], least[name + " decode"]
            aim = next((value for key, value in AIMS.items() if name.startswith(key)), None)
            row = {
                "shape": shape,
                "coder": name,
                "entropy_bits": round(entropy, 4),
                "bits": round(8 * length / tensor.size, 4),
                "copy_s": least["copy"],
                "encode_s": encode_s,
                "decode_s": decode_s,
                "encode_copies": round(encode_s / least["copy"], 1),
                "decode_copies": round(decode_s / least["copy"], 1),
                "aim_copies": aim,
            }
            rows.append(row)
            speed = f"{tensor.nbytes / encode_s / 1e6:,.0f} / {tensor.nbytes / decode_s / 1e6:,.0f}"
            say(
                f"  {name:20} {row['bits']:10.3f} {row['encode_copies']:9,.1f} {row['decode_copies']:9,.1f} "
                f"{'':14} {speed:>15}   {aim or '-'}"
            )
    return rows


def head_rows(say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Preset `fast`, from tensor to container, against the head that makes the tensor; one row a number of bits."""
    head = open_session(
        export_module(torch.nn.Sequential(*efficientnet_lite0().stages[:HEAD_STAGES]), INPUT), threads=1
    )
    [entry], [output] = head.inputs, head.outputs
    pictures = np.random.default_rng(0).normal(size=(16, *INPUT)).astype(np.float32)
    activations = np.concatenate([head.run({entry.name: x})[output.name] for x in pictures])
    codec = REGISTRY["fast"]
    calls: dict[str, Callable[[], Any]] = {"head": lambda: head.run({entry.name: pictures[0]})}
    for bits in FAST_BITS:
        rate = next(i for i, one in enumerate(codec.rates) if one.value == bits)
        fitted = fit_one(codec, activations, rate, Context())
        assert fitted.encoder is not None
        calls[str(bits)] = functools.partial(
            _send, open_session(fitted.encoder, threads=1), fitted.coder, rate, activations[:1]
        )
    least = _least(calls)
    say(f"head of EfficientNet-Lite0 up to block 10: {1e3 * least['head']:.2f} ms, one thread")
    rows = []
    for bits in FAST_BITS:
        share = least[str(bits)] / least["head"]
        verdict = f"{100 * share:.1f} % of the head, aim {100 * HEAD_SHARE:.0f} %"
        say(f"  fast, {bits} bit: {1e3 * least[str(bits)]:.2f} ms to encode, {verdict}")
        rows.append(
            {
                "coder": f"preset fast, {bits} bit",
                "shape": activations[:1].shape,
                "head_s": least["head"],
                "encode_s": least[str(bits)],
                "head_share": round(share, 4),
                "aim_head_share": HEAD_SHARE,
            }
        )
    return rows


def _send(encoder: Session, coder: Coder, rate: int, x: Array) -> bytes:
    return pack([coder.encode(encoder.run({"x": x}))], codec_id=CODEC_IDS["fast"], rate=rate, plan_hash=bytes(8))


def _symbols(shape: tuple[int, ...]) -> tuple[Array, Array]:
    """Laplacian maps with a spread a channel, smooth in space: (16, ...) symbols and the values behind them."""
    generator = np.random.default_rng(0)
    spread = np.exp(generator.uniform(-1.2, 1.2, (1, shape[1], 1, 1)))
    values = generator.laplace(scale=1, size=(16, *shape[1:]))
    smooth = (values + np.roll(values, 1, 2) + np.roll(values, 1, 3)) * spread
    return np.clip(np.rint(smooth) + 8, 0, 15).astype(np.uint8), smooth.astype(np.float32)


def _least(calls: dict[str, Callable[[], Any]]) -> dict[str, float]:
    for call in calls.values():
        call()
    least = dict.fromkeys(calls, float("inf"))
    for _ in range(ROUNDS):
        for name, call in calls.items():
            begin = time.perf_counter()
            call()
            least[name] = min(least[name], time.perf_counter() - begin)
    return least
