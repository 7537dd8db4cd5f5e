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

from splitpoint.profiles.errors import ProfileError, shorten
from splitpoint.profiles.files.regular import TEXT_LIMIT_BYTES, read_text
from splitpoint.profiles.link.types import TraceLink

__all__ = ["Rates", "filled", "read_trace", "trace_seconds"]


def __dir__() -> list[str]:
    return __all__


Rates = tuple[tuple[float, ...], tuple[float, ...]]  # seconds, and bit/s during them

MOST_LINES = 2_000_000  # of a recording: mahimahi has one a packet
LONGEST_LINE = 1000  # characters
MOST_BINS = 1_000_000  # of a mahimahi trace: 28 hours
JSON_LIMIT_BYTES = 8 * 2**20  # JSON of this length makes objects of 200 MB at worst
LEAST_S, MOST_S = 1e-15, 1e9  # of a segment, as durations in a link's YAML file
LEAST_BIT_S, MOST_BIT_S = 1e-3, 1e18  # of the mean, of a segment
LARGEST = 1e18  # number in a recording, whatever its unit
MAHIMAHI_PACKET_BIT = 8 * 1500
MAHIMAHI_BIN_S = 0.1  # packets are counted in bins of this length
GAP_FACTOR = 10.0  # a step this many times the median is a gap in the recording


def read_trace(path: str | os.PathLike[str], form: str) -> Rates:
    """Durations and rates of a recording; raises ProfileError with the line for text, gaps and time going back.

    Its length is bounded, in bytes, lines and bins, and every duration and rate lies in the bounds of a link's.
    """
    text, where = read_text(path, limit=JSON_LIMIT_BYTES if form == "json" else TEXT_LIMIT_BYTES), str(path)
    durations, rates = _READERS[form](text, where)
    if not durations:
        raise ProfileError(f"{where}: the trace is empty")
    for values, least, most, what in ((durations, LEAST_S, MOST_S, "s"), (rates, 0.0, MOST_BIT_S, "bit/s")):
        for i in np.flatnonzero(~((np.array(values) >= least) & (np.array(values) <= most))).tolist()[:1]:
            raise ProfileError(
                f"{where}: expected {least:g} to {most:g} {what} in a segment, got {values[i]:g} in number {i + 1}"
            )
    _check_carries(durations, rates, where)
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
    _check_carries(link.durations_s, link.rates_bit_s, where, at=" - at `$.rates_bit_s`")
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
    within = np.minimum(within, np.asarray(durations_s, dtype=np.float64)[index])  # sums are rounded
    seconds: NDArray[np.float64] = np.maximum(rounds * period_s + edges[index] + within - start_s, 0.0)
    return seconds


def _mahimahi(text: str, where: str) -> tuple[list[float], list[float]]:
    stamps: list[int] = []
    most_ms = round(1000 * MAHIMAHI_BIN_S * MOST_BINS)
    for number, line in _lines(text, where):
        stamp = _number(line, where, number, "an integer number of milliseconds")
        if stamp > most_ms:
            raise ProfileError(
                f"{where}, line {number}: expected at most {most_ms} ms since the start, got {shorten(repr(line))}",
                fix="use a part of the recording; its stamps begin at 0",
            )
        if stamp != int(stamp) or stamp < 0:
            raise ProfileError(
                f"{where}, line {number}: expected an integer number of milliseconds, got {shorten(repr(line))}"
            )
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
    for number, line in _lines(text, where):
        fields = line.replace(",", " ").split()
        if len(fields) != 2:
            raise ProfileError(
                f"{where}, line {number}: expected two columns, seconds and Mbit/s, got {shorten(repr(line))}"
            )
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
    for number, line in _lines(text, where):
        fields = line.split()
        if len(fields) != 6:
            raise ProfileError(
                f"{where}, line {number}: expected six columns, got {len(fields)} in {shorten(repr(line))}"
            )
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
    except (ValueError, RecursionError) as error:
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
            # A bound first: integers beyond 1.8e308 have no float.
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LARGEST:
                got = shorten(repr(value))
                raise ProfileError(f"{where}: expected 0 to {LARGEST:g}, got {got} - at `$[{number}].{key}`")
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


def _lines(text: str, where: str) -> list[tuple[int, str]]:
    """Lines with their numbers from 1, empty ones left out; raises ProfileError for too many or too long ones."""
    if text.count("\n") > MOST_LINES:
        raise ProfileError(f"{where}: expected at most {MOST_LINES:,} lines, got more", fix="use a part of the trace")
    lines = [(i, line.strip()) for i, line in enumerate(text.split("\n"), start=1)]
    for number, line in lines:
        if len(line) > LONGEST_LINE:
            raise ProfileError(f"{where}, line {number}: expected at most {LONGEST_LINE} characters, got {len(line):,}")
    return [(number, line) for number, line in lines if line]


def _check_carries(durations_s: Sequence[float], rates_bit_s: Sequence[float], where: str, at: str = "") -> None:
    """Raise ProfileError where a trace carries nothing, or so little that no message would ever arrive."""
    if not any(rates_bit_s):
        raise ProfileError(f"{where}: the trace never carries a bit{at}")
    mean = float(np.dot(durations_s, rates_bit_s)) / math.fsum(durations_s)
    if mean <= LEAST_BIT_S:
        raise ProfileError(f"{where}: expected a mean of more than {LEAST_BIT_S:g} bit/s, got {mean:g}{at}")


def _number(field: str, where: str, line: int, what: str) -> float:
    try:
        value = float(field)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ProfileError(f"{where}, line {line}: expected {what}, got {shorten(repr(field))}")
    if abs(value) > LARGEST:
        raise ProfileError(f"{where}, line {line}: expected {what} up to {LARGEST:g}, got {shorten(repr(field))}")
    return value


def _rate(field: str, where: str, line: int, what: str) -> float:
    value = _number(field, where, line, what)
    if value < 0:
        raise ProfileError(f"{where}, line {line}: expected {what} at least 0, got {shorten(repr(field))}")
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
