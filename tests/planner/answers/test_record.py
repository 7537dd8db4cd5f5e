"""What a plan measured, written and read back; damaged and hostile bytes are refused."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zstandard

import splitpoint.planner.answers.record
from splitpoint.planner.answers.ask import Changes, ask
from splitpoint.planner.answers.record import PlanRecord, decode_record, encode_record, make_record
from splitpoint.planner.answers.stored import read_record, record_of
from splitpoint.planner.choice.choose import Aim
from splitpoint.planner.choice.errors import SpeedErrors
from splitpoint.planner.deploy.stored import open_plan
from splitpoint.planner.limits.need import Need
from splitpoint.planner.search.result import SearchResult
from splitpoint.profiles.errors import ProfileError


@pytest.fixture(scope="module")
def record(fixed_result: SearchResult) -> PlanRecord:
    return make_record(fixed_result, fixed_result.decision.front)


def test_it_is_read_back_as_it_was(record: PlanRecord, fixed_result: SearchResult) -> None:
    data = encode_record(record)
    back = decode_record(data, at="measured.bin")
    assert back == record
    assert encode_record(back) == data
    assert back.points == fixed_result.points
    assert any(point.outcomes is not None and point.outcomes.inputs for point in back.points)


def test_the_decision_of_the_record_is_that_of_the_plan(record: PlanRecord, fixed_result: SearchResult) -> None:
    _, question = ask(decode_record(encode_record(record), at=""), Changes())
    assert question.decide() == fixed_result.decision


def test_every_candidate_of_the_table_has_the_work_of_its_own_codec(
    record: PlanRecord, fixed_result: SearchResult
) -> None:
    works = {candidate: record.works[place] for candidate, place in record.work_of}
    assert {estimate.candidate for estimate in record.table} <= works.keys()
    measured = [point for point in record.points if point.candidate.placement == "split"]
    assert len(record.table) == fixed_result.table_size > len(measured)
    for candidate, work in fixed_result.works.items():
        if candidate in works:
            assert works[candidate] == work


def test_what_was_asked_is_kept_without_the_limits_of_the_device(fixed_result: SearchResult) -> None:
    problem = fixed_result.problem
    assert any(bound.device for bound in problem.needs.bounds)  # the memory of the device
    record = make_record(fixed_result, ())
    assert [(bound.limit, bound.device) for bound in record.asked.bounds] == [("drop", "")]


def test_a_limit_that_the_device_s_own_had_replaced_comes_back(fixed_result: SearchResult) -> None:
    config = msgspec.structs.replace(fixed_result.problem.config, need=Need(max_drop=0.3, max_device_memory=10**15))
    problem = dataclasses.replace(fixed_result.problem, config=config)
    record = make_record(dataclasses.replace(fixed_result, problem=problem), ())
    assert record.asked.value("device memory") == 10**15


def test_a_plan_directory_has_it_among_its_contents(fixed_plan: Path, fixed_result: SearchResult) -> None:
    stored, record = read_record(fixed_plan)
    assert "measured.bin" in stored.file.contents
    assert record.points == fixed_result.points
    front = {point.candidate for point in fixed_result.decision.front}
    assert front <= set(record.front)
    assert len(record.front) == len(set(record.front)) <= len(front) + 1  # the plan's own point may be another


def test_a_plan_of_an_older_version_does_not_say(fixed_copy: Path) -> None:
    text = (fixed_copy / "plan.yaml").read_text()
    (fixed_copy / "plan.yaml").write_text(re.sub(r"\n  measured\.bin: \S+", "", text))
    (fixed_copy / "measured.bin").unlink()
    assert record_of(open_plan(fixed_copy)) is None
    with pytest.raises(ProfileError, match="does not say what it measured"):
        read_record(fixed_copy)


def packed(value: object) -> bytes:
    return zstandard.ZstdCompressor().compress(msgspec.msgpack.encode(value))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not a frame",
        packed([1, 2]),
        packed({"format": 99}),
        packed({"format": 1}),
        packed({"format": 1, "points": 3}),
        packed({"format": 1, "points": [{"outcomes": {"inputs": {"a": [1], "b": []}}}]}),
        zstandard.ZstdCompressor(write_content_size=False).compress(b"x"),
    ],
)
def test_what_is_no_record_is_refused(data: bytes) -> None:
    with pytest.raises(ProfileError) as caught:
        decode_record(data, at="measured.bin")
    assert caught.value.at == "measured.bin"


def test_a_small_file_does_not_become_large_in_memory(monkeypatch: pytest.MonkeyPatch, record: PlanRecord) -> None:
    data = encode_record(record)
    monkeypatch.setattr(splitpoint.planner.answers.record, "UNPACKED_BYTES", 100)
    with pytest.raises(ProfileError, match="expected up to 100 bytes"):
        decode_record(data, at="measured.bin")


@pytest.mark.parametrize("place", range(7))
def test_a_record_that_is_cut_short_is_refused(record: PlanRecord, place: int) -> None:
    data = encode_record(record)
    short = data[: len(data) * place // 7]
    with pytest.raises(ProfileError):
        decode_record(short, at="measured.bin")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"networks": ()}, "no networks"),
        ({"points": ()}, "no networks or no points"),
        ({"seed": -1}, "out of range"),
        ({"works": ()}, "a work that is not there"),
        ({"work_of": ()}, "without its work"),
        ({"objectives": ("speed",)}, "an objective that there is not"),
        ({"aim": Aim(prefer="speed")}, "a preference that there is not"),
        ({"aim": Aim(errors=SpeedErrors(device=0.0))}, "an error below 1"),
    ],
)
def test_a_record_that_contradicts_itself_is_refused(record: PlanRecord, change: dict[str, Any], message: str) -> None:
    data = encode_record(msgspec.structs.replace(record, **change))
    with pytest.raises(ProfileError, match=message):
        decode_record(data, at="measured.bin")


def test_a_payload_that_no_message_holds_is_refused(record: PlanRecord) -> None:
    """Its bits would be infinite."""
    point, *others = record.points
    large = msgspec.structs.replace(point, cost=msgspec.structs.replace(point.cost, payload_bytes=1e308))
    with pytest.raises(ProfileError, match="a payload that no message holds"):
        decode_record(encode_record(msgspec.structs.replace(record, points=(large, *others))), at="measured.bin")


def test_a_network_that_contradicts_itself_is_refused(record: PlanRecord) -> None:
    network, replace = record.networks[0], msgspec.structs.replace
    assert network.profile is not None
    bare = replace(network.profile, nodes=network.profile.nodes[1:])
    swapped = replace(network.graph, nodes=network.graph.nodes[::-1])
    for changed, message in (
        (replace(network, profile=bare), "a node has no seconds"),
        (replace(network, graph=swapped), "not in their order"),
        (replace(network, cuts=()), "a cut that is not there"),
        (replace(network, name="other"), "a network that is not there"),
        (replace(network, pixels=-1), "a size is negative"),
    ):
        with pytest.raises(ProfileError, match=message):
            decode_record(encode_record(replace(record, networks=(changed,))), at="measured.bin")
