"""A link at another rate or SNR keeps everything else, and has that rate."""

from __future__ import annotations

import msgspec
import pytest

from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.library.catalog import list_profiles, load_link
from splitpoint.profiles.link.adjust import at_rate, at_snr
from splitpoint.profiles.link.link import mean_rate_bit_s
from splitpoint.profiles.link.types import AwgnLink, FixedLink, TraceLink

LINKS = [entry.name for entry in list_profiles() if entry.kind == "link"]
RATE_FIELDS = {"uplink_bit_s", "bandwidth_hz", "rates_bit_s"}


@pytest.mark.parametrize("rate", [3e3, 2e6, 7.7e8])
@pytest.mark.parametrize("name", LINKS)
def test_every_shipped_link_has_the_rate_and_all_else_as_it_was(name: str, rate: float) -> None:
    link = load_link(name)
    other = at_rate(link, rate)
    assert mean_rate_bit_s(other) == pytest.approx(rate, rel=1e-12)
    before, after = msgspec.structs.asdict(link), msgspec.structs.asdict(other)
    changed = {field for field in before if before[field] != after[field]}
    assert changed <= RATE_FIELDS
    assert len(changed) == 1


def test_its_own_rate_gives_the_link_itself() -> None:
    for name in LINKS:
        link = load_link(name)
        assert mean_rate_bit_s(at_rate(link, mean_rate_bit_s(link))) == pytest.approx(mean_rate_bit_s(link))


def test_a_link_that_carries_nothing_has_no_bandwidth_for_a_rate() -> None:
    with pytest.raises(ProfileError, match="carries nothing"):
        at_rate(at_snr(load_link("awgn-5db"), -100.0), 1e6)


def test_the_snr_of_radio_links() -> None:
    low, high = (mean_rate_bit_s(at_snr(load_link("awgn-5db"), db)) for db in (5.0, 15.0))
    assert low == mean_rate_bit_s(load_link("awgn-5db")) < high
    assert mean_rate_bit_s(at_snr(load_link("rayleigh-10db"), 20.0)) > mean_rate_bit_s(load_link("rayleigh-10db"))
    for name in LINKS:
        if isinstance(load_link(name), FixedLink | TraceLink):
            with pytest.raises(ProfileError, match="no signal-to-noise ratio"):
                at_snr(load_link(name), 10.0)


@pytest.mark.parametrize("text", ["2Mbit/s", "2 Mbit/s", "250 kB/s"])
def test_a_name_with_a_rate_is_that_link_at_the_rate(text: str) -> None:
    link = load_link(f"lte-cat1@{text}")
    assert mean_rate_bit_s(link) == 2e6
    assert link.name == f"lte-cat1@{text}"
    assert link.rtt_s == load_link("lte-cat1").rtt_s


def test_a_name_with_an_snr_and_one_with_both() -> None:
    assert mean_rate_bit_s(load_link("awgn-5db@5dB")) == mean_rate_bit_s(load_link("awgn-5db"))
    both = load_link("awgn-5db@12dB@2Mbit/s")
    assert isinstance(both, AwgnLink)
    assert both.snr_db == 12.0
    assert mean_rate_bit_s(both) == pytest.approx(2e6)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("wifi-5@fast", "expected a rate"),
        ("wifi-5@-1 Mbit/s", "more than"),
        ("wifi-5@12dB", "no signal-to-noise ratio"),
        ("awgn-5db@900dB", "at most"),
        ("wfi-5@2Mbit/s", "unknown link 'wfi-5'"),
    ],
)
def test_what_is_no_rate_or_no_link_is_refused(name: str, message: str) -> None:
    with pytest.raises(ProfileError, match=message):
        load_link(name)
