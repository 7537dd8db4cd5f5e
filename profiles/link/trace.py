"""Recorded links: readers of four public formats, and the seconds a message takes from a moment on.

mahimahi: one integer a line, the millisecond at which one packet of 1500 bytes may be sent. two-column: seconds and
Mbit/s a line (Pensieve). ghent: epoch ms, ms since start, latitude, longitude, bytes, ms since the line before
(van der Hooft et al. 2016). json: a list of {duration_ms, bandwidth_kbps, latency_ms} (Sabre).
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.files.structs import read_text
from splitpoint.profiles.link.types import TraceLink

__all__ = ["Rates", "filled", "read_trace", "trace_seconds"]


def __dir__() -> list[str]:
    return __all__


Rates = tuple[tuple[float, ...], tuple[float, ...]]  # seconds, and bit/s during them

MAHIMAHI_PACKET_BIT = 8 * 1500
MAHIMAHI_BIN_S = 0.1  # packets are counted in bins of this length
GAP_FACTOR = 10.0  # a step this many times the median is a gap in the recording


def read_trace(path: str | os.PathLike[str], form: str) -> Rates:
    """Durations and rates of a recording; raises ProfileError with the line for text, gaps and time going back."""
    text, where = read_text(path), str(path)
    durations, rates = _READERS[form](text, where)
    if not durations:
        raise ProfileError(f"{where}: the trace is empty")
    if not any(rates):
        raise ProfileError(f"{where}: the trace never carries a bit")
    return tuple(durations), tuple(rates)


def filled(link: TraceLink, folder: Path, where: str) -> TraceLink:
    """`link` with the rates of its `file`, which is relative to `folder`; checks rates that the YAML file contains."""
    if link.file is not None:
        if link.rates_bit_s or link.durations_s:
            raise ProfileError(f"{where}: a trace has a file or rates of its own, got both - at `$.file`")
        if link.format is None:
            raise ProfileError(f"{where}: missing field 'format' - at `$`", fix=f"one of {', '.join(_READERS)}")
        durations_s, rates_bit_s = read_trace(folder / link.file, link.format)
        return msgspec.structs.replace(link, durations_s=durations_s, rates_bit_s=rates_bit_s)
    if len(link.durations_s) != len(link.rates_bit_s):
        raise ProfileError(
            f"{where}: expected as many durations as rates, got {len(link.durations_s)} and {len(link.rates_bit_s)} "
            "- at `$.durations_s`"
        )
    if not any(link.rates_bit_s):
        raise ProfileError(f"{where}: the trace never carries a bit - at `$.rates_bit_s`")
    return link


def trace_seconds(
    durations_s: Sequence[float], rates_bit_s: Sequence[float], bits: float, start_s: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Seconds from each start (within the trace, which repeats) until `bits` have been carried; same shape."""
    edges = np.concatenate([[0.0], np.cumsum(durations_s)])  # (n + 1,)
    carried = np.concatenate([[0.0], np.cumsum(np.multiply(durations_s, rates_bit_s))])  # bits at the edges
    period_s, period_bit = edges[-1], carried[-1]
    wanted = np.interp(start_s, edges, carried) + bits
    rounds = np.floor(wanted / period_bit)
    rest = wanted - rounds * period_bit
    # A whole round ends at the last moment that carried a bit, not at the end of the silence after it.
    whole = (rest == 0) & (rounds > 0)
    rounds, rest = np.where(whole, rounds - 1, rounds), np.where(whole, period_bit, rest)
    index = np.clip(np.searchsorted(carried, rest, side="left") - 1, 0, len(durations_s) - 1)
    rate = np.asarray(rates_bit_s, dtype=np.float64)[index]
    within = np.divide(rest - carried[index], rate, out=np.zeros_like(rest), where=rate > 0)
    seconds: NDArray[np.float64] = np.maximum(rounds * period_s + edges[index] + within - start_s, 0.0)
    return seconds


def _mahimahi(text: str, where: str) -> tuple[list[float], list[float]]:
    stamps: list[int] = []
    for number, line in _lines(text):
        stamp = _number(line, where, number, "an integer number of milliseconds")
        if stamp != int(stamp) or stamp < 0:
            raise ProfileError(f"{where}, line {number}: expected an integer number of milliseconds, got {line!r}")
        if stamps and stamp < stamps[-1]:
            raise ProfileError(f"{where}, line {number}: time runs backwards, from {stamps[-1]} to {line} ms")
        stamps.append(int(stamp))
    if not stamps:
        return [], []
    # The file repeats from its last line on, which is therefore its length; bins end there.
    length_s = max(stamps[-1], 1) / 1000
    bins = max(1, round(length_s / MAHIMAHI_BIN_S))
    counts, _ = np.histogram(np.array(stamps) / 1000, bins=bins, range=(0.0, length_s))
    step_s = length_s / bins
    return [step_s] * bins, [float(count) * MAHIMAHI_PACKET_BIT / step_s for count in counts]


def _two_column(text: str, where: str) -> tuple[list[float], list[float]]:
    stamps: list[float] = []
    rates: list[float] = []
    for number, line in _lines(text):
        fields = line.replace(",", " ").split()
        if len(fields) != 2:
            raise ProfileError(f"{where}, line {number}: expected two columns, seconds and Mbit/s, got {line!r}")
        stamps.append(_number(fields[0], where, number, "seconds"))
        rates.append(1e6 * _rate(fields[1], where, number, "Mbit/s"))
    if len(stamps) < 2:
        raise ProfileError(f"{where}: a two-column trace needs at least two lines, got {len(stamps)}")
    durations = _steps(stamps, where)
    # A line's rate holds until the next line; the last one gets the usual step.
    return [*durations, float(np.median(durations))], rates


def _ghent(text: str, where: str) -> tuple[list[float], list[float]]:
    durations: list[float] = []
    rates: list[float] = []
    stamps: list[float] = []
    for number, line in _lines(text):
        fields = line.split()
        if len(fields) != 6:
            raise ProfileError(f"{where}, line {number}: expected six columns, got {len(fields)} in {line!r}")
        stamps.append(_number(fields[1], where, number, "milliseconds since the start") / 1000)
        n_bytes = _rate(fields[4], where, number, "bytes since the line before")
        step_s = _number(fields[5], where, number, "milliseconds since the line before") / 1000
        if step_s <= 0:
            raise ProfileError(f"{where}, line {number}: time runs backwards, {fields[5]} ms since the line before")
        durations.append(step_s)
        rates.append(8 * n_bytes / step_s)
    _steps(stamps, where)
    return durations, rates


def _json(text: str, where: str) -> tuple[list[float], list[float]]:
    try:
        entries = json.loads(text)
    except ValueError as error:
        raise ProfileError(f"{where}: not JSON: {error}") from error
    if not isinstance(entries, list):
        raise ProfileError(f"{where}: expected a list of segments, got {type(entries).__name__}")
    durations: list[float] = []
    rates: list[float] = []
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict) or not {"duration_ms", "bandwidth_kbps"} <= entry.keys():
            raise ProfileError(f"{where}: expected duration_ms and bandwidth_kbps - at `$[{number}]`")
        values = {key: entry[key] for key in ("duration_ms", "bandwidth_kbps")}
        for key, value in values.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
                raise ProfileError(f"{where}: expected a number at least 0, got {value!r} - at `$[{number}].{key}`")
        if values["duration_ms"] == 0:
            raise ProfileError(f"{where}: expected a time more than 0 - at `$[{number}].duration_ms`")
        durations.append(values["duration_ms"] / 1000)
        rates.append(values["bandwidth_kbps"] * 1000)
    return durations, rates


_READERS: Mapping[str, Callable[[str, str], tuple[list[float], list[float]]]] = {
    "mahimahi": _mahimahi,
    "two-column": _two_column,
    "ghent": _ghent,
    "json": _json,
}


def _lines(text: str) -> list[tuple[int, str]]:
    """Lines with their numbers from 1, empty ones left out."""
    return [(i, line.strip()) for i, line in enumerate(text.splitlines(), start=1) if line.strip()]


def _number(field: str, where: str, line: int, what: str) -> float:
    try:
        value = float(field)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ProfileError(f"{where}, line {line}: expected {what}, got {field!r}")
    return value


def _rate(field: str, where: str, line: int, what: str) -> float:
    value = _number(field, where, line, what)
    if value < 0:
        raise ProfileError(f"{where}, line {line}: expected {what} at least 0, got {field!r}")
    return value


def _steps(stamps_s: Sequence[float], where: str) -> list[float]:
    """Differences of the time stamps; refuses time that does not advance or goes back, and gaps."""
    steps = np.diff(np.asarray(stamps_s, dtype=np.float64))
    if len(steps) == 0:
        return []
    for i in np.flatnonzero(steps <= 0).tolist():
        raise ProfileError(
            f"{where}: time runs backwards, from {stamps_s[i]:g} to {stamps_s[i + 1]:g} s, at sample {i + 2}"
        )
    usual_s = float(np.median(steps))
    for i in np.flatnonzero(steps > GAP_FACTOR * usual_s).tolist():
        raise ProfileError(
            f"{where}: a gap of {steps[i]:g} s behind sample {i + 1}, where samples are {usual_s:g} s apart",
            fix="cut the trace at the gap and use one part",
        )
    return [float(step) for step in steps]
