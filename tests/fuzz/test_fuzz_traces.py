"""Recordings of others in the four formats: each is refused, or carries every message in finite seconds."""

from __future__ import annotations

import dataclasses
import functools
import json
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splitpoint.profiles.link.link import TraceLink, uplink_delay
from splitpoint.profiles.link.trace import read_trace
from splitpoint.tests.fuzz.target import Target
from splitpoint.tests.fuzz.text_changes import EXAMPLES, attack, changed_bytes, generator, outcome, scratch

NAME = "traces"
FORMS = ("mahimahi", "two-column", "ghent", "json")
SHIFTS = ("1e308", "-1", "0", "nan", "inf", "1e-320", "1e18", "9" * 400, "1" * 5000, "1_0", "x", "1e5", "0.5", "")
CORPUS = {
    "an enormous histogram": ("mahimahi", "0\n1000000000000000000\n"),
    "a stamp of 400 digits": ("mahimahi", "9" * 400),
    "deep lists": ("json", "[" * 200_000),
    "deep objects": ("json", '[{"duration_ms": ' * 100_000),
    "400 digits": ("json", '[{"duration_ms": 1, "bandwidth_kbps": ' + "9" * 400 + "}]"),
    "5,000 digits": ("json", '[{"duration_ms": ' + "9" * 5000 + ', "bandwidth_kbps": 1}]'),
    "infinite by multiplication": ("two-column", "0 1e308\n1 1e308\n"),
    "infinite by division": ("ghent", "0 0 0 0 1e18 1e-300\n"),
    "infinite in JSON": ("json", '[{"duration_ms": 1, "bandwidth_kbps": Infinity}]'),
    "a difference that overflows": ("two-column", "-1e308 1\n1e308 1\n"),
    "so slow that nothing arrives": ("two-column", "0 1e-300\n1 1e-300\n"),
    "too many lines": ("mahimahi", "\n" * 3_000_000),
    "one endless line": ("two-column", "0 1 " * 1_000_000),
    "escape codes": ("ghent", "0 \x1b[2J 2 3 4 5\n"),
    "no text": ("mahimahi", "\udcff"),
}


@dataclasses.dataclass(frozen=True)
class Case:
    """The bytes of a recording, and its format."""

    form: str
    data: bytes


@functools.cache
def originals() -> dict[str, bytes]:
    """A recording of a minute in each format."""
    rng = np.random.default_rng(0)
    stamps = np.sort(rng.integers(0, 60_000, 4000))
    rates = rng.gamma(2.0, 2.0, 60)
    segments = [{"duration_ms": 1000, "bandwidth_kbps": float(1000 * rate), "latency_ms": 20} for rate in rates]
    return {
        "mahimahi": "".join(f"{stamp}\n" for stamp in stamps).encode(),
        "two-column": "".join(f"{i} {rate:.3f}\n" for i, rate in enumerate(rates)).encode(),
        "ghent": "".join(
            f"17{i} {1000 * i} 51.0 3.7 {125_000 * rate:.0f} 1000\n" for i, rate in enumerate(rates)
        ).encode(),
        "json": json.dumps(segments).encode(),
    }


def make_case(index: int) -> Case:
    """The case of this number."""
    rng = generator(NAME, index)
    form = rng.choice(FORMS)
    data = originals()[form]
    if rng.random() < 0.5:
        return Case(form, changed_bytes(data, rng, list(originals().values())))
    return Case(form, _changed_numbers(data, rng))


def _changed_numbers(data: bytes, rng: random.Random) -> bytes:
    """`data` with one or two of its numbers replaced."""
    separator = b", " if data.startswith(b"[") else b"\n"
    lines = data.split(separator)
    for _ in range(rng.randint(1, 2)):
        at = rng.randrange(len(lines))
        fields = lines[at].split(b" ")
        which = rng.randrange(len(fields))
        text = rng.choice(SHIFTS) if rng.random() < 0.4 else f"{10 ** rng.uniform(-20, 20):.6g}"
        end = b"}" if fields[which].endswith(b"}") else b""
        fields[which] = text.encode() + end
        lines[at] = b" ".join(fields)
    return separator.join(lines)


def run_case(case: Case) -> str:
    """Read it, and send messages over a link with its rates."""
    return outcome(lambda: _use(case))


def _use(case: Case) -> None:
    path = scratch() / NAME
    path.write_bytes(case.data)
    durations_s, rates_bit_s = read_trace(path, case.form)
    link = TraceLink(
        name="t", description="", downlink_bit_s=1e6, rtt_s=0.01, durations_s=durations_s, rates_bit_s=rates_bit_s
    )
    for bits in (1.0, 8e4, 8e10):
        delay = uplink_delay(link, bits, n_draws=50)
        assert all(0 <= value < np.inf for value in (delay.mean_s, delay.quantile_s(0.001), delay.quantile_s(0.999)))


TARGET = Target(name=NAME, run=lambda index: run_case(make_case(index)))


def test_changed_recordings_are_refused_or_carry_messages() -> None:
    counts = attack(TARGET)
    assert min(counts.values()) > EXAMPLES / 15


def test_the_originals_are_used() -> None:
    assert [run_case(Case(form, originals()[form])) for form in FORMS] == ["accepted"] * 4


@pytest.mark.parametrize("name", CORPUS)
def test_attacks_that_were_found(name: str) -> None:
    form, text = CORPUS[name]
    assert run_case(Case(form, text.encode("utf-8", "surrogateescape"))) == "refused"


lines = st.lists(
    st.lists(st.floats().map(repr) | st.integers(-(10**400), 10**400).map(str) | st.text(max_size=5), max_size=6).map(
        " ".join
    ),
    max_size=8,
).map("\n".join)


@pytest.mark.parametrize("form", FORMS)
def test_any_numbers_are_refused_or_carry_messages(form: str) -> None:
    @given(lines)
    @settings(max_examples=EXAMPLES // 3 + 1, deadline=None)
    def read(text: str) -> None:
        run_case(Case(form, text.encode("utf-8", "surrogatepass")))

    read()
