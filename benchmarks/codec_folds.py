"""Bytes against accuracy by five-fold cross-validation: every image is reported once, by a codec that never saw it.

Each fold fits on 100 images, chooses the rate on 300 others (the coarsest whose top-1 drop is at most a point) and
reports on the 100 held out. Bytes are those of real bitstreams, container included; symbols come from the codec's own
ONNX graphs in ONNX Runtime, and accuracy from what the decoder gives back.
"""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from splitpoint.benchmarks.codec_networks import Network
from splitpoint.codecs.container import pack
from splitpoint.codecs.contract.protocol import Context, FitError, FittedCodec, fit_one
from splitpoint.codecs.pictures.picture import PICTURES
from splitpoint.codecs.registry import CODEC_IDS, REGISTRY
from splitpoint.codecs.store import save_coders
from splitpoint.planner.quality.intervals import tango
from splitpoint.profiles.network.runtime import open_session

__all__ = ["FOLDS", "MOST_DROP", "Curve", "folds", "measure_codec", "measure_picture", "report"]

Array = NDArray[Any]
FOLDS = 5
MOST_DROP = 0.01
FINEST = 6  # qualities of a picture codec that are measured, the highest
SEED = 0
DECODED = 20  # of the images of a fold, where coding is lossless: the others' symbols are taken as sent
PLAN = bytes(8)  # the hash's place in the container; its value does not change the length


@dataclasses.dataclass(frozen=True, kw_only=True)
class Curve:
    """One codec at one cut: (rates, folds, images) lengths and predictions; images of the fit set hold -1."""

    codec: str
    cut: str
    labels: tuple[str, ...]
    lengths: Array
    predictions: Array
    side_bytes: tuple[int, ...]  # one-time size a rate: coder tables and added weights, first fold


def folds(count: int) -> Iterator[tuple[Array, Array, Array]]:
    """(fit, choose, report) indices of each fold."""
    parts = np.array_split(np.random.default_rng(SEED).permutation(count), FOLDS)
    for i in range(FOLDS):
        others = [parts[(i + 2 + j) % FOLDS] for j in range(FOLDS - 2)]
        yield parts[(i + 1) % FOLDS], np.concatenate(others), parts[i]


def measure_codec(
    network: Network,
    cut: int,
    names: Sequence[str],
    activations: Array,
    *,
    rates: Callable[[str], Sequence[int]],
    layer_input: Array | None,
    say: Callable[[str], None],
) -> list[Curve]:
    """Every codec of `names` at one cut; codecs with equal graphs share symbols and predictions."""
    count = len(activations)
    chosen = {name: list(rates(name)) for name in names}
    lengths = {name: np.full((len(chosen[name]), FOLDS, count), -1, np.int64) for name in names}
    predictions = {name: np.full((len(chosen[name]), FOLDS, count), -1, np.int64) for name in names}
    sides: dict[str, list[int]] = {name: [] for name in names}
    seen: dict[tuple[str, int], tuple[bytes, int]] = {}  # payload and answer of a fitted codec and a picture
    for fold, (fit, choose, held_out) in enumerate(folds(count)):
        others = np.concatenate([choose, held_out])
        weighted = any("gradients" in REGISTRY[name].wants for name in names)
        context = Context(
            gradients=network.gradients(activations[fit], cut) if weighted else None,
            layer_input=None if layer_input is None else layer_input[fit],
        )
        decoded: dict[str, tuple[list[dict[str, Array]], Array]] = {}
        for name in names:
            begin = time.perf_counter()
            for place, rate in enumerate(chosen[name]):
                try:
                    fitted = fit_one(REGISTRY[name], activations[fit], rate, context)
                except FitError as error:
                    say(f"  {name} {REGISTRY[name].rates[rate].label}: {error}")
                    sides[name].append(0)
                    continue
                if fitted.boundary == "symbols" and fitted.transform_key in decoded:
                    tensors, answers = decoded[fitted.transform_key]
                    payloads = [fitted.coder.encode(t) for t in tensors]
                elif fitted.boundary == "float32":
                    key = _everything_fitted(fitted)  # the same in every fold where nothing is
                    new = [i for i in others.tolist() if (key, i) not in seen]
                    if new:
                        _, coded, outputs = _run(fitted, activations[new])
                        found = zip(coded, network.tail(outputs, cut).argmax(axis=1).tolist(), strict=True)
                        seen |= {(key, i): pair for i, pair in zip(new, found, strict=True)}
                    payloads = [seen[key, i][0] for i in others.tolist()]
                    answers = np.array([seen[key, i][1] for i in others.tolist()])
                else:
                    tensors, payloads, outputs = _run(fitted, activations[others])
                    answers = network.tail(outputs, cut).argmax(axis=1)
                    if len(names) > 1:
                        decoded[fitted.transform_key] = tensors, answers
                lengths[name][place, fold, others] = [_packed(name, rate, payload) for payload in payloads]
                predictions[name][place, fold, others] = answers
                if fold == 0:
                    sides[name].append(len(save_coders([fitted.coder])) + fitted.weight_bytes)
            say(f"  fold {fold + 1} {name} {time.perf_counter() - begin:.0f} s")
    return [
        Curve(
            codec=name,
            cut=network.names[cut],
            labels=tuple(REGISTRY[name].rates[rate].label for rate in chosen[name]),
            lengths=lengths[name],
            predictions=predictions[name],
            side_bytes=tuple(sides[name]),
        )
        for name in names
    ]


def measure_picture(network: Network, name: str, pictures: Array, prepare: Callable[[Array], Array]) -> Curve:
    """A picture codec; it is not fitted, so every fold sees the same."""
    codec = PICTURES[name]
    size = pictures.shape[1], pictures.shape[2]
    chosen = range(len(codec.rates))[-FINEST:]
    lengths = np.zeros((len(chosen), FOLDS, len(pictures)), np.int64)
    predictions = np.zeros_like(lengths)
    for place, rate in enumerate(chosen):
        data = [codec.encode(picture, rate) for picture in pictures]
        lengths[place] = [len(d) + _packed(name, rate, b"") for d in data]
        seen = prepare(np.stack([codec.decode(d, size) for d in data]))
        predictions[place] = network.tail(seen, 0).argmax(axis=1)
    labels = tuple(codec.rates[rate].label for rate in chosen)
    return Curve(
        codec=name,
        cut="picture",
        labels=labels,
        lengths=lengths,
        predictions=predictions,
        side_bytes=(0,) * len(labels),
    )


def report(curve: Curve, truth: Array, exact: Array) -> dict[str, Any]:
    """Figures of a curve: the cross-validated choice, and every rate on the held-out images of all folds."""
    before = exact == truth
    bytes_, after, agree, picks = [], [], [], []
    points: list[dict[str, Any]] = []
    usable = [rate for rate in range(len(curve.labels)) if (curve.lengths[rate] >= 0).any(axis=1).all()]
    for fold, (_, choose, held_out) in enumerate(folds(len(truth))):
        drops = [(before[choose].mean() - (curve.predictions[r, fold, choose] == truth[choose]).mean()) for r in usable]
        good = [rate for rate, drop in zip(usable, drops, strict=True) if drop <= MOST_DROP + 1e-9]
        best = min(good, key=lambda r: curve.lengths[r, fold, choose].mean()) if good else usable[int(np.argmin(drops))]
        picks.append(curve.labels[best])
        bytes_.append(curve.lengths[best, fold, held_out])
        after.append((curve.predictions[best, fold, held_out] == truth[held_out], before[held_out]))
        agree.append(curve.predictions[best, fold, held_out] == exact[held_out])
    for rate in usable:
        rows = [
            (held_out, curve.predictions[rate, fold, held_out])
            for fold, (_, _, held_out) in enumerate(folds(len(truth)))
        ]
        order = np.concatenate([index for index, _ in rows])
        answers = np.concatenate([answer for _, answer in rows])
        size = np.concatenate([curve.lengths[rate, fold, index] for fold, (index, _) in enumerate(rows)])
        points.append(
            {
                "rate": curve.labels[rate],
                "bytes": round(float(size.mean()), 1),
                **_drop(before[order], answers == truth[order]),
                "agreement": round(float((answers == exact[order]).mean()), 4),
                "side_bytes": curve.side_bytes[rate],
            }
        )
    right = np.concatenate([a for a, _ in after])
    was = np.concatenate([b for _, b in after])
    return {
        "codec": curve.codec,
        "cut": curve.cut,
        "chosen": {
            "rates": picks,
            "bytes": round(float(np.concatenate(bytes_).mean()), 1),
            **_drop(was, right),
            "agreement": round(float(np.concatenate(agree).mean()), 4),
        },
        "curve": points,
    }


def _run(fitted: FittedCodec, activations: Array) -> tuple[list[dict[str, Array]], list[bytes], Array]:
    """Symbols, payloads and decoded tensors of (N, ...) activations, one at a time as on a device."""
    encoder = None if fitted.encoder is None else open_session(fitted.encoder, threads=1)
    decoder = None if fitted.decoder is None else open_session(fitted.decoder, threads=1)
    tensors, payloads, outputs = [], [], []
    for number, x in enumerate(activations):
        sent = {"x": x[None]} if encoder is None else encoder.run({"x": x[None]})
        payload = fitted.coder.encode(sent)
        received = sent
        if fitted.boundary != "symbols" or number < DECODED:
            received = fitted.coder.decode(payload)
            if fitted.boundary == "symbols" and not all(np.array_equal(received[n], sent[n]) for n in sent):
                raise SystemExit(f"{fitted.codec} {fitted.rate_label}: symbols do not come back")
        y = received["x"] if decoder is None else decoder.run(received)["y"]
        tensors.append(sent)
        payloads.append(payload)
        outputs.append(y[0])
    return tensors, payloads, np.stack(outputs)


def _everything_fitted(fitted: FittedCodec) -> str:
    """A text that differs where graphs or tables differ."""
    tables = [(name, x.dtype.str, x.shape, x.tobytes()) for name, x in sorted(fitted.coder.arrays().items())]
    return hashlib.sha256(repr((fitted.transform_key, tables)).encode()).hexdigest()


def _packed(name: str, rate: int, payload: bytes) -> int:
    return len(pack([payload], codec_id=CODEC_IDS[name], rate=rate, plan_hash=PLAN))


def _drop(before: Array, after: Array) -> dict[str, Any]:
    """Points of top-1 lost, with Tango's 95 % interval for paired answers."""
    lost, won = int((before & ~after).sum()), int((after & ~before).sum())
    interval = tango(lost, won, len(before))
    drop = [100 * (lost - won) / len(before), 100 * interval.low, 100 * interval.high]
    return {"drop_points": round(drop[0], 2), "drop_low": round(drop[1], 2), "drop_high": round(drop[2], 2)}
