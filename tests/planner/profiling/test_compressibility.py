"""Statistics of cut tensors against theory and against direct computation."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitpoint.planner.profiling.compressibility import BITS, Accumulator, Compressibility, measure
from splitpoint.profiles.errors import ProfileError

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(0)


def of(values: Array) -> Compressibility:
    """Statistics of values (N, ...), taken one row at a time."""
    accumulator = Accumulator("t", (1, *values.shape[1:]))
    for row in values:
        accumulator.add(row[None])
    return accumulator.result()


@pytest.mark.parametrize("bits", BITS)
def test_uniform_source_has_the_sqnr_of_theory(bits: int) -> None:
    values = RNG.uniform(-1, 1, (8, 4, 64, 64)).astype(np.float32)
    got = of(values)
    assert got.sqnr_db[bits] == pytest.approx(20 * math.log10(2**bits - 1), abs=0.05)
    assert bits - 0.2 < got.entropy_bit[bits] <= bits + 1e-9  # the two end cells are half as wide


def test_entropy_and_sqnr_equal_a_direct_quantizer() -> None:
    values = np.maximum(RNG.normal(0.3, 2, (6, 5, 20, 20)), 0).astype(np.float32)
    got = of(values)
    flat = values.astype(np.float64).ravel()
    for bits in BITS:
        step = (flat.max() - flat.min()) / (2**bits - 1)
        symbols = np.rint((flat - flat.min()) / step)
        share = np.unique(symbols, return_counts=True)[1] / flat.size
        error = np.square(flat - flat.min() - symbols * step).mean()
        assert got.entropy_bit[bits] == pytest.approx(-(share * np.log2(share)).sum(), abs=0.01)
        assert got.sqnr_db[bits] == pytest.approx(10 * math.log10(np.square(flat).mean() / error), abs=0.05)
    assert got.zero_fraction == (flat == 0).mean()
    assert (got.low, got.high) == (0.0, flat.max())


def test_the_order_and_growth_of_the_range_hardly_matter() -> None:
    values = RNG.normal(0, 1, (10, 2, 30, 30)) * np.logspace(-1, 1, 10)[:, None, None, None]
    up, down = of(values), of(values[::-1])
    assert sum(up.histogram) == values.size
    for bits in BITS:
        assert up.entropy_bit[bits] == pytest.approx(down.entropy_bit[bits], abs=0.01)
        assert up.sqnr_db[bits] == pytest.approx(down.sqnr_db[bits], abs=0.05)


@given(shift=st.floats(-1e6, 1e6), seed=st.integers(0, 99), rows=st.integers(1, 6))
def test_every_value_is_counted_once(shift: float, seed: int, rows: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.standard_cauchy((rows, 2, 3, 3)) + shift
    values[rng.random(values.shape) < 0.3] = 0
    got = of(values)
    assert sum(got.histogram) == values.size
    assert got.zero_fraction == (values == 0).mean()


def test_spectrum_components_and_correlation() -> None:
    basis = np.linalg.qr(RNG.normal(size=(6, 6)))[0]
    variances = np.array([100.0, 10.0, 1.0, 0.1, 0.01, 0.001])
    latent = RNG.normal(size=(40_000, 6)) * np.sqrt(variances)
    values = (latent @ basis.T + 3).reshape(10, 4000, 6).transpose(0, 2, 1)[..., None].astype(np.float32)
    got = of(values)
    assert got.spectrum is not None
    assert np.allclose(got.spectrum[:4], variances[:4], rtol=0.05)
    assert (got.components(0.89), got.components(0.95), got.components(0.998)) == (1, 2, 3)
    expected = np.abs(np.corrcoef(values.transpose(1, 0, 2, 3).reshape(6, -1)))
    assert got.correlation == pytest.approx((expected.sum() - 6) / 30, abs=0.01)


def test_gaussian_channels_need_the_bits_of_reverse_water_filling() -> None:
    variances = np.array([16.0, 4.0, 1.0, 0.25])
    values = (RNG.normal(size=(10, 4, 100, 100)) * np.sqrt(variances)[:, None, None]).astype(np.float32)
    got = of(values)
    level = 1.0  # noise 1 + 1 + 1 + 0.25 of 21.25: components 1 and 2 are coded
    target = 10 * math.log10(21.25 / 3.25)
    expected = 0.5 * np.log2(variances[variances > level] / level).sum() * 100 * 100
    assert got.klt_estimated_bit(target) == pytest.approx(expected, rel=0.01)
    assert got.klt_estimated_bit(-1) == 0


def test_scalar_bits_at_a_target_are_those_of_the_step_that_reaches_it() -> None:
    values = RNG.normal(size=(10, 1, 100, 100)).astype(np.float32)
    got = of(values)
    # High resolution: entropy = h - log2(step), error = step^2 / 12 (Gish and Pierce 1968).
    step = math.sqrt(12 * 10 ** (-30 / 10))
    expected = 0.5 * math.log2(2 * math.pi * math.e) - math.log2(step)
    bits = got.scalar_estimated_bit(30)
    assert bits is not None
    assert bits / got.elements == pytest.approx(expected, abs=0.02)
    assert got.scalar_estimated_bit(200) is None
    lower = got.scalar_estimated_bit(10)
    assert lower is not None
    assert lower < bits


def test_a_constant_tensor_costs_nothing() -> None:
    for value in (0.0, 2.5):
        got = of(np.full((3, 2, 4, 4), value, np.float32))
        assert got.entropy_bit[4] == 0
        assert got.sqnr_db[4] == math.inf
        assert got.components(0.95) == 0
        assert got.correlation is None
        assert got.klt_estimated_bit(20) == 0


def test_without_enough_vectors_there_is_no_covariance() -> None:
    wide, few, enough = of(RNG.normal(size=(3, 5000))), of(RNG.normal(size=(10, 3))), of(RNG.normal(size=(12, 3)))
    assert (wide.spectrum, few.spectrum, few.components(0.95), few.klt_estimated_bit(20)) == (None,) * 4
    assert enough.components(1.0) == 3


def test_tokens_have_their_features_last() -> None:
    assert of(RNG.normal(size=(3, 7, 12))).channels == 12


def test_measure_takes_one_row_at_a_time_and_names_what_is_wrong() -> None:
    def rows() -> Iterator[dict[str, Array]]:
        for i in range(4):
            yield {"a": np.full((1, 2, 3, 3), i, np.float32), "b": np.ones((1, 4), np.float32)}

    got = measure(rows(), ["a", "b"])
    assert (got["a"].inputs, got["a"].high, got["b"].channels) == (4, 3.0, 4)
    with pytest.raises(ProfileError, match="no inputs"):
        measure([], ["a"])
    with pytest.raises(ProfileError, match=r"'a' holds NaN[\s\S]*input 1"):
        measure([{"a": np.ones((1, 2))}, {"a": np.full((1, 2), np.nan)}], ["a"])
    with pytest.raises(ProfileError, match="has shape"):
        measure([{"a": np.ones((1, 2))}, {"a": np.ones((1, 3))}], ["a"])


def test_integer_tensors_are_measured_too() -> None:
    got = of(RNG.integers(0, 256, (4, 3, 16, 16), dtype=np.uint8))
    assert got.sqnr_db[8] > 55
