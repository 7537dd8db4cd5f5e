"""The table of benchmarks/jscc.py: its rows, what was chosen of them, and the figures of the paper."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from splitpoint.benchmarks.figure import curves

__all__ = ["HEADER", "TRAINED", "Row", "chosen", "figures", "line"]

TRAINED: Final = "jankowski-jscc"
MOST_LOST: Final = 2.0  # points, of figure 3
COMPARED: Final = "1/8 ch"  # whose channel uses figure 4 compares shares of pruned filters at


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One codec at one rate and SNR, behind one network's head."""

    pool: int  # after which it is cut; 0: the picture is sent
    ratio: float  # of the filters before it that were removed
    head_macs: int
    codec: str
    rate: str
    trained_snr_db: tuple[float, float] | None  # None: not trained
    snr_db: float
    payload_bytes: float | None  # mean; None: no bits cross
    uses: float  # at capacity, where bits cross
    uses_cqi: float | None  # at the rate of a modulation and coding scheme; None: there is none, or symbols cross
    drop_points: float
    drop_low: float  # 95 % interval, paired
    drop_high: float
    drop_halves: tuple[float, float]  # of each stratified half of the pictures
    images: int = 0  # trained on
    prune_images: int = 0
    network_images: int = 0  # that the network was trained on with the codec

    @property
    def end_to_end(self) -> bool:
        """Whether the network was trained with the codec."""
        return self.network_images > 0


class Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """The fewest channel uses of a codec behind a network that lose at most 2 points (figure 3)."""

    pool: int
    ratio: float
    codec: str
    trained_snr_db: tuple[float, float] | None
    end_to_end: bool
    best: Row | None  # of all pictures; None: every rate loses more
    halves: tuple[tuple[str, float] | None, ...]  # rate chosen on one half of the pictures, points lost on the other


def chosen(rows: Sequence[Row], snr_db: float) -> list[Chosen]:
    """Of each network and codec, at one SNR."""
    places: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        if row.snr_db == snr_db:
            place = (row.pool, row.ratio, row.codec, row.trained_snr_db, row.end_to_end)
            places.setdefault(place, []).append(row)
    return [
        Chosen(
            **dict(zip(("pool", "ratio", "codec", "trained_snr_db", "end_to_end"), place, strict=True)),
            best=_fewest(here, [row.drop_points for row in here]),
            halves=tuple(_judged(here, half) for half in (0, 1)),
        )
        for place, here in places.items()
    ]


def _judged(rows: Sequence[Row], half: int) -> tuple[str, float] | None:
    row = _fewest(rows, [row.drop_halves[half] for row in rows])
    return None if row is None else (row.rate, row.drop_halves[1 - half])


def _fewest(rows: Sequence[Row], lost: Sequence[float]) -> Row | None:
    good = [row for row, points in zip(rows, lost, strict=True) if points <= MOST_LOST]
    return min(good, key=lambda row: row.uses, default=None)


def figures(rows: Sequence[Row], snr_db: float, top1: float) -> dict[str, str]:
    """SVGs by name, as the paper's: figure 3 "uses", after each pool figure 4 "poolN-pruned" and 5 "poolN-bandwidths".

    Accuracy over the SNR for each share of pruned filters at about one bandwidth (4) and for each bandwidth (5);
    multiply-adds over channel uses at `snr_db` (3).
    """
    found = {}
    for pool in dict.fromkeys(row.pool for row in rows if row.codec == TRAINED):
        here = [row for row in rows if row.codec == TRAINED and row.pool == pool]
        for name, shown in (("pruned", _of_one_bandwidth(here)), ("bandwidths", _of_the_whole_head(here))):
            series: dict[str, list[tuple[float, float]]] = {}
            for row in sorted(shown, key=lambda row: (row.ratio, row.uses, row.snr_db)):
                series.setdefault(_label(row), []).append((row.snr_db, top1 - row.drop_points))
            found[f"pool{pool}-{name}"] = curves(
                series,
                title=f"VGG16 after pool {pool}, {TRAINED}",
                x_label="SNR in dB",
                y_label="top-1 in %",
                y_range=(0.0, 65.0),
                logarithmic=False,
            )
    best = [place.best for place in chosen(rows, snr_db) if place.best is not None]
    if best:
        series = {}
        for row in best:
            pruned = f", {100 * row.ratio:.0f} % pruned" if row.pool else ""
            series.setdefault(f"{row.codec}{pruned}", []).append((row.uses, row.head_macs / 1e6))
            if row.uses_cqi is not None:
                series.setdefault(f"{row.codec}{pruned}, CQI", []).append((row.uses_cqi, row.head_macs / 1e6))
        found["uses"] = curves(
            series,
            title=f"VGG16, fewest channel uses that lose at most {MOST_LOST:g} points at {snr_db:g} dB",
            x_label="channel uses (logarithmic)",
            y_label="million multiply-adds on the device",
            y_range=(
                0.0,
                10.0 * math.ceil(max(row.head_macs for row in best) / 1e7 + 0.1),
            ),
        )
    return found


def _of_the_whole_head(rows: Sequence[Row]) -> list[Row]:
    """Those of the smallest share of pruned filters, none of them as a rule."""
    least = min(row.ratio for row in rows)
    return [row for row in rows if row.ratio == least]


def _of_one_bandwidth(rows: Sequence[Row]) -> list[Row]:
    """For each share, those whose channel uses are nearest (as a ratio) to the least pruned head's at `COMPARED`.

    A pruned head has fewer channels, so the same share of them is fewer uses.
    """
    wanted = next((row.uses for row in _of_the_whole_head(rows) if row.rate == COMPARED), rows[0].uses)
    nearest = {
        ratio: min(
            (row.uses for row in rows if row.ratio == ratio),
            key=lambda uses: abs(math.log(uses / wanted)),
        )
        for ratio in {row.ratio for row in rows}
    }
    return [row for row in rows if row.uses == nearest[row.ratio]]


def _label(row: Row) -> str:
    whole = ", end to end" if row.end_to_end else ""
    return f"{row.uses:,.0f} uses, {100 * row.ratio:.0f} % pruned{whole}"


HEADER = (
    f"{'pool':>4} {'pruned':>6} {'head':>9} {'codec':<15} {'rate':>8} {'uses':>7} {'at CQI':>7} {'bytes':>6}"
    f" {'points lost (95 %)':>22} {'halves':>14} {'images':>10}"
)


def line(row: Row) -> str:
    """A row as text below `HEADER`."""
    drop = f"{row.drop_points:.2f} [{row.drop_low:.2f}, {row.drop_high:.2f}]"
    halves = " / ".join(f"{half:.2f}" for half in row.drop_halves)
    cqi = "-" if row.uses_cqi is None else f"{row.uses_cqi:,.0f}"
    size = "-" if row.payload_bytes is None else f"{row.payload_bytes:,.0f}"
    return (
        f"{row.pool or 'none':>4} {100 * row.ratio:>4.0f} % {row.head_macs / 1e6:>6.1f} M {row.codec:<15} {row.rate:>8}"
        f" {row.uses:>7,.0f} {cqi:>7} {size:>6} {drop:>22} {halves:>14} {row.images:>10,}"
    )
