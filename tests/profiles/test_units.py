"""The unit converter: every spelling, both directions, and what it says of a slip."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitpoint.profiles import units


@pytest.mark.parametrize(
    ("text", "kind", "si"),
    [
        ("20 Mbit/s", "bit_s", 2e7),
        ("20Mbit/s", "bit_s", 2e7),
        ("1 MB/s", "bit_s", 8e6),
        ("1 KiB/s", "bit_s", 8192.0),
        ("15 ms", "s", 0.015),
        ("100ms", "s", 0.1),
        ("3 µs", "s", 3e-6),
        ("2 h", "s", 7200.0),
        ("16 kB", "bytes", 16_000.0),
        ("16 KiB", "bytes", 16_384.0),
        ("8 kbit", "bit", 8000.0),
        ("1 B", "bit", 8.0),
        ("20 MHz", "hz", 2e7),
        ("-7.5 dB", "db", -7.5),
        ("1.3 W", "w", 1.3),
        ("20 mJ", "j", 0.02),
        ("438.39 mW/(Mbit/s)", "j_bit", 4.3839e-7),
        ("15 GMAC/s", "macs_s", 1.5e10),
        ("30 GFLOP/s", "macs_s", 1.5e10),
        ("1 %", "fraction", 0.01),
        ("0.3", "fraction", 0.3),
        ("3.6 USD/h", "usd_s", 0.001),
        (2e7, "bit_s", 2e7),
        (3, "s", 3.0),
    ],
)
def test_parses_to_si(text: object, kind: str, si: float) -> None:
    assert units.parse(text, kind) == pytest.approx(si, rel=1e-12)


@pytest.mark.parametrize(
    ("value", "kind", "message", "suggestion"),
    [
        ("20 mbit", "bit_s", 'expected a rate such as "20 Mbit/s", got "20 mbit"', "20 Mbit/s"),
        ("20 mbit/s", "bit_s", "expected a rate", "20 Mbit/s"),
        ("20", "bit_s", 'got "20"', "20 Mbit/s"),
        ("20000000", "bit_s", 'got "20000000"', "20000000 bit/s"),
        ("55", "s", 'got "55"', "55 ms"),
        ("5000", "s", 'got "5000"', "5000 ms"),
        ("16", "bytes", 'got "16"', "16 kB"),
        ("4000", "bytes", 'got "4000"', "4000 B"),
        ("5 ms", "bit_s", "expected a rate", None),
        ("fast", "bit_s", 'got "fast"', None),
        ("15 msec", "s", 'expected a time such as "15 ms"', "15 ms"),
        (True, "s", "got True", None),
        (None, "s", "got None", None),
        (math.nan, "s", "not finite", None),
        (math.inf, "s", "not finite", None),
        ("1e999 s", "s", "not finite", None),
        pytest.param(10**400, "s", "not finite", None, id="beyond floats"),
    ],
)
def test_refuses_by_name(value: object, kind: str, message: str, suggestion: str | None) -> None:
    with pytest.raises(units.UnitError) as caught:
        units.parse(value, kind)
    assert message in str(caught.value)
    assert caught.value.suggestion == suggestion


def test_bounds_are_named() -> None:
    with pytest.raises(units.UnitError, match=r"more than 0 such as \"20 Mbit/s\", got \"0 Mbit/s\""):
        units.parse("0 Mbit/s", "bit_s", gt=0)
    with pytest.raises(units.UnitError, match="at least 0"):
        units.parse(-1, "s", ge=0)
    with pytest.raises(units.UnitError, match="at most 1"):
        units.parse("101 %", "fraction", le=1)
    with pytest.raises(units.UnitError, match="less than 1"):
        units.parse(1, "fraction", lt=1)


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (units.format_seconds(0.0032), "3.2 ms"),
        (units.format_seconds(0.099999), "100 ms"),
        (units.format_seconds(0.9999), "1 s"),
        (units.format_seconds(0), "0 s"),
        (units.format_seconds(90), "90 s"),
        (units.format_seconds(10_800), "3 h"),
        (units.format_bytes(0), "0 B"),
        (units.format_bytes(37), "37 B"),
        (units.format_bytes(1040), "1.04 kB"),
        (units.format_bytes(999_999), "1 MB"),
        (units.format_rate(6e7), "60 Mbit/s"),
        (units.format_macs(3e8), "300 MMAC"),
        (units.format_flops(3.85e8), "770 MFLOPs"),
        (units.format_macs_s(1.5e10), "15 GMAC/s"),
        (units.format_fraction(0.54), "54 %"),
        (units.format_fraction(0.0123), "1.2 %"),
        (units.format_joules(0.02), "20 mJ"),
    ],
)
def test_formats(shown: str, expected: str) -> None:
    assert shown == expected


@given(st.floats(min_value=1e-9, max_value=100))
def test_seconds_survive_a_round_trip_to_three_digits(seconds: float) -> None:
    assert units.parse(units.format_seconds(seconds), "s") == pytest.approx(seconds, rel=5.1e-3)


@given(st.floats(min_value=1, max_value=1e13))
def test_rates_survive_a_round_trip_to_three_digits(rate: float) -> None:
    assert units.parse(units.format_rate(rate), "bit_s") == pytest.approx(rate, rel=5.1e-3)


@given(st.text(max_size=12), st.sampled_from(sorted(units.KINDS)))
def test_any_text_parses_to_a_finite_number_or_is_refused(text: str, kind: str) -> None:
    try:
        number = units.parse(text, kind)
    except units.UnitError:
        return
    assert math.isfinite(number)


def test_every_kind_parses_its_own_example() -> None:
    for name, kind in units.KINDS.items():
        assert units.parse(kind.example, name) > 0


@pytest.mark.parametrize(
    ("field", "kind", "clear"),
    [
        ("rtt_s", "s", True),
        ("seconds", "s", True),
        ("deadline", "s", False),
        ("encode_s_per_symbol", "s", True),
        ("uplink_bit_s", "bit_s", True),
        ("uplink", "bit_s", False),
        ("tx_j_per_bit", "j_bit", True),
        ("max_payload", "bytes", False),
        ("ram_bytes", "bytes", True),
        ("usd_request", "usd", True),
        ("max_cost", "usd", False),
        ("server_load", "per_s", False),
        ("max_drop", "fraction", True),
    ],
)
def test_a_bare_number_is_clear_where_the_field_says_its_unit(field: str, kind: str, clear: bool) -> None:
    assert units.named_by(field, kind) is clear


@pytest.mark.parametrize("kind", units.KINDS)
def test_a_number_is_spelled_with_a_unit_that_reads_back_exactly(kind: str) -> None:
    for number in (0.1, 1e-05, 3.0, 123456789.123, 7):
        assert units.parse(units.spell(number, kind), kind) == number


def test_a_percentage_without_its_sign_is_suggested() -> None:
    with pytest.raises(units.UnitError, match="at most 1") as caught:
        units.parse("90", "fraction", le=1)
    assert caught.value.suggestion == "90 %"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("9007199254740993 B", 9007199254740993), ("1 GB", 10**9), ("1.5 kB", 1500), ("2 KiB", 2048), ("1e3 B", 1000)],
)
def test_counts_are_exact(text: str, expected: int) -> None:
    assert units.parse_exact(text, "bytes") == expected
