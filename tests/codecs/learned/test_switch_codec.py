"""Dynamic switch as a codec: one training for all rates, bytes at each, and what it cannot be fitted to."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
import pytest

from splitpoint.codecs.contract.protocol import Array, Calibration, Context, FitError, FittedCodec
from splitpoint.codecs.learned.switch_codec import DynamicSwitch
from splitpoint.codecs.registry import REGISTRY
from splitpoint.codecs.store import save_coders
from splitpoint.profiles.network.runtime import open_session
from splitpoint.tests.switches import FewSteps, NoSteps, smooth_maps

CODEC = REGISTRY["dynamic-switch"]
X, OTHERS = smooth_maps(80), smooth_maps(30, seed=1)


def fit(training: Any, rates: list[int], *, codec: Any = CODEC, x: Array = X, **more: Any) -> tuple[FittedCodec, ...]:
    context = Context(low=0.0, training=training, **more)
    (row,) = codec.fit([Calibration(activations=x, context=context)], rates)
    return tuple(row)


def through_bytes(fitted: FittedCodec, x: Array) -> tuple[Array, float]:
    """Copies of x, and mean bytes."""
    assert fitted.encoder is not None
    assert fitted.decoder is not None
    encoder, decoder = (open_session(model, level="all", threads=1) for model in (fitted.encoder, fitted.decoder))
    payloads = [fitted.coder.encode(encoder.run({"x": row[None]})) for row in x]
    rows = [decoder.run(fitted.coder.decode(payload))["y"] for payload in payloads]
    return np.concatenate(rows), float(np.mean([len(payload) for payload in payloads]))


def test_one_training_serves_all_rates_and_copies_get_better_with_bytes() -> None:
    training = FewSteps(X)
    rows = fit(training, [0, 1, 2])
    assert training.calls == 1
    assert [row.rate_label for row in rows] == ["90 %", "75 %", "50 %"]
    assert len({(row.encoder, row.decoder, row.transform_key) for row in rows}) == 1
    errors, sizes = [], []
    for row in rows:
        copies, size = through_bytes(row, OTHERS)
        errors.append(float(np.square(copies - OTHERS).mean()))
        sizes.append(size)
    assert errors == sorted(set(errors), reverse=True)
    assert sizes == sorted(set(sizes))
    assert errors[0] < 0.5 * OTHERS.var()  # two of sixteen channels


def test_training_helps_and_what_it_took_is_noted() -> None:
    before, after = (fit(training, [0, 1, 2]) for training in (NoSteps(), FewSteps(X)))
    for untrained, trained in zip(before, after, strict=True):
        errors = [float(np.square(through_bytes(row, OTHERS)[0] - OTHERS).mean()) for row in (untrained, trained)]
        assert errors[1] < errors[0]  # kernels behind a ReLU do better than the PCA on activations that are rectified
    assert after[0].notes[0].startswith("trained for 60 steps on 4,800 images: mse 0.")


def test_a_later_rate_does_not_train_again() -> None:
    kept: dict[Hashable, Any] = {}

    def memo(key: Hashable, make: Callable[[], Any], size: Callable[[Any], int]) -> Any:
        if key not in kept:
            kept[key] = make()
            assert size(kept[key]) > 1000
        return kept[key]

    training = NoSteps()
    (first,), (second,) = (fit(training, [rate], memo=memo) for rate in (0, 2))
    assert training.calls == 1
    assert (first.encoder, first.decoder) == (second.encoder, second.decoder)
    assert (first.coder.at(2).arrays()["table"] == second.coder.arrays()["table"]).all()  # type: ignore[attr-defined]
    assert save_coders([first.coder.at(2)]) == save_coders([second.coder])  # type: ignore[attr-defined]
    fit(training, [0], memo=memo, codec=DynamicSwitch(name="dynamic-switch", bits=4))
    assert training.calls == 2  # another definition


@pytest.mark.parametrize("private", [True, False])
@pytest.mark.parametrize("start", ["pca", "he"])
def test_every_option_gives_a_codec_that_learns(private: bool, start: str) -> None:
    codec = DynamicSwitch(name="dynamic-switch", private_bn=private, start=start)  # type: ignore[arg-type]
    errors = []
    for steps in (1, 30):
        rows = fit(FewSteps(X[:40], steps=steps), [0, 1, 2], codec=codec)
        errors.append([float(np.square(through_bytes(row, OTHERS)[0] - OTHERS).mean()) for row in rows])
    assert np.mean(errors[1]) < np.mean(errors[0])
    assert start == "he" or max(errors[1]) < OTHERS.var()  # of few steps from anywhere nothing more can be said


def test_the_training_is_given_the_rates_and_the_losses() -> None:
    seen: dict[str, Any] = {}

    class Noted(NoSteps):
        def __call__(self, module: Any, **more: Any) -> Any:
            seen.update(more)
            return super().__call__(module, **more)

    fit(Noted(), [1])
    assert seen["rates"] == 3
    assert [term.name for term in seen["losses"]] == ["cross-entropy", "distillation", "mse"]


def test_without_a_training_there_is_one_clear_sentence() -> None:
    with pytest.raises(FitError, match=r"^dynamic-switch is trained, and no training was asked for$"):
        fit(None, [0])


def test_what_a_training_refuses_or_leaves_broken_is_refused() -> None:
    class Broken(NoSteps):
        def __call__(self, module: Any, **more: Any) -> Any:
            module.decoder.data[0] = float("inf")
            return super().__call__(module, **more)

    with pytest.raises(FitError, match="not finite in 'decoder'"):
        fit(Broken(), [0])
    with pytest.raises(FitError, match="needs as many positions"):
        fit(NoSteps(), [0], x=smooth_maps(1, 64, side=2))


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        ((1, 3, 8, 8), "needs 4 to 4096 channels"),
        ((1, 5000, 1, 1), "needs 4 to 4096 channels"),
        ((1, 12, 64), "codes maps"),
        ((1, 64), "codes maps"),
        ((2, 8, 4, 4), "codes maps"),
    ],
)
def test_tensors_without_enough_channels_are_refused(shape: tuple[int, ...], reason: str) -> None:
    assert reason in str(CODEC.refuses(shape, "float32"))
    assert CODEC.refuses((1, 4, 1, 1), "float32") is None


def test_widths_are_the_papers_shares_of_the_channels() -> None:
    (row,) = fit(NoSteps(), [2], x=smooth_maps(40, 40, side=4))
    assert row.coder.arrays()["widths"].tolist() == [4, 10, 20]
