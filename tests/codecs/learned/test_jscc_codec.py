"""Joint source-channel coding as a codec: graphs against the module and the equations, power, and what is refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from splitpoint.codecs.contract.channel import SymbolChannel
from splitpoint.codecs.contract.protocol import Array, Calibration, Context, FitError, FittedCodec, LossTerm
from splitpoint.codecs.learned.jscc import build_jscc, start_jscc
from splitpoint.codecs.registry import REGISTRY
from splitpoint.profiles.network.runtime import open_session
from splitpoint.tests.switches import CHANNEL, FewSteps, NoSteps, smooth_maps

CODEC: Any = REGISTRY["jankowski-jscc"]


@dataclasses.dataclass
class Kept:
    """A few steps; keeps the module and what was asked for."""

    training: Any
    key: str = "kept"
    module: Any = None
    first: tuple[str, ...] = ()
    losses: tuple[str, ...] = ()

    def __call__(
        self,
        module: nn.Module,
        *,
        rates: int,
        losses: Sequence[LossTerm],
        first: Sequence[LossTerm] = (),
        codec: str = "",
    ) -> Any:
        self.first, self.losses = (tuple(term.name for term in terms) for terms in (first, losses))
        cost = self.training(module, rates=rates, losses=losses, first=first)
        self.module = module.eval()
        return cost


def fit(x: Array, rates: Sequence[int], *, steps: int = 3, **more: Any) -> tuple[tuple[FittedCodec, ...], Kept]:
    training = Kept(FewSteps(x, steps))
    context = Context(**{"training": training, "channel": CHANNEL, "low": 0.0, **more})
    (row,) = CODEC.fit([Calibration(activations=x, context=context)], rates)
    return tuple(row), training


def run(model: bytes | None, feeds: dict[str, Array]) -> Array:
    (made,) = open_session(model or b"", level="all", threads=1).run(feeds).values()
    return np.asarray(made)


@pytest.mark.parametrize("rectified", [True, False])
@pytest.mark.parametrize("side", [6, 5, 1])
def test_graphs_are_the_module(side: int, rectified: bool) -> None:
    """An odd side makes one row too many in the up-sampling; a single position has no stride."""
    x = smooth_maps(24, 16, side, rectified=rectified)
    rows, training = fit(x, range(4), low=0.0 if rectified else -np.inf)
    for row, coder in zip(rows, training.module.coders, strict=True):
        symbols = run(row.encoder, {"x": x[:1]})
        with torch.no_grad():
            expected = coder.encoded(torch.from_numpy(x[:1])).numpy()
            np.testing.assert_allclose(symbols, expected, rtol=2e-3, atol=2e-3)  # fp16 has 11 bits
            arrived = symbols + np.float16(0.25)
            copy = coder.decoded(torch.from_numpy(arrived.astype(np.float32))).numpy()
        np.testing.assert_allclose(run(row.decoder, {"symbols": arrived}), copy, rtol=1e-4, atol=1e-4)
        (spec,) = row.coder.specs
        assert spec.shape == symbols.shape
    widths = [1, 2, 3, 4]
    assert [row.coder.specs[0].elements for row in rows] == [width * (-(-side // 2)) ** 2 for width in widths]
    assert {row.channel for row in rows} == {CHANNEL}


def test_every_message_has_mean_square_one() -> None:
    """Section 2.1; zeros are sent as zeros."""
    rows, _ = fit(smooth_maps(24), range(4))
    for row in rows:
        for scale in (1.0, 1e3):
            symbols = run(row.encoder, {"x": scale * smooth_maps(5, seed=3)[:1]}).astype(np.float64)
            assert np.mean(symbols**2) == pytest.approx(1, rel=2e-3)


def test_the_divisive_normalization_is_eq_1_and_its_inverse_eq_2() -> None:
    generator = np.random.default_rng(0)
    start = start_jscc([3], smooth_maps(8, 6), CHANNEL, snr_db=(10, 10), rectified=True, seed=0)
    module: Any = build_jscc(start)
    coder = module.coders[0]
    for part, count in ((coder.gdn, 3), (coder.igdn, 6)):
        with torch.no_grad():
            part.root_beta.copy_(torch.from_numpy(generator.normal(size=count)))  # the square is what counts
            part.root_gamma.copy_(torch.from_numpy(generator.normal(size=(count, count))))
            beta, gamma = (values.numpy().astype(np.float64) for values in part.values())
            w = generator.normal(size=(1, count, 2, 2)).astype(np.float32)
            found = part(torch.from_numpy(w)).numpy()
        assert (beta > 0).all()
        assert (gamma >= 0).all()
        for i, m, n in np.ndindex(count, 2, 2):
            norm = np.sqrt(beta[i] + sum(gamma[i, j] * w[0, j, m, n] ** 2 for j in range(count)))
            expected = w[0, i, m, n] * norm if part.inverse else w[0, i, m, n] / norm
            assert found[0, i, m, n] == pytest.approx(expected, rel=1e-5)


def transmission(module: Any, x: Array) -> tuple[Array, Array]:
    """The symbols of `x` in training, and what the decoder is given."""
    coder, given = module.coders[0], []

    def decoded(symbols: torch.Tensor) -> torch.Tensor:
        given.append(symbols.numpy())
        return symbols

    coder.decoded = decoded
    torch.manual_seed(0)
    with torch.no_grad():
        module(torch.from_numpy(x), 0)
        return coder.encoded(torch.from_numpy(x)).numpy(), given[0]


@pytest.mark.parametrize("channel", [CHANNEL, SymbolChannel(kind="rayleigh", snr_db=10, block=6)])
def test_the_training_has_the_channels_noise(channel: SymbolChannel) -> None:
    """What the decoder is given in training is as far from the symbols as `simulated` makes it."""
    from splitpoint.codecs.contract.channel import simulated

    x = smooth_maps(256, 16, 6)
    start = start_jscc([4], x, channel, snr_db=(10, 10), rectified=True, seed=0)
    module: Any = build_jscc(start)
    sent, given = transmission(module, x)
    expected = np.stack([simulated(channel, row, seed=0, draw=i) for i, row in enumerate(sent)])
    errors = [float(np.mean((made - sent) ** 2)) for made in (given, expected)]
    assert errors[0] == pytest.approx(errors[1], rel=0.1)


def test_a_range_of_snr_is_drawn_from() -> None:
    x = smooth_maps(400, 16, 6)
    start = start_jscc([4], x, CHANNEL, snr_db=(0, 20), rectified=True, seed=0)
    module: Any = build_jscc(start)
    sent, given = transmission(module, x)
    snr = -10 * np.log10(np.mean((given - sent) ** 2, axis=1))
    shares = [float((snr < edge).mean()) for edge in (0, 5, 10, 15, 20)]
    assert shares == pytest.approx([0, 0.25, 0.5, 0.75, 1], abs=0.1)  # 36 symbols tell an SNR within 1 dB


def test_the_copy_is_trained_before_the_answers() -> None:
    rows, training = fit(smooth_maps(24), [0], trained_snr_db=(0.0, 20.0))
    assert (training.first, training.losses) == (("l1",), ("cross-entropy", "distillation"))
    assert rows[0].notes[0] == "9 channel symbols, trained at 0 to 20 dB"


def test_training_makes_copies_better() -> None:
    """Maps of few directions, each value on 2x2 positions: a quarter of the positions tells them."""
    x, errors = smooth_maps(64, side=3).repeat(2, axis=2).repeat(2, axis=3), []
    for steps in (0, 80):
        rows, _ = fit(x, [3], steps=steps)
        symbols = run(rows[0].encoder, {"x": x[:1]})
        errors.append(float(np.abs(run(rows[0].decoder, {"symbols": symbols}) - x[:1]).mean()))
    assert errors[1] < 0.7 * errors[0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"training": None}, "jankowski-jscc is trained, and no training was asked for"),
        ({"channel": None}, "jankowski-jscc needs a link that carries symbols at a known SNR"),
    ],
)
def test_what_cannot_be_fitted_is_one_sentence(changes: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"training": NoSteps(), "channel": CHANNEL}
    with pytest.raises(FitError, match=f"^{message}$"):
        CODEC.fit([Calibration(activations=smooth_maps(24), context=Context(**(given | changes)))], [0])


@pytest.mark.parametrize(
    ("shape", "dtype", "part"),
    [((1, 3, 6, 6), "float32", "needs 4 channels"), ((1, 64), "float32", "codes maps"), ((1, 8, 4, 4), "int8", "int8")],
)
def test_tensors_that_it_cannot_code_are_refused(shape: tuple[int, ...], dtype: str, part: str) -> None:
    assert part in CODEC.refuses(shape, dtype)
    assert CODEC.refuses((1, 4, 1, 1), "float32") is None
