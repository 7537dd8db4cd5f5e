"""The result of leaving networks out: medians, shares, intervals, families, the ten worst, the noise floor."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from splitpoint.benchmarks.left_out import Table, interval_factors
from splitpoint.benchmarks.library_files import Entry
from splitpoint.benchmarks.published import chip

__all__ = ["latency_result", "noise_floor", "score"]

Floats = NDArray[np.float64]
WORST = 10
OFTEN = 2  # times off in as many other settings
BROKEN = 20.0  # times faster than the same unit of the same chip, which no clock and no cooling explains


def latency_result(
    tables: Mapping[str, Table],
    left_out: Mapping[str, Floats],
    few: Mapping[str, Floats],
    *,
    shipped: Mapping[str, tuple[Entry, str, int]],
    refused: Mapping[str, float],
    all_networks: Floats,
) -> dict[str, Any]:
    """What results/device-latency.json holds; `all_networks` are a GPU's errors with the network that is not used."""
    summary: dict[str, Any] = {}
    for kind, table in tables.items():
        errors, known = left_out[kind], ~np.isnan(left_out[kind])
        apart = interval_factors(errors, table.backbones)[1]
        inside = np.abs(errors[known]) <= np.log(apart[known])
        summary[kind] = {
            "settings": len(table.settings),
            "left_out": score(errors),
            "four_points": score(few[kind]),
            "interval_coverage": round(float(np.mean(inside)), 3),
            "noise_floor": noise_floor(table),
        }
    summary["gpu"]["left_out_with_efficientnetv2_b0"] = score(all_networks)
    summary["four_points"] = score(np.concatenate([few[kind].ravel() for kind in tables]))
    summary["shipped"] = score(np.concatenate([left_out[kind][row] for _, kind, row in shipped.values()]))
    profiles = {
        name: {"family": entry.family, **score(left_out[kind][row])} for name, (entry, kind, row) in shipped.items()
    }
    families: defaultdict[str, list[Floats]] = defaultdict(list)
    for entry, kind, row in shipped.values():
        families[f"{entry.family}, {kind}"].append(left_out[kind][row])
    return {
        "summary": summary,
        "families": {name: score(np.concatenate(rows)) for name, rows in sorted(families.items())},
        "worst": {kind: _worst(tables[kind], left_out[kind]) for kind in tables},
        "profiles": profiles,
        "refused": {
            name: "fewer than 15 networks" if math.isinf(error) else f"mean factor {error:.2f}"
            for name, error in refused.items()
        },
    }


def score(errors: Floats) -> dict[str, float]:
    """Median and mean factor, and shares within 1.25 and 1.5, of logarithms of predicted / measured."""
    sizes = np.abs(errors[~np.isnan(errors)])
    return {
        "points": len(sizes),
        "median_factor": round(float(np.exp(np.median(sizes))), 3),
        "mean_factor": round(float(np.exp(np.mean(sizes))), 3),
        "within_1.25": round(float(np.mean(sizes <= math.log(1.25))), 3),
        "within_1.5": round(float(np.mean(sizes <= math.log(1.5))), 3),
        "percentile_90_factor": round(float(np.exp(np.quantile(sizes, 0.9))), 3),
    }


def noise_floor(table: Table) -> dict[str, float]:
    """How far the two tables of one board in one setting are apart."""
    by_setting: defaultdict[tuple[object, ...], list[Floats]] = defaultdict(list)
    for setting, row in zip(table.settings, table.logs, strict=True):
        by_setting[setting.key[:4]].append(row)
    pairs = [np.asarray(rows[0] - rows[1]) for rows in by_setting.values() if len(rows) == 2]
    return {"pairs": len(pairs), **score(np.concatenate(pairs))} if pairs else {"pairs": 0}


def _worst(table: Table, errors: Floats) -> list[dict[str, Any]]:
    worst = []
    for flat in np.argsort(-np.abs(np.nan_to_num(errors)), axis=None)[:WORST].tolist():
        row, column = divmod(flat, errors.shape[1])
        setting = table.settings[row]
        worst.append(
            {
                "board": setting.board,
                "unit": setting.unit,
                "threads": setting.threads,
                "network": table.networks[column],
                "measured_ms": round(math.exp(table.logs[row, column]) * 1e3, 2),
                "predicted_over_measured": round(math.exp(errors[row, column]), 3),
                "likely_reason": _reason(table, errors, row, column),
            }
        )
    return worst


def _reason(table: Table, errors: Floats, row: int, column: int) -> str:
    """Which pattern a figure shows: a broken table, an uneven one, the network everywhere or often, or it alone."""
    broken = _broken(table, row)
    if broken:
        return broken
    board, network = float(np.nanmedian(np.abs(errors[row]))), float(np.nanmedian(errors[:, column]))
    if board > math.log(1.4):
        return f"the whole table of this board is uneven: median factor {math.exp(board):.2f}"
    if network * errors[row, column] > 0 and abs(network) > math.log(1.2):
        return f"the network is off everywhere: median factor {math.exp(network):.2f}"
    sign = math.copysign(1.0, errors[row, column])
    others = int(np.sum(sign * np.nan_to_num(errors[:, column]) > math.log(OFTEN))) - 1
    if others >= OFTEN:
        return f"the network is off by more than {OFTEN} the same way in {others} other settings"
    slow = sign < 0
    return "this figure alone: " + ("slower than the board's other networks" if slow else "faster than its others")


def _broken(table: Table, row: int) -> str:
    """What says that a table cannot be right: the same unit of the same chip in another table; empty where nothing."""
    here = table.settings[row]
    for other, logs in zip(table.settings, table.logs, strict=True):
        if other is here or (other.unit, chip(other.board)) != (here.unit, chip(here.board)):
            continue
        ratios = np.nan_to_num(logs - table.logs[row])
        most = int(np.argmax(ratios))
        if ratios[most] > math.log(BROKEN):
            took, there = (f"{1e3 * math.exp(one[most]):.3g} ms" for one in (table.logs[row], logs))
            return f"the table is broken: {table.networks[most]} in {took}, which takes the same chip {there} elsewhere"
    return ""
