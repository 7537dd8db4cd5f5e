"""Profiles of others: each changed device, server or link is refused, or gives finite seconds, joules and money."""

from __future__ import annotations

import dataclasses
import functools
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splitpoint.profiles.files import yaml12
from splitpoint.profiles.library.catalog import load_device, load_link
from splitpoint.profiles.link.energy import compute_j, link_usd, radio_j, server_usd, wait_j
from splitpoint.profiles.link.link import Link, describe, downlink_s, uplink_delay
from splitpoint.profiles.machine.device import Device, OpWork, predict_run_s, serial_factor
from splitpoint.tests.fuzz.target import Target
from splitpoint.tests.fuzz.text_changes import (
    EXAMPLES,
    attack,
    changed_bytes,
    changed_yaml,
    generator,
    outcome,
    scratch,
)

__all__ = ["TARGET", "Case", "check_link", "make_case", "run_case"]

NAME = "profiles"
LIBRARY = Path(__file__).parents[2] / "profiles" / "library"
WORK = tuple(
    OpWork(op_class=kind, macs=macs, read_bytes=10**6, write_bytes=10**6, weight_bytes=10**7)
    for kind in ("dense", "pointwise", "depthwise", "matmul", "other")
    for macs in (None, 10**9)
)
HEAD = "name: l\ndescription: d\ndownlink_bit_s: 1 Mbit/s\nrtt_s: 10 ms\n"
RAYLEIGH = "kind: rayleigh_block\n" + HEAD + "bandwidth_hz: 1 MHz\n"
REFUSED = {
    "a rate that overflows": "kind: fixed\n" + HEAD + "uplink_bit_s: 1e308 Mbit/s",
    "a rate that is nearly infinite": "kind: fixed\n" + HEAD + "uplink_bit_s: 1e308",
    "a rate that is nearly nothing": "kind: fixed\n" + HEAD + "uplink_bit_s: 1e-300",
    "every packet lost": "kind: fixed\n" + HEAD + "uplink_bit_s: 1 Mbit/s\nloss: 0.9999999999999999",
    "a round trip without end": "kind: fixed\n" + HEAD.replace("10 ms", "1e300") + "uplink_bit_s: 1 Mbit/s",
    "packets without room": "kind: fixed\n" + HEAD + "uplink_bit_s: 1 Mbit/s\nmtu_bytes: 40",
    "a trace that never arrives": "kind: trace\n" + HEAD + "durations_s: [1]\nrates_bit_s: [1e-300]",
    "durations without end": "kind: trace\n" + HEAD + "durations_s: [1e300]\nrates_bit_s: [1]",
    "an outage of nearly 1": RAYLEIGH + "mean_snr_db: 10\ncoherence_s: 1\npolicy: outage\noutage: 0.9999999999999999",
    "aliases": "kind: trace\n" + HEAD + "durations_s: [&a 1" + ", *a" * 200_000 + "]\nrates_bit_s: [1]",
    "a recording that is a device": "kind: trace\n" + HEAD + "file: /dev/zero\nformat: mahimahi",
    "a recording that is the kernel's memory": "kind: trace\n" + HEAD + "file: /proc/self/mem\nformat: json",
    "escape codes": "kind: fixed\n" + HEAD.replace("name: l", 'name: "\\e]0;x\\a"') + "uplink_bit_s: 1 Mbit/s",
}
ACCEPTED = {
    "one block in a million carries": RAYLEIGH
    + "mean_snr_db: -18.4\ncoherence_s: 1 s\ncoding: {kind: cqi}\nper_packet_overhead_bytes: 0",
    "blocks without end": RAYLEIGH + "mean_snr_db: 200\ncoherence_s: 2e-15\npolicy: outage\ncoding: {kind: cqi}",
    "a rate that a sum swallows": "kind: trace\n" + HEAD + "durations_s: [1, 1]\nrates_bit_s: [1e18, 1e-300]",
}


@dataclasses.dataclass(frozen=True)
class Case:
    """The bytes of a profile, of a link or of a device or server."""

    is_link: bool
    data: bytes


@functools.cache
def originals() -> tuple[tuple[bool, str], ...]:
    """Whether it is a link, and its text, for every shipped profile."""
    paths = sorted(LIBRARY.glob("*/*.yaml"))
    return tuple((path.parent.name == "links", path.read_text(encoding="utf-8")) for path in paths)


def make_case(index: int) -> Case:
    """The case of this number."""
    rng = generator(NAME, index)
    is_link, text = rng.choice(originals())
    if rng.random() < 0.6:
        return Case(is_link, changed_yaml(text, rng).encode("utf-8", "surrogatepass"))
    return Case(is_link, changed_bytes(text.encode(), rng, [other.encode() for _, other in originals()]))


def run_case(case: Case) -> str:
    """Read it and predict with it."""
    return outcome(lambda: _use(case))


def _use(case: Case) -> None:
    path = scratch() / f"{NAME}.yaml"
    path.write_bytes(case.data)
    if case.is_link:
        check_link(load_link(path))
    else:
        _check_device(load_device(path))


def check_link(link: Link) -> None:
    """Every figure of an accepted link is finite, but of a message that it says never arrives."""
    assert describe(link)
    for bits in (1.0, 8e4, 8e10):
        delay = uplink_delay(link, bits, n_draws=50)
        seconds = [delay.mean_s, *(delay.quantile_s(p) for p in (1e-6, 0.5, 0.999999))]
        if delay.infeasible is None:
            assert all(0 <= value < math.inf for value in seconds), seconds
        else:
            assert seconds == [math.inf] * 4
        for deadline_s in (0.0, 0.1, 1e9, math.inf):
            assert 0 <= delay.probability(deadline_s) <= 1
        for value in (downlink_s(link, bits), radio_j(link, bits, bits), link_usd(link, bits / 8)):
            assert value is None or math.isfinite(value)


def _check_device(device: Device) -> None:
    seconds = predict_run_s(device, WORK)
    assert 0 <= seconds < math.inf
    for value in (compute_j(device, seconds), wait_j(device, seconds), server_usd(device, seconds)):
        assert value is None or math.isfinite(value)
    assert 0 < serial_factor(device, load_device("raspberry-pi-4")) < math.inf


TARGET = Target(name=NAME, run=lambda index: run_case(make_case(index)))


def test_changed_profiles_are_refused_or_give_finite_figures() -> None:
    counts = attack(TARGET)
    assert min(counts.values()) > EXAMPLES / 20


def test_the_originals_are_used() -> None:
    assert {run_case(Case(is_link, text.encode())) for is_link, text in originals()} == {"accepted"}


@pytest.mark.parametrize("name", REFUSED)
def test_attacks_that_were_found(name: str) -> None:
    assert run_case(Case(True, REFUSED[name].encode())) == "refused"


@pytest.mark.parametrize("name", ACCEPTED)
def test_odd_links_are_used(name: str) -> None:
    assert run_case(Case(True, ACCEPTED[name].encode())) == "accepted"


numbers = st.floats(allow_nan=True) | st.integers(-(10**20), 10**20) | st.sampled_from([0, 0.5, 1, 0.95, 1e-9])
FIELDS: tuple[str, ...] = (
    "uplink_bit_s",
    "downlink_bit_s",
    "rtt_s",
    "loss",
    "duty_cycle",
    "bandwidth_hz",
    "snr_db",
    "mean_snr_db",
)
FIELDS += ("coherence_s", "outage", "overhead", "mtu_bytes", "per_packet_overhead_bytes", "usd_byte", "usd_message")


@given(st.sampled_from(["fixed", "awgn", "rayleigh_block"]), st.dictionaries(st.sampled_from(FIELDS), numbers))
@settings(max_examples=EXAMPLES, deadline=None)
def test_any_numbers_are_refused_or_give_finite_figures(kind: str, given_: dict[str, float]) -> None:
    base = {"kind": kind, "name": "l", "description": "d", "downlink_bit_s": 1e6, "rtt_s": 0.01}
    own: dict[str, dict[str, float]] = {
        "fixed": {"uplink_bit_s": 1e6},
        "awgn": {"bandwidth_hz": 1e6, "snr_db": 10},
        "rayleigh_block": {"bandwidth_hz": 1e6, "mean_snr_db": 10, "coherence_s": 0.01},
    }
    known = {"downlink_bit_s", "rtt_s", "loss", "duty_cycle", "mtu_bytes", "per_packet_overhead_bytes"} | own[
        kind
    ].keys()
    known |= {"outage", "overhead"} if kind == "rayleigh_block" else set()
    chosen = {name: value for name, value in given_.items() if name in known}
    run_case(Case(True, yaml12.dump(base | own[kind] | chosen).encode()))
