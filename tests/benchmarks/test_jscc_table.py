"""What the figures and choices of benchmarks/jscc.py show of its rows."""

from __future__ import annotations

import re

import pytest

from splitpoint.benchmarks.jscc_table import TRAINED, Row, chosen, figures


def row(rate: str, uses: float, lost: float, *, ratio: float = 0.0, snr_db: float = 14.5, codec: str = TRAINED) -> Row:
    return Row(
        pool=4,
        ratio=ratio,
        head_macs=int(70e6 * (1.0 - ratio)),
        codec=codec,
        rate=rate,
        trained_snr_db=(14.5, 14.5) if codec == TRAINED else None,
        snr_db=snr_db,
        payload_bytes=None if codec == TRAINED else 40.0,
        uses=uses,
        uses_cqi=None if codec == TRAINED else 1.4 * uses,
        drop_points=lost,
        drop_low=lost - 0.5,
        drop_high=lost + 0.5,
        drop_halves=(lost - 0.6, lost + 0.6),
    )


ROWS = [
    row(rate, uses, lost + 5.0 * (snr_db < 10.0), ratio=ratio, snr_db=snr_db)
    for ratio, sizes in ((0.0, (8, 16, 32, 64)), (0.25, (5, 10, 19, 38)), (0.5, (4, 8, 16, 32)))
    for rate, uses, lost in zip(("1/32 ch", "1/16 ch", "1/8 ch", "1/4 ch"), sizes, (8.0, 3.0, 1.5, 1.0), strict=True)
    for snr_db in (0.0, 14.5)
]


def labels(svg: str) -> set[str]:
    return set(re.findall(r"[\d,]+ uses, \d+ % pruned", svg))


def test_figure_4_compares_shares_of_pruned_filters_at_about_one_bandwidth() -> None:
    shown = labels(figures(ROWS, 14.5, 60.0)["pool4-pruned"])
    assert shown == {"32 uses, 0 % pruned", "38 uses, 25 % pruned", "32 uses, 50 % pruned"}


def test_figure_5_compares_bandwidths_of_the_whole_head() -> None:
    shown = labels(figures(ROWS, 14.5, 60.0)["pool4-bandwidths"])
    assert shown == {f"{uses} uses, 0 % pruned" for uses in (8, 16, 32, 64)}


@pytest.mark.parametrize(("ratio", "uses"), [(0.0, 32.0), (0.25, 19.0), (0.5, 16.0)])
def test_the_fewest_uses_within_2_points_are_chosen_at_the_one_snr(ratio: float, uses: float) -> None:
    place = next(place for place in chosen(ROWS, 14.5) if place.ratio == ratio)
    assert place.best is not None
    assert place.best.uses == uses
    # One half lost 0.6 points less, which is 0.9 at that rate; the other 2.1, so that it takes the next.
    first, second = (half for half in place.halves if half is not None)
    assert (first[0], second[0]) == ("1/8 ch", "1/4 ch")
    assert (first[1], second[1]) == pytest.approx((2.1, 0.4))


def test_nothing_is_chosen_where_every_rate_loses_more() -> None:
    (place,) = chosen([row("q1", 100.0, 2.7, codec="kltq-ctx")], 14.5)
    assert place.best is None
    assert place.halves == (None, None)
