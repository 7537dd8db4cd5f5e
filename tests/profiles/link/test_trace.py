"""Readers of recorded links, what they refuse, and the time a message takes in a trace."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.library.catalog import load_link
from splitpoint.profiles.link import trace
from splitpoint.profiles.link.link import TraceLink, mean_rate_bit_s, uplink_delay
from splitpoint.profiles.link.trace import read_trace, trace_seconds


def test_mahimahi_counts_packets(tmp_path: Path) -> None:
    # Five packets in the first 100 ms, one in the second, none in the third, then one at the end.
    (tmp_path / "m.up").write_text("0\n10\n10\n20\n99\n150\n400\n")
    durations, rates = read_trace(tmp_path / "m.up", "mahimahi")
    assert durations == pytest.approx((0.1,) * 4)
    assert rates == pytest.approx((5 * 120_000.0, 120_000.0, 0.0, 120_000.0))


def test_two_columns(tmp_path: Path) -> None:
    (tmp_path / "c.txt").write_text("0.0 4.0\n1.0 2\n\n2.5, 1e0\n")
    durations, rates = read_trace(tmp_path / "c.txt", "two-column")
    assert durations == (1.0, 1.5, 1.25)
    assert rates == (4e6, 2e6, 1e6)


def test_ghent(tmp_path: Path) -> None:
    (tmp_path / "g.log").write_text("1453127190000 0 51.0 3.7 125000 1000\n1453127191000 1000 51.0 3.7 250000 1000\n")
    assert read_trace(tmp_path / "g.log", "ghent") == ((1.0, 1.0), (1e6, 2e6))


def test_json(tmp_path: Path) -> None:
    entries = [{"duration_ms": 500, "bandwidth_kbps": 800, "latency_ms": 20}]
    (tmp_path / "s.json").write_text(json.dumps(entries))
    assert read_trace(tmp_path / "s.json", "json") == ((0.5,), (800_000.0,))


@pytest.mark.parametrize(
    ("form", "text", "message"),
    [
        ("mahimahi", "0\nabc\n", "line 2: expected an integer number of milliseconds, got 'abc'"),
        ("mahimahi", "0\n1.5\n", "line 2: expected an integer"),
        ("mahimahi", "5\n4\n", "line 2: time runs backwards, from 5 to 4 ms"),
        ("mahimahi", "-1\n", "line 1: expected an integer"),
        ("mahimahi", "", "the trace is empty"),
        ("two-column", "0 1\n1\n", "line 2: expected two columns"),
        ("two-column", "0 1\n1 -\n", "line 2: expected Mbit/s, got '-'"),
        ("two-column", "0 1\n1 -2\n", "line 2: expected Mbit/s at least 0, got '-2'"),
        ("two-column", "0 1\n1 nan\n", "line 2: expected Mbit/s, got 'nan'"),
        ("two-column", "0 1\n2 1\n1 1\n", "time runs backwards, from 2 to 1 s, at sample 3"),
        ("two-column", "0 1\n1 1\n2 1\n3 1\n40 1\n", "a gap of 37 s behind sample 4, where samples are 1 s apart"),
        ("two-column", "0 1\n", "needs at least two lines"),
        ("two-column", "0 0\n1 0\n", "never carries a bit"),
        ("ghent", "1 0 51 3 100\n", "expected six columns, got 5"),
        ("ghent", "1 0 51 3 x 1000\n", "line 1: expected bytes since the line before, got 'x'"),
        ("ghent", "1 0 51 3 10 -5\n", "time runs backwards"),
        ("ghent", "1 1000 51 3 10 1000\n2 500 51 3 10 1000\n", "time runs backwards"),
        ("json", "{", "not JSON"),
        ("json", "{}", "expected a list of segments, got dict"),
        ("json", '[{"duration_ms": 1}]', "expected duration_ms and bandwidth_kbps - at `$[0]`"),
        ("json", '[{"duration_ms": 0, "bandwidth_kbps": 1}]', "more than 0 - at `$[0].duration_ms`"),
        ("json", '[{"duration_ms": 1, "bandwidth_kbps": "fast"}]', "got 'fast' - at `$[0].bandwidth_kbps`"),
        ("json", '[{"duration_ms": 1, "bandwidth_kbps": NaN}]', "got nan"),
        ("mahimahi", "0\n1000000000000000000\n", "line 2: expected at most 100000000 ms since the start, got '1000"),
        ("mahimahi", "0\n" + "9" * 400 + "\n", "line 2: expected an integer number of milliseconds"),
        ("mahimahi", "1e300\n", "line 1: expected an integer number of milliseconds up to 1e+18"),
        ("two-column", "0 1e308\n1 1\n", "line 1: expected Mbit/s up to 1e+18, got '1e308'"),
        ("two-column", "0 1\n1 2e12\n", "expected 0 to 1e+18 bit/s in a segment, got 2e+18 in number 2"),
        ("two-column", "0 1\n1e10 1\n", "expected 1e-15 to 1e+09 s in a segment, got 1e+10 in number 1"),
        ("two-column", "-1e308 1\n1e308 1\n", "line 1: expected seconds up to 1e+18, got '-1e308'"),
        ("two-column", "0 1e-12\n1 1e-12\n", "expected a mean of more than 0.001 bit/s, got 1e-06"),
        ("two-column", "0 " + "1" * 2000, "line 1: expected at most 1000 characters, got 2,002"),
        ("two-column", "0 \x1b[31m\n1 1\n", "got '\\x1b[31m'"),
        ("ghent", "1 0 51 3 1e18 1000\n", "expected 0 to 1e+18 bit/s in a segment, got 8e+18"),
        ("ghent", "1 0 51 3 1 1e-320\n", "expected 1e-15 to 1e+09 s in a segment, got 9"),
        ("json", "[" * 100_000, "not JSON"),
        ("json", '[{"a": ' * 100_000, "not JSON"),
        ("json", "[" + "1" * 5000 + "]", "not JSON"),
        ("json", '[{"duration_ms": ' + "9" * 400 + ', "bandwidth_kbps": 1}]', "got 999"),
        ("json", '[{"duration_ms": 1, "bandwidth_kbps": 1e400}]', "expected 0 to 1e+18, got inf"),
        ("json", '[{"duration_ms": 1, "bandwidth_kbps": 1e17}]', "in a segment, got 1e+20 in number 1"),
        ("json", '[{"duration_ms": 1e18, "bandwidth_kbps": 1}]', "in a segment, got 1e+15 in number 1"),
    ],
)
def test_bad_traces_are_refused_with_their_place(tmp_path: Path, form: str, text: str, message: str) -> None:
    path = tmp_path / "trace"
    path.write_text(text)
    with pytest.raises(ProfileError) as caught:
        read_trace(path, form)
    assert str(path) in caught.value.message
    assert message in caught.value.message


def test_recordings_without_end_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "trace"
    monkeypatch.setattr(trace, "MOST_LINES", 100)
    monkeypatch.setattr(trace, "JSON_LIMIT_BYTES", 1000)
    path.write_text("\n" * 101)
    with pytest.raises(ProfileError, match="expected at most 100 lines, got more"):
        read_trace(path, "mahimahi")
    path.write_text("[" + " " * 1000 + "]")
    with pytest.raises(ProfileError, match="expected at most 1,000 bytes"):
        read_trace(path, "json")


def test_rates_that_a_sum_swallows_give_finite_seconds() -> None:
    link = dict(durations_s=[1.0, 1.0, 1.0], rates_bit_s=[1e18, 1e-300, 0.0])
    seconds = trace_seconds(**link, bits=8e12, start_s=np.linspace(0, 3, 50))
    assert np.isfinite(seconds).all()
    assert seconds.max() <= 3


HEAD = "kind: trace\nname: t\ndescription: d\ndownlink_bit_s: 1 Mbit/s\nrtt_s: 10 ms\n"


def test_a_trace_link_reads_its_file_beside_the_yaml(tmp_path: Path) -> None:
    (tmp_path / "c.txt").write_text("0 4\n1 2\n")
    (tmp_path / "t.yaml").write_text(HEAD + "file: c.txt\nformat: two-column\n")
    link = load_link(tmp_path / "t.yaml")
    assert isinstance(link, TraceLink)
    assert link.rates_bit_s == (4e6, 2e6)
    assert mean_rate_bit_s(link) == 3e6
    assert uplink_delay(link, 8e6).mean_s > 2


@pytest.mark.parametrize(
    ("tail", "message"),
    [
        ("file: c.txt\n", "missing field 'format'"),
        ("file: none.txt\nformat: json\n", "no such file"),
        ("file: c.txt\nformat: pcap\n", "expected one of ghent, json, mahimahi, two-column, got 'pcap'"),
        ("durations_s: [1]\nrates_bit_s: [1, 2]\n", "as many durations as rates, got 1 and 2"),
        ("durations_s: [1]\nrates_bit_s: [0]\n", "never carries a bit"),
        ("durations_s: [0]\nrates_bit_s: [1]\n", "more than 1e-15 s"),
        ("rates_bit_s: [-1]\n", "at least 0"),
        ("file: c.txt\nformat: json\ndurations_s: [1]\nrates_bit_s: [1]\n", "got both"),
        ("", "never carries a bit"),
    ],
)
def test_a_bad_trace_link_is_refused(tmp_path: Path, tail: str, message: str) -> None:
    (tmp_path / "c.txt").write_text("0 4\n1 2\n")
    (tmp_path / "t.yaml").write_text(HEAD + tail)
    with pytest.raises(ProfileError) as caught:
        load_link(tmp_path / "t.yaml")
    assert message in caught.value.message


segments = st.lists(
    st.tuples(st.integers(1, 5), st.sampled_from([0.0, 1.0, 3.0, 10.0])), min_size=1, max_size=6
).filter(lambda pairs: any(rate for _, rate in pairs))


@given(segments, st.integers(1, 400), st.integers(0, 19))
def test_seconds_in_a_trace_against_millisecond_steps(pairs: list[tuple[int, float]], bits: int, start: int) -> None:
    durations = [float(d) for d, _ in pairs]
    rates = [r for _, r in pairs]
    period = sum(durations)
    begin = start / 20 * period
    seconds = float(trace_seconds(durations, rates, float(bits), np.array([begin]))[0])
    # Carry bits second by second, split at the edges.
    edges = np.cumsum([0.0, *durations])
    now, missing, taken = begin, float(bits), 0.0
    while missing > 1e-9:
        i = min(int(np.searchsorted(edges, now, side="right")) - 1, len(rates) - 1)
        room_s = edges[i + 1] - now
        if rates[i] * room_s >= missing:
            taken += missing / rates[i]
            break
        missing -= rates[i] * room_s
        taken += room_s
        now = edges[i + 1] if edges[i + 1] < period else 0.0
    assert seconds == pytest.approx(taken, abs=1e-6)
