"""Latencies that a user has, as a CSV file: one network a line, by a published name or an ONNX file, and its time.

The header has the column ``network`` and one of ``ms`` and ``s``, the unit of the times; other columns are not read.
"""

from __future__ import annotations

import csv
import dataclasses
import difflib
import functools
import io
import math
from collections.abc import Sequence
from pathlib import Path

from splitpoint.planner.cost.price import op_work
from splitpoint.planner.setup.inputs import load_source
from splitpoint.profiles.errors import ProfileError, shorten
from splitpoint.profiles.files.regular import read_text
from splitpoint.profiles.library.networks import backbone, published_networks
from splitpoint.profiles.machine.device import OpWork

__all__ = ["LEAST_NETWORKS", "KnownLatency", "read_latencies"]


def __dir__() -> list[str]:
    return __all__


UNITS = {"ms": 1e-3, "s": 1.0}  # columns of times, in seconds
LEAST_NETWORKS = 3
MOST_NETWORKS = 1000
LONGEST_S = 1e9  # as `profiles.units.PositiveSeconds`
SHORTEST_S = 1e-15
SHIPPED_PREFIX = "ncnn-"  # of the same names in the shipped files' `fitted_on`
EXAMPLE = "a first line such as: network,ms"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class KnownLatency:
    """The seconds of one inference of a network, and its operators."""

    network: str  # a published name, or the ONNX file as the table names it
    backbone: str  # networks that share it are left out together
    seconds: float
    ops: tuple[OpWork, ...]


def read_latencies(path: Path) -> tuple[KnownLatency, ...]:
    """The table in `path`, in its order, a network that is there twice with the same time once.

    Names of ONNX files are relative to the table. Raises `ProfileError`: no columns of that name, a time that is none,
    a network that cannot be counted or has two times, fewer than three networks.
    """
    found: dict[str, tuple[float, int]] = {}
    for line, name, seconds in _rows(path):
        before = found.setdefault(name, (seconds, line))
        if before[0] != seconds:
            raise ProfileError(
                f"{name!r} takes {before[0]:g} s in line {before[1]} and {seconds:g} s in line {line}",
                at=str(path),
                fix="keep one line for each network: the median of several runs",
            )
    if len(found) < LEAST_NETWORKS:
        raise ProfileError(
            f"{path}: expected the times of at least {LEAST_NETWORKS} networks, got {len(found)}",
            fix="add networks of other kinds (3x3, 1x1 and depthwise convolutions), or run splitpoint calibrate --out"
            " FILE on the machine",
        )
    return tuple(
        KnownLatency(network=name, backbone=backbone(name), seconds=seconds, ops=_count(name, path, line))
        for name, (seconds, line) in found.items()
    )


def _rows(path: Path) -> list[tuple[int, str, float]]:
    """Line, name of the network and seconds of every line that is not empty."""
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    rows: list[tuple[int, str, float]] = []
    try:
        network, time, unit = _columns(next(reader, []), path)
        for row in reader:
            at = f"{path}, line {reader.line_num}"
            if not any(cell.strip() for cell in row):
                continue
            if len(row) <= max(network, time):
                raise ProfileError(f"expected a network and its time in {unit}, got {shorten(repr(row))}", at=at)
            if len(rows) == MOST_NETWORKS:
                raise ProfileError(f"expected at most {MOST_NETWORKS} networks", at=at)
            name = row[network].strip().removeprefix(SHIPPED_PREFIX)
            rows.append((reader.line_num, name, _seconds(row[time], unit, at)))
    except csv.Error as error:
        raise ProfileError(f"expected comma-separated values: {error}", at=f"{path}, line {reader.line_num}") from error
    return rows


def _columns(header: Sequence[str], path: Path) -> tuple[int, int, str]:
    """Where the network and the time are, and the unit of the time."""
    names = [name.strip().lower() for name in header]
    times = [name for name in names if name in UNITS]
    got = f"got {shorten(', '.join(header))}" if header else "got nothing"
    if names.count("network") != 1:
        raise ProfileError(f"{path}: expected one column 'network', {got}", fix=EXAMPLE)
    if len(times) != 1:
        raise ProfileError(
            f"{path}: the unit of the times is not known: expected one column 'ms' or 's', {got}", fix=EXAMPLE
        )
    return names.index("network"), names.index(times[0]), times[0]


def _seconds(text: str, unit: str, at: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not SHORTEST_S < number * UNITS[unit] <= LONGEST_S:  # and not nan
        raise ProfileError(
            f"expected a time in {unit}, a number above 0, got {shorten(repr(text.strip()))}",
            at=at,
            fix="leave out networks that were not measured",
        )
    # 6.78 ms is 0.00678 s, not 0.0067800000000000004 s.
    return float(f"{number * UNITS[unit]:.15g}")


def _count(name: str, path: Path, line: int) -> tuple[OpWork, ...]:
    """The operators of a network by its published name, or of an ONNX file beside the table."""
    published = published_networks()
    if name in published:
        return published[name]
    if not name.endswith(".onnx"):
        close = [repr(near) for near in difflib.get_close_matches(name, published, n=3, cutoff=0.5)]
        meant = f"did you mean {' or '.join(close)}? " if close else ""
        raise ProfileError(
            f"unknown network {shorten(repr(name))}",
            at=f"{path}, line {line}",
            fix=f"{meant}an ONNX file (its name ends in .onnx), or one of {', '.join(sorted(published))}",
        )
    return _count_file(path.parent / name, f"{path}, line {line}")


@functools.cache
def _count_file(model: Path, at: str) -> tuple[OpWork, ...]:
    try:
        graph = load_source(str(model), None, constants={})
    except ProfileError as error:
        raise ProfileError(f"the network cannot be counted: {error.message}", at=at, fix=error.fix) from error
    if graph.uncounted:
        names = ", ".join(graph.uncounted)
        raise ProfileError(
            f"{model.name} cannot be counted: the multiply-adds of {names} are not known", at=at, fix="leave it out"
        )
    return tuple(op_work(graph, node) for node in graph.nodes)
