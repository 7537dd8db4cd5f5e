"""The bottleneck as a codec: one training for all rates, bytes and error at each, and what it cannot be fitted to."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from splitpoint.codecs.contract.protocol import (
    Array,
    Calibration,
    Context,
    FitError,
    FittedCodec,
    LossTerm,
    TrainingCost,
    fit_one,
)
from splitpoint.codecs.learned.bottleneck_codec import STEPS, RateBottleneck
from splitpoint.codecs.registry import REGISTRY
from splitpoint.profiles.network.runtime import open_session
from splitpoint.tests.switches import NoSteps, smooth_maps

CODEC: Any = REGISTRY["rate-bottleneck"]
ACTIVATIONS_ONLY: Any = RateBottleneck(name="rate-bottleneck", losses=(LossTerm(name="rate"),))
X, OTHERS = smooth_maps(80), smooth_maps(30, seed=1)


class RateSteps(NoSteps):
    """Adam on what the module counts for `activations`, all rates in each step."""

    def __init__(self, activations: Array, steps: int) -> None:
        super().__init__(key=f"{steps} steps")
        self.x, self.steps, self.counted = torch.from_numpy(activations), steps, list[float]()

    def __call__(
        self,
        module: nn.Module,
        *,
        rates: int,
        losses: Sequence[LossTerm],
        first: Sequence[LossTerm] = (),
        codec: str = "",
    ) -> TrainingCost:
        super().__call__(module, rates=rates, losses=losses)
        optimizer = torch.optim.Adam(module.parameters(), lr=5e-3)
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # sums in one order
        try:
            with torch.random.fork_rng():
                torch.manual_seed(0)
                for _ in range(self.steps):
                    optimizer.zero_grad()
                    counted = torch.stack([module.coded(self.x, rate)[1] for rate in range(rates)]).mean()  # type: ignore[operator]
                    counted.backward()
                    optimizer.step()
                    self.counted.append(float(counted.detach()))
        finally:
            torch.set_num_threads(threads)
        return TrainingCost(steps=self.steps, images=self.steps * len(self.x), losses={"rate": self.counted[-1]})


def fit(training: Any, rates: Sequence[int], *, codec: Any = CODEC, x: Array = X, **more: Any) -> Sequence[FittedCodec]:
    (row,) = codec.fit([Calibration(activations=x, context=Context(low=0.0, training=training, **more))], rates)
    return tuple(row)


def through_bytes(fitted: FittedCodec, x: Array) -> tuple[Array, float]:
    """Copies of x, and mean bytes."""
    assert fitted.encoder is not None
    assert fitted.decoder is not None
    encoder, decoder = (open_session(model, level="all", threads=1) for model in (fitted.encoder, fitted.decoder))
    payloads = [fitted.coder.encode(encoder.run({"x": row[None]})) for row in x]
    copies = [decoder.run(fitted.coder.decode(payload))["y"] for payload in payloads]
    return np.concatenate(copies), float(np.mean([len(payload) for payload in payloads]))


def test_one_training_serves_all_rates_and_copies_get_better_with_bytes() -> None:
    training = NoSteps()
    every = fit(training, range(5))
    assert training.calls == 1
    assert [row.rate_label for row in every] == ["q1", "q2", "q3", "q4", "q5"]
    assert len({(row.encoder, row.decoder, row.transform_key) for row in every}) == 1
    errors, sizes = [], []
    for row in every:
        copies, size = through_bytes(row, OTHERS)
        errors.append(float(np.square(copies - OTHERS).mean()))
        sizes.append(size)
    assert errors == sorted(set(errors), reverse=True)
    assert sizes == sorted(set(sizes))


@pytest.mark.parametrize("rate", [0, 3])
def test_untrained_it_takes_kltqs_bytes_and_one_and_loses_as_much(rate: int) -> None:
    kltq = REGISTRY["kltq-rans"]
    same = next(i for i, each in enumerate(kltq.rates) if each.value == -STEPS[rate])
    found = [
        through_bytes(each, OTHERS) for each in (fit(NoSteps(), [rate])[0], fit_one(kltq, X, same, Context(low=0.0)))
    ]
    (copies, size), (expected, expected_size) = found
    assert size == pytest.approx(expected_size + 1, rel=0.01)  # rounded twice, and tables of those symbols
    errors = [float(np.square(each - OTHERS).mean()) for each in (copies, expected)]
    assert errors[0] == pytest.approx(errors[1], rel=0.02)  # the same thresholds, rounded twice


def test_training_lowers_what_error_and_bits_count_together() -> None:
    training = RateSteps(X, 60)
    trained = fit(training, [0, 2, 4], codec=ACTIVATIONS_ONLY)
    untrained = fit(NoSteps(), [0, 2, 4], codec=ACTIVATIONS_ONLY)
    assert np.mean(training.counted[-5:]) < 0.97 * np.mean(training.counted[:5])
    assert trained[0].notes[-1].startswith("trained for 60 steps on 4,800 images: rate 0.")
    for before, after in zip(untrained, trained, strict=True):
        (copies, size), (others, other_size) = (through_bytes(each, OTHERS) for each in (after, before))
        gain = float(np.log(np.square(others - OTHERS).mean() / np.square(copies - OTHERS).mean()))
        # Half an error is half a bit a coefficient: by that exchange rate it is a gain of both together.
        assert gain + 2 * np.log(2) * 8 * (other_size - size) / OTHERS[0].size > 0


def test_trainings_of_equal_bits_give_equal_codecs_and_other_steps_others() -> None:
    first, again, longer = (fit(RateSteps(X, steps), [1])[0] for steps in (3, 3, 4))
    assert (first.encoder, first.decoder) == (again.encoder, again.decoder)
    assert first.coder.encode(_symbols(first)) == again.coder.encode(_symbols(again))
    assert first.transform_key != longer.transform_key


def _symbols(fitted: FittedCodec) -> Any:
    assert fitted.encoder is not None
    return open_session(fitted.encoder, level="all", threads=1).run({"x": OTHERS[:1]})


def test_a_later_rate_does_not_train_again() -> None:
    kept: dict[Hashable, Any] = {}

    def memo(key: Hashable, make: Callable[[], Any], size: Callable[[Any], int]) -> Any:
        if key not in kept:
            kept[key] = make()
            assert size(kept[key]) > 1000
        return kept[key]

    training = NoSteps()
    (first,), (second,) = (fit(training, [rate], memo=memo) for rate in (0, 4))
    assert training.calls == 1
    assert (first.encoder, first.decoder) == (second.encoder, second.decoder)
    fit(training, [0], memo=memo, codec=ACTIVATIONS_ONLY)
    assert training.calls == 2  # another definition


def test_single_rates_start_from_different_weights() -> None:
    seen = []

    class Noted(NoSteps):
        def __call__(self, module: nn.Module, **more: Any) -> TrainingCost:
            seen.append((more, {name: value.clone() for name, value in module.state_dict().items()}))
            return super().__call__(module, **more)

    for step in (1.0, 0.5):  # a training is found again by what it started from
        fit(Noted(), [0], codec=RateBottleneck(name="rate-bottleneck", steps=(step,)))
    (more, first), (_, second) = seen
    assert more["rates"] == 1
    assert [term.name for term in more["losses"]] == ["rate", "distillation"]
    assert not torch.equal(first["log_steps"], second["log_steps"])


def test_without_a_training_there_is_one_clear_sentence() -> None:
    with pytest.raises(FitError, match=r"^rate-bottleneck is trained, and no training was asked for$"):
        fit(None, [0])


@pytest.mark.parametrize("shape", [(1, 12, 64), (1, 64), (2, 8, 4, 4), (1, 0, 4, 4)])
def test_tensors_that_are_no_maps_are_refused(shape: tuple[int, ...]) -> None:
    assert "codes maps of one input" in str(CODEC.refuses(shape, "float32"))
    assert "float32" in str(CODEC.refuses((1, 8, 4, 4), "int8"))
    assert CODEC.refuses((1, 1, 1, 1), "float32") is None


def test_tensors_with_negative_values_keep_them() -> None:
    x = smooth_maps(80, rectified=False)
    (row,) = CODEC.fit([Calibration(activations=x, context=Context(training=NoSteps()))], [4])[0]
    copies, _ = through_bytes(row, x[:10])
    assert float(np.corrcoef(np.minimum(copies, 0).ravel(), np.minimum(x[:10], 0).ravel())[0, 1]) > 0.9
