"""Seconds of every codec's encoder on one thread, beside the head that it stands behind.

    python -m splitpoint.benchmarks.encoder_speed --data DIR [--write]

EfficientNet-Lite0 after block 10 (14x14x112) on pictures of imagenet500 in DIR: every codec of the registry that takes
its activations alone, at its middle rate, fitted to 32 pictures without gradients (they change values, not the work).
The encoder is its graph and its entropy coder, from tensor to payload; picture codecs code the picture. Each is timed
in turn with the head, the least of seven runs of a picture; seconds are the medians of 20 pictures. Takes about
three minutes. With --write the table of docs/codecs.md is made from what was stored.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from splitpoint.benchmarks.codec_networks import efficientnet_lite0, imagenet500
from splitpoint.benchmarks.document import END, begin, replace
from splitpoint.benchmarks.stored import RESULTS, store
from splitpoint.codecs.contract.protocol import Codec, CodecError, Context, fit_one
from splitpoint.codecs.pictures.picture import PICTURES
from splitpoint.codecs.registry import REGISTRY
from splitpoint.profiles.network.runtime import open_session
from splitpoint.profiles.network.torch_model import export_module

__all__ = ["COMMAND", "DOCS", "measure", "table"]

Array = NDArray[Any]
STAGES = 12  # stem and blocks 0..10
INPUT = (1, 3, 224, 224)
FITTED, TIMED = 32, 20  # pictures
REPEATS = 7  # of each picture, of which the least counts: other work only adds
SHARE = 0.1  # of the head's time, above which a plan says so
DOCS = Path(__file__).parents[1] / "docs" / "codecs.md"
COMMAND = "benchmarks/encoder_speed.py"


def measure(data: Path, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """A row a codec: the medians of its seconds and of the head's, and why a codec was left out."""
    pictures, _ = imagenet500(data)
    pictures = pictures[:: len(pictures) // (FITTED + TIMED)][: FITTED + TIMED]
    x = np.ascontiguousarray(((pictures.astype(np.float32) - 127) / 128).transpose(0, 3, 1, 2))
    head = open_session(export_module(torch.nn.Sequential(*efficientnet_lite0().stages[:STAGES]), INPUT), threads=1)
    [entry], [output] = head.inputs, head.outputs
    activations = np.concatenate([head.run({entry.name: row[None]})[output.name] for row in x])

    def whole_head(index: int) -> object:
        return head.run({entry.name: x[index][None]})

    rows = []
    for name in (*REGISTRY, *PICTURES):
        try:
            encode = (
                _picture_encoder(name, pictures) if name in PICTURES else _tensor_encoder(REGISTRY[name], activations)
            )
        except CodecError as error:
            say(f"{name}: {error}")
            continue
        seconds: list[tuple[float, float]] = []
        for index in range(FITTED, FITTED + TIMED):
            pairs = [(_timed(encode, index), _timed(whole_head, index)) for _ in range(REPEATS)]
            seconds.append((min(own for own, _ in pairs), min(of_head for _, of_head in pairs)))
        encode_s, head_s = (float(np.median(column)) for column in zip(*seconds, strict=True))
        rates = (PICTURES[name] if name in PICTURES else REGISTRY[name]).rates
        label = rates[_rate(rates)].label
        share = None if name in PICTURES else round(encode_s / head_s, 4)
        rows.append({"codec": name, "rate": label, "encode_s": encode_s, "head_s": head_s, "head_share": share})
        say(f"{name:24} {label:12} {1e3 * encode_s:9.3f} ms" + ("" if share is None else f" {100 * share:8.1f} %"))
    return rows


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown: milliseconds, and the share of the head's time where there is a head; the cheapest first."""
    lines = ["| codec | rate | encoder, ms | of the head's time |", "|---|---|---:|---:|"]
    for row in sorted(rows, key=lambda row: row["encode_s"]):
        share = row["head_share"]
        text = "no head" if share is None else f"{100 * share:.1f} %"
        marked = f"**{text}**" if share is not None and share > SHARE else text
        lines.append(f"| `{row['codec']}` | {row['rate']} | {1e3 * row['encode_s']:.2f} | {marked} |")
    return "\n".join(lines) + "\n"


def _tensor_encoder(codec: Codec, activations: Array) -> Callable[[int], object]:
    refusal = codec.refuses((1, *activations.shape[1:]), "float32")
    if refusal is not None or codec.needs:
        raise CodecError(refusal or f"needs {', '.join(sorted(codec.needs))}")
    fitted = fit_one(codec, activations[:FITTED], _rate(codec.rates), Context())
    session = None if fitted.encoder is None else open_session(fitted.encoder, threads=1)

    def encode(index: int) -> object:
        sent = {"x": activations[index][None].reshape(fitted.shape)}
        return fitted.coder.encode(sent if session is None else session.run(sent))

    return encode


def _picture_encoder(name: str, pictures: Array) -> Callable[[int], object]:
    rate = _rate(PICTURES[name].rates)
    return lambda index: PICTURES[name].encode(pictures[index], rate)


def _rate(rates: Sequence[object]) -> int:
    return len(rates) // 2


def _timed(call: Callable[[int], object], index: int) -> float:
    begin = time.perf_counter()
    call(index)
    return time.perf_counter() - begin


def main(arguments: Sequence[str]) -> None:
    """Measure and store, or write the table of what was stored."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="measure with the pictures in this folder")
    parser.add_argument("--write", action="store_true", help="write the table of docs/codecs.md")
    options = parser.parse_args(arguments)
    path = RESULTS / "codecs-encoders.json"
    if options.data is not None:
        store(path, {"rows": measure(options.data, print)}, command="encoder_speed --data DIR")
    if options.write:
        rows = json.loads(path.read_text())["rows"]
        replace(DOCS, COMMAND, "\n".join([begin(COMMAND), "", table(rows), END]))


if __name__ == "__main__":
    main(sys.argv[1:])
