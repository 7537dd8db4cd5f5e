"""The mixture of KLTs: what is measured is what its payload gives back, and the choice of a transform is in it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from splitpoint.benchmarks.mixture import MIXTURES, Mixture
from splitpoint.codecs.coders.context import ContextCode
from splitpoint.codecs.contract.protocol import Array, Context, FittedCodec, fit_one
from splitpoint.codecs.registry import REGISTRY
from splitpoint.profiles.network.runtime import open_session

RATE = 5
FITTED, COUNT, CHANNELS, SIDE = 150, 200, 6, 5


def tensors(*, blocks: int, seed: int = 0) -> tuple[Array, Array]:
    """Tensors (N, C, side, side) of `blocks` blocks a side, and each block's kind: two, of other axes of channels."""
    generator = np.random.default_rng(seed)
    kinds = generator.integers(0, 2, (COUNT, blocks, blocks))
    axes = [np.linalg.qr(generator.standard_normal((CHANNELS, CHANNELS)))[0] for _ in range(2)]
    each = 3.0 ** -np.arange(CHANNELS)
    values = generator.standard_normal((COUNT, CHANNELS, SIDE, SIDE)) * each[None, :, None, None]
    where = np.repeat(np.repeat(kinds, 3, axis=1), 3, axis=2)[:, :SIDE, :SIDE] if blocks > 1 else kinds
    turned = [np.einsum("dc,nchw->ndhw", axis, values) for axis in axes]
    return np.where(where[:, None] == 0, *turned).astype(np.float32), kinds


def context() -> Context:
    return Context(
        gradients=np.random.default_rng(9).standard_normal((400, CHANNELS, SIDE, SIDE)).astype(np.float32),
        run=lambda model, feeds: open_session(model, threads=1).run(feeds),
    )


def coded(fitted: FittedCodec, x: Array) -> tuple[list[dict[str, Array]], list[bytes], Array]:
    """Sent tensors, payloads and what is decoded from them."""
    assert fitted.encoder is not None
    assert fitted.decoder is not None
    encoder, decoder = (open_session(model, threads=1) for model in (fitted.encoder, fitted.decoder))
    sent = [encoder.run({"x": one[None]}) for one in x]
    payloads = [fitted.coder.encode(one) for one in sent]
    return sent, payloads, np.concatenate([decoder.run(fitted.coder.decode(payload))["y"] for payload in payloads])


def error(x: Array, y: Array) -> float:
    return float(np.square(x - y).mean())


@pytest.mark.parametrize("name", MIXTURES)
def test_a_payload_gives_back_what_was_sent(name: str) -> None:
    x, _ = tensors(blocks=2)
    fitted = fit_one(MIXTURES[name], x[:FITTED], RATE, context())
    sent, payloads, y = coded(fitted, x[FITTED:])
    for one, payload in zip(sent, payloads, strict=True):
        back = fitted.coder.decode(payload)
        assert set(back) == set(one) == {"symbols", "index"}
        assert all(np.array_equal(back[key], one[key]) and back[key].dtype == one[key].dtype for key in one)
    assert error(x[FITTED:], y) < 0.2 * error(x[FITTED:], np.zeros_like(y))
    chosen = {int(number) for one in sent for number in one["index"].ravel()}
    assert len(chosen) >= 2 or name == "mixture-1"


def test_one_component_is_one_klt() -> None:
    x, _ = tensors(blocks=1)
    one, old = (fit_one(c, x[:FITTED], RATE, context()) for c in (MIXTURES["mixture-1"], REGISTRY["kltq-ctx"]))
    (_, payloads, y), (_, before, expected) = coded(one, x[FITTED:]), coded(old, x[FITTED:])
    assert np.array_equal(y, expected)
    assert max(abs(len(p) - len(b)) for p, b in zip(payloads, before, strict=True)) <= 1  # the number is always 0


@pytest.mark.parametrize(("name", "blocks"), [("mixture-2", 1), ("mixture-2-halves", 2)])
def test_blocks_of_two_kinds_are_told_apart_and_take_fewer_bytes(name: str, blocks: int) -> None:
    x, kinds = tensors(blocks=blocks)
    single = Mixture(name="one", components=1, blocks=MIXTURES[name].blocks)
    two, one = (fit_one(codec, x[:FITTED], RATE, context()) for codec in (MIXTURES[name], single))
    (sent, payloads, y), (_, before, expected) = coded(two, x[FITTED:]), coded(one, x[FITTED:])
    same = np.concatenate([s["index"][0] for s in sent]) == kinds[FITTED:]
    assert max(same.mean(), 1 - same.mean()) > 0.7
    assert sum(map(len, payloads)) < 0.97 * sum(map(len, before))
    assert error(x[FITTED:], y) < error(x[FITTED:], expected)


def test_the_numbers_of_the_transforms_are_in_the_bytes() -> None:
    x, _ = tensors(blocks=2)
    fitted = fit_one(MIXTURES["mixture-2-halves"], x[:FITTED], RATE, context())
    fitting, _, _ = coded(fitted, x[:FITTED])
    sent, payloads, _ = coded(fitted, x[FITTED:])
    [spec] = [spec for spec in fitted.coder.specs if spec.name == "symbols"]
    alone = ContextCode().fit([spec], {"symbols": np.concatenate([s["symbols"] for s in fitting])})
    without = [alone.encode({"symbols": s["symbols"]}) for s in sent]
    numbers = sum(s["index"].size for s in sent)
    bits = 8 * (sum(map(len, payloads)) - sum(map(len, without))) / numbers
    assert 0.5 < bits < 1.6  # one in two, of four blocks, in whole bytes


def test_another_number_gives_another_tensor() -> None:
    x, _ = tensors(blocks=1)
    fitted = fit_one(MIXTURES["mixture-2"], x[:FITTED], RATE, context())
    sent, _, y = coded(fitted, x[FITTED:])
    wrong: list[dict[str, Any]] = [{**one, "index": (1 - one["index"]).astype(np.int16)} for one in sent]
    assert fitted.decoder is not None
    decoder = open_session(fitted.decoder, threads=1)
    other = np.concatenate([decoder.run(fitted.coder.decode(fitted.coder.encode(one)))["y"] for one in wrong])
    assert error(x[FITTED:], other) > 3 * error(x[FITTED:], y)
