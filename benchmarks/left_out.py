"""How far fitted profiles are off for networks that they were not fitted to, and what devices have in common.

A network is left out with all that share its backbone, of every device: what is learned of all devices does not see it
either. With four points given, every other entry of the same chip is left out, too.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from splitpoint.benchmarks.published import Setting, chip
from splitpoint.planner.profiling.published import Prior, features, fit_costs, posterior_covariance
from splitpoint.profiles.library.networks import backbone, published_networks
from splitpoint.profiles.machine.device import AMOUNTS

__all__ = ["FREEDOM", "SIGMA", "Table", "few_points", "interval_factors", "learn", "leave_out", "table_of"]

Floats = NDArray[np.float64]

SIGMA = {"cpu": 0.15, "gpu": 0.3}  # of a published latency about the law, relative: medians of the left-out errors
FREEDOM = {"cpu": 4.0, "gpu": 2.0}
LEARNING_ROUNDS = 8  # of expectation and maximization; the error of left-out networks moves by less than 0.001 after 6
LEAST_SPREAD = 0.2  # of the logarithm of a cost between devices
FOLDS = 10  # of chips
GIVEN = 4


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Table:
    """Settings against networks: logarithms of seconds (settings, networks), nan where not published."""

    settings: tuple[Setting, ...]
    networks: tuple[str, ...]
    amounts: Floats  # (networks, 16)
    logs: Floats

    def without(self, networks: NDArray[np.bool_]) -> Table:
        return dataclasses.replace(self, logs=np.where(networks[None], np.nan, self.logs))

    def of(self, settings: Sequence[int]) -> Table:
        index = list(settings)
        return dataclasses.replace(self, settings=tuple(self.settings[i] for i in index), logs=self.logs[index])

    @property
    def backbones(self) -> NDArray[np.str_]:
        return np.array([backbone(name) for name in self.networks])


def table_of(settings: Sequence[Setting], *, kind: str, least: int = 15, all_networks: bool = False) -> Table:
    """The settings of a kind with at least so many networks that can be counted.

    ncnn's Vulkan had no Reduction before 2026 (src/layer/vulkan/reduction_vulkan.cpp is of that year):
    efficientnetv2_b0 went to the CPU and back 16 times, so it does not tell the speed of a GPU (`all_networks` has it).
    """
    counted = published_networks()
    networks = tuple(name for name in counted if all_networks or kind == "cpu" or name != "efficientnetv2_b0")
    chosen = [s for s in settings if s.kind == kind and sum(name in networks for name in s.seconds) >= least]
    return Table(
        settings=tuple(chosen),
        networks=networks,
        amounts=np.stack([features(counted[name]) for name in networks]),
        logs=np.array([[math.log(s.seconds.get(name, math.nan)) for name in networks] for s in chosen]),
    )


def _vague(table: Table, kind: str) -> Prior:
    """Every part of a network costs the same, give or take a factor of five: where learning starts."""
    size = len(AMOUNTS)
    mean = np.nanmean(table.logs) - np.log(table.amounts.mean(axis=0)) - math.log(size)
    covariance = 1.5 * np.eye(size) + np.ones((size, size))
    return Prior(
        mean=tuple(mean.tolist()),
        covariance=tuple(tuple(row) for row in covariance.tolist()),
        sigma=SIGMA[kind],
        freedom=FREEDOM[kind],
        interval_factor=2.0,
    )


def learn(table: Table, kind: str, *, start: Prior | None = None, rounds: int = LEARNING_ROUNDS) -> Prior:
    """Mean and covariance of the costs' logarithms over devices, by expectation and maximization."""
    prior = _vague(table, kind) if start is None else start
    costs: list[Floats | None] = [None] * len(table.settings)
    for _ in range(rounds):
        spread = 2 * LEAST_SPREAD**2 * np.eye(len(AMOUNTS))
        for i, row in enumerate(table.logs):
            known = ~np.isnan(row)
            if not known.any():
                continue
            seconds = np.exp(row[known])
            logs = fit_costs(table.amounts[known], seconds, prior, costs[i])
            costs[i] = logs
            spread = spread + posterior_covariance(table.amounts[known], seconds, prior, logs)
        fitted = np.stack([logs for logs in costs if logs is not None])
        mean = fitted.mean(axis=0)
        covariance = ((fitted - mean).T @ (fitted - mean) + spread) / (len(fitted) + 2)
        prior = msgspec.structs.replace(
            prior, mean=tuple(mean.tolist()), covariance=tuple(tuple(row) for row in covariance.tolist())
        )
    return prior


def leave_out(table: Table, kind: str, prior: Prior) -> Floats:
    """log(predicted / measured) of every published figure, its backbone left out; shape (settings, networks)."""
    errors = np.full(table.logs.shape, np.nan)
    for name in dict.fromkeys(table.backbones.tolist()):
        out = table.backbones == name
        rest = table.without(out)
        own = learn(rest, kind, start=prior, rounds=LEARNING_ROUNDS // 2)
        for i, row in enumerate(rest.logs):
            known = ~np.isnan(row)
            logs = fit_costs(table.amounts[known], np.exp(row[known]), own)
            errors[i, out] = np.log(table.amounts[out] @ np.exp(logs)) - table.logs[i, out]
    return errors


def few_points(table: Table, kind: str, prior: Prior, *, seed: int = 0) -> Floats:
    """As `leave_out`, with four networks given, drawn among those left; chips are left out a tenth at a time."""
    rng = np.random.default_rng(seed)
    chips = np.array([chip(s.board) for s in table.settings])
    names = rng.permutation(sorted(set(chips.tolist())))
    errors = np.full(table.logs.shape, np.nan)
    for fold in range(FOLDS):
        here = np.isin(chips, names[fold::FOLDS])
        others = table.of(np.flatnonzero(~here).tolist())
        for name in dict.fromkeys(table.backbones.tolist()):
            out = table.backbones == name
            own = learn(others.without(out), kind, start=prior, rounds=2)
            for i in np.flatnonzero(here):
                known = np.flatnonzero(~np.isnan(table.logs[i]) & ~out)
                given = rng.choice(known, GIVEN, replace=False)
                logs = fit_costs(table.amounts[given], np.exp(table.logs[i, given]), own)
                errors[i, out] = np.log(table.amounts[out] @ np.exp(logs)) - table.logs[i, out]
    return errors


POOLED = 10.0  # points that what all devices miss by counts as, beside a device's own
COVERAGE = 0.9


def interval_factors(errors: Floats, backbones: NDArray[np.str_]) -> tuple[Floats, Floats, float]:
    """Factors of each setting's 90 % interval, factors that the other backbones alone give, and what all miss by.

    The spread of a setting is that of its own left-out networks and, as ten more, that of all settings; how many
    spreads 90 % are within is counted over all settings. Shapes (settings,), (settings, networks) and a factor.
    """
    squares, known = np.nan_to_num(errors) ** 2, ~np.isnan(errors)
    pooled = float(np.median(np.abs(errors[known])) / 0.6745) ** 2
    spread = np.sqrt((squares.sum(axis=1) + POOLED * pooled) / (known.sum(axis=1) + POOLED))
    apart = np.empty_like(errors)
    for name in dict.fromkeys(backbones.tolist()):
        rest = backbones != name
        total = squares[:, rest].sum(axis=1) + POOLED * pooled
        apart[:, ~rest] = np.sqrt(total / (known[:, rest].sum(axis=1) + POOLED))[:, None]
    width = float(np.quantile(np.abs(errors[known]) / apart[known], COVERAGE))
    everywhere = float(np.exp(np.quantile(np.abs(errors[known]), COVERAGE)))
    return np.exp(width * spread), np.exp(width * apart), everywhere
