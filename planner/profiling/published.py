"""A device's compute numbers from published latencies of whole networks, and what is known of all devices before.

Every number is a cost (seconds a multiply-add, a byte, an operator) and its logarithm has a normal distribution over
the devices of one kind, learned from about 200 CPU and 46 GPU settings (benchmarks/fit_profiles.py): a device with four
published latencies borrows the rest. Residuals are of logarithms, with Student's t for thermal outliers: its negative
log-likelihood is written as a sum of squares, which scipy's least squares minimizes.
"""

from __future__ import annotations

import functools
import importlib.resources
import json
from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.machine.device import (
    AMOUNTS,
    PRECISION_BYTES,
    Compute,
    Kernels,
    OpWork,
    costs_of_each,
    count_amounts,
)

__all__ = [
    "Kind",
    "Prior",
    "compute_of",
    "costs_of",
    "features",
    "fit_costs",
    "load_prior",
    "posterior_covariance",
]


def __dir__() -> list[str]:
    return __all__


Kind = Literal["cpu", "gpu"]
Floats = NDArray[np.float64]

DIGITS = 4  # of the numbers that a profile keeps
LEAST_COST = 1e-18  # seconds: below any; differences of rounded numbers may be 0


class Prior(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Logarithms of the costs over devices: mean (16,), covariance (16, 16); and what a published figure is good to."""

    mean: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]
    sigma: float  # scale of the residuals' t distribution, of the logarithm
    freedom: float  # its degrees of freedom
    interval_factor: float  # that 90 % of left-out networks are within, of a device that nothing else is known of


@functools.cache
def load_prior(kind: Kind) -> Prior:
    """The shipped prior of CPUs or GPUs."""
    text = (importlib.resources.files("splitpoint.profiles.library") / "priors.json").read_text(encoding="utf-8")
    return msgspec.convert(json.loads(text)[kind], Prior)


def features(ops: Sequence[OpWork]) -> Floats:
    """`AMOUNTS` in one inference of `ops`, bytes at fp32, shape (16,)."""
    return np.asarray(count_amounts(ops, [4 / op.element_bytes for op in ops]).sum(axis=0))


def fit_costs(amounts: Floats, seconds: Floats, prior: Prior, start: Floats | None = None) -> Floats:
    """Logarithms of the costs, shape (16,), most probable after `seconds` (networks,) of `amounts` (networks, 16).

    Raises `ProfileError` where scipy is not installed.
    """
    try:
        from scipy.optimize import least_squares
    except ImportError as error:
        raise ProfileError("a fit to latencies needs scipy", fix="python -m pip install 'splitpoint[plan]'") from error

    mean, whiten = np.array(prior.mean), np.linalg.inv(np.linalg.cholesky(np.array(prior.covariance)))
    wanted, freedom = np.log(seconds), prior.freedom

    def residuals(logs: Floats) -> Floats:
        error = (np.log(amounts @ np.exp(logs)) - wanted) / prior.sigma
        # Of Student's t, (freedom + 1) / 2 log(1 + error^2 / freedom), as half a square.
        robust = np.sign(error) * np.sqrt((freedom + 1) * np.log1p(error**2 / freedom))
        return np.concatenate([robust, whiten @ (logs - mean)])

    def jacobian(logs: Floats) -> Floats:
        costs = np.exp(logs)
        shares = amounts * costs / (amounts @ costs)[:, None]
        error = (np.log(amounts @ costs) - wanted) / prior.sigma
        robust = np.sqrt((freedom + 1) * np.log1p(error**2 / freedom))
        # d robust / d error; its limit at 0 is sqrt((freedom + 1) / freedom).
        small = robust < 1e-6
        slope = (freedom + 1) * np.abs(error) / (freedom + error**2) / np.where(small, 1.0, robust)
        slope = np.where(small, np.sqrt((freedom + 1) / freedom), slope)
        return np.concatenate([slope[:, None] * shares / prior.sigma, whiten])

    found = least_squares(residuals, mean if start is None else start, jac=jacobian, method="lm", xtol=1e-10)
    return np.asarray(found.x)


def posterior_covariance(amounts: Floats, seconds: Floats, prior: Prior, logs: Floats) -> Floats:
    """Covariance of the logarithms of the costs around `logs`, by the curvature there; shape (16, 16)."""
    costs = np.exp(logs)
    shares = amounts * costs / (amounts @ costs)[:, None]
    error = (np.log(amounts @ costs) - np.log(seconds)) / prior.sigma
    weights = (prior.freedom + 1) / (prior.freedom + error**2) / prior.sigma**2
    precision = np.linalg.inv(np.array(prior.covariance))
    return np.asarray(np.linalg.inv(shares.T @ (weights[:, None] * shares) + precision))


def compute_of(logs: Floats, precision: str) -> Compute:
    """The numbers of a profile from the logarithms of the costs; bytes are those that `precision` stores."""
    cost = dict(zip(AMOUNTS, np.exp(logs).tolist(), strict=True))
    stored = PRECISION_BYTES[precision] / 4

    def rate(seconds: float) -> float:
        return _rounded(1 / seconds)

    return Compute(
        dense_macs_s=rate(cost["dense_macs"]),
        pointwise_macs_s=rate(cost["pointwise_macs"]),
        depthwise_macs_s=rate(cost["depthwise_macs"]),
        matmul_macs_s=rate(cost["matmul_macs"]),
        bytes_s=rate(cost["weighted_bytes"] / stored),
        node_overhead_s=_rounded(cost["weighted_operators"]),
        run_overhead_s=0.0,
        kernels=Kernels(
            winograd_macs_s=rate(cost["winograd_macs"]),
            winograd_read_bytes_s=rate(cost["winograd_read_bytes"] / stored),
            pointwise_read_bytes_s=rate(cost["pointwise_read_bytes"] / stored),
            wide_depthwise_macs_s=rate(cost["depthwise_macs"] + cost["wide_macs"]),
            grouped_macs_s=rate(cost["grouped_macs"]),
            chain_macs_s=rate(cost["chain_macs"]),
            suppression_macs_s=rate(cost["suppression_macs"]),
            other_bytes_s=rate(cost["other_bytes"] / stored),
            moved_bytes_s=rate((cost["other_bytes"] + cost["moved_bytes"]) / stored),
            other_overhead_s=_rounded(cost["other_operators"]),
        ),
    )


def costs_of(compute: Compute, precision: str) -> Floats:
    """Logarithms of the costs, shape (16,), of which `compute_of` made `compute`, but for what it rounded."""
    if compute.kernels is None:
        raise ValueError("a profile without kernels has other numbers")
    stored = [PRECISION_BYTES[precision] / 4 if name.endswith("_bytes") else 1.0 for name in AMOUNTS]
    return np.log(np.maximum(costs_of_each(compute, compute.kernels) * stored, LEAST_COST))


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
