"""The simulated channel against its definition: noise power, fading, what a receiver makes of it, equal draws."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from splitpoint.codecs.contract.channel import SymbolChannel, gains, received, simulated

COUNT = 200_000


def symbols() -> NDArray[np.float64]:
    return np.random.default_rng(1).choice([-1.0, 1.0], size=COUNT)


@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 14.5])
def test_white_noise_has_the_power_of_its_snr(snr_db: float) -> None:
    x = symbols()
    noise = simulated(SymbolChannel(kind="awgn", snr_db=snr_db), x, seed=3, draw=0) - x
    assert noise.mean() == pytest.approx(0, abs=5 * noise.std() / np.sqrt(COUNT))
    assert 10 * np.log10(1 / noise.var()) == pytest.approx(snr_db, abs=0.05)


def test_a_fade_is_rayleigh_and_stays_for_its_block() -> None:
    channel = SymbolChannel(kind="rayleigh", snr_db=10, block=4)
    gain = gains(channel, np.random.default_rng(2).exponential(size=COUNT), COUNT)
    blocks = gain.reshape(-1, 4)
    assert (blocks == blocks[:, :1]).all()
    powers = blocks[:, 0] ** 2  # exponential of mean 1: P(power <= t) = 1 - exp(-t)
    for level in (0.1, 1.0, 2.0):
        assert (powers <= level).mean() == pytest.approx(1 - np.exp(-level), abs=0.01)


def test_without_a_block_a_message_has_one_gain() -> None:
    powers = np.random.default_rng(2).exponential(size=50)
    assert set(gains(SymbolChannel(kind="rayleigh", snr_db=10), powers, 50)) == {np.sqrt(powers[0])}


def test_the_receiver_of_a_fade_has_the_least_squared_error() -> None:
    """Of all multiples of y the one that is used is closest to x, in a deep fade and in a shallow one."""
    rng, x = np.random.default_rng(5), symbols()
    for gain in (0.1, 0.9):
        noise = rng.normal(size=COUNT)
        used = received(x, noise, np.full(COUNT, gain), 6.0)
        y = gain * x + 10 ** (-6 / 20) * noise
        errors = [np.mean((factor * y - x) ** 2) for factor in np.linspace(0, 2, 401)]
        assert np.mean((used - x) ** 2) <= min(errors) * 1.001


def test_equal_draws_are_equal_and_others_are_not() -> None:
    channel = SymbolChannel(kind="rayleigh", snr_db=5, block=2)
    x = np.ones((1, 16), np.float16)
    first = simulated(channel, x, seed=1, draw=7)
    assert (first.dtype, first.shape) == (x.dtype, x.shape)
    assert np.array_equal(first, simulated(channel, x, seed=1, draw=7))
    assert not np.array_equal(first, simulated(channel, x, seed=1, draw=8))
    assert not np.array_equal(first, simulated(channel, x, seed=2, draw=7))


def test_channels_are_equal_where_a_message_fares_alike() -> None:
    fade = SymbolChannel(kind="rayleigh", snr_db=10, block=100)
    assert fade.equals(SymbolChannel(kind="rayleigh", snr_db=10, block=300), 64)
    assert fade.equals(SymbolChannel(kind="rayleigh", snr_db=10), 100)
    assert not fade.equals(SymbolChannel(kind="rayleigh", snr_db=10, block=300), 200)
    assert not fade.equals(SymbolChannel(kind="rayleigh", snr_db=11, block=100), 64)
    assert not fade.equals(SymbolChannel(kind="awgn", snr_db=10), 64)
