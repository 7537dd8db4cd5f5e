"""Where splitting pays: every cell against the decision for its device and rate, and the share that it saves."""

from __future__ import annotations

import dataclasses

import msgspec
import pytest

from splitpoint.planner.answers.ask import Changes, ask
from splitpoint.planner.answers.payoff import Cell, Row, device_rows, speed_rows
from splitpoint.planner.answers.record import PlanRecord, make_record
from splitpoint.planner.answers.what_if import Range, what_if
from splitpoint.planner.choice.intervals import chance_faster
from splitpoint.planner.cost.price import at_speed
from splitpoint.planner.output.documents.answers.map import LARGE_GAIN, MapDocument, map_document
from splitpoint.planner.search.result import SearchResult
from splitpoint.planner.values.candidate import Evaluated
from splitpoint.planner.values.place import kind_of
from splitpoint.profiles.library.catalog import list_profiles, load_device
from splitpoint.profiles.link.adjust import at_rate
from splitpoint.profiles.machine.device import Device

RATES = (5e4, 3e5, 2e6, 3e7, 1e9)


@pytest.fixture(scope="module")
def record(fixed_result: SearchResult) -> PlanRecord:
    return make_record(fixed_result, fixed_result.decision.front)


def kinds(rows: list[Row]) -> set[str | None]:
    return {cell.kind for row in rows for cell in row.cells}


def test_every_cell_is_the_decision_for_its_device_and_rate(record: PlanRecord) -> None:
    devices = [entry.profile for entry in list_profiles() if isinstance(entry.profile, Device)][:4]
    rows = device_rows(record, Changes(), [record.device, *devices], RATES)
    assert [row.whole_s for row in rows] == sorted((row.whole_s for row in rows), key=lambda s: -(s or 0.0))
    by_name = {row.name: row for row in rows}
    for device in (record.device, *devices):
        _, question = ask(record, Changes(device=device))
        for rate, cell in zip(RATES, by_name[device.name].cells, strict=True):
            best = question.over(at_rate(question.channel.link, rate)).decide().recommended
            assert cell.point == best
            assert cell.kind == (None if best is None else kind_of(best))


def test_the_gain_is_against_the_best_other_kind_that_fits(record: PlanRecord) -> None:
    rows = speed_rows(record, Changes(), (1 / 16, 1, 16), RATES)
    assert len(kinds(rows)) > 1
    for row, factor in zip(rows, (1 / 16, 1, 16), strict=True):
        for rate, cell in zip(RATES, row.cells, strict=True):
            if cell.point is None or cell.gain is None:
                continue
            best = (1 - cell.gain) ** -1 * cell.point.cost.latency_s
            others = [point.cost.latency_s for point in _scaled(record, factor, rate) if kind_of(point) != cell.kind]
            assert best == pytest.approx(min(others))


def _scaled(record: PlanRecord, factor: float, rate: float) -> tuple[Evaluated, ...]:
    _, question = ask(record, Changes())
    points = tuple(msgspec.structs.replace(p, cost=at_speed(p.cost, factor, question.device)) for p in question.points)
    return dataclasses.replace(question, points=points).over(at_rate(question.channel.link, rate)).feasible()


def test_the_row_of_its_own_speed_is_the_row_of_the_device(record: PlanRecord) -> None:
    (device,) = device_rows(record, Changes(), [record.device], RATES)
    (speed,) = speed_rows(record, Changes(), (1,), RATES)
    assert (speed.cells, speed.whole_s, speed.name) == (device.cells, device.whole_s, "x1")
    names = [row.name for row in speed_rows(record, Changes(), (2, 1 / 4), RATES)]
    assert names == ["x1/4", "x2"]


def test_a_device_that_cannot_be_priced_is_left_out_with_the_reason(record: PlanRecord) -> None:
    changes = Changes(limits={"energy": 1.0}, link=None)
    rows = device_rows(record, changes, [load_device("pixel-4")], RATES)
    assert rows[0].cells == ()
    assert "energy is not known" in rows[0].reason


def a_map(record: PlanRecord, rows: list[Row]) -> MapDocument:
    return map_document(record, Changes(), rows, RATES, name="net", speeds=False)


def test_a_letter_is_a_place_and_a_capital_a_large_gain(record: PlanRecord) -> None:
    rows = device_rows(record, Changes(), [record.device, load_device("pixel-4")], RATES)
    shown = a_map(record, rows)
    letters = {entry.letter: entry for entry in shown.legend}
    assert len(letters) == len(shown.legend)
    for row, cells in zip(shown.rows, rows, strict=True):
        for cell, given in zip(row.cells, cells.cells, strict=True):
            if given.kind is None:
                assert cell.letter == "."
                continue
            assert letters[cell.letter.upper()].kind == given.kind
            assert cell.letter.isupper() == (given.gain is None or given.gain > LARGE_GAIN)
    assert sum(entry.cells for entry in shown.legend) + shown.empty_cells == 10
    assert shown.split_cells == sum(entry.cells for entry in shown.legend if entry.kind == "split")


def cell(record: PlanRecord, placement: str, gain: float | None) -> Cell:
    point = next(p for p in record.points if p.candidate.placement == placement and p.layer != "")
    return Cell(point=point, kind=kind_of(point), gain=gain, unmeasured=0)


def test_the_sentence_answers_the_question(record: PlanRecord) -> None:
    split, device = cell(record, "split", 0.305), cell(record, "device", 0.5)
    alone = dataclasses.replace(split, gain=None)
    empty = Cell(point=None, kind=None, gain=None, unmeasured=2)
    rows = [
        Row(name="slow", whole_s=2.0, cells=(empty, split, alone, device, device)),
        Row(name="fast", whole_s=1.0, cells=(device,) * 5),
    ]
    shown = a_map(record, rows)
    assert shown.answer == (
        "A split wins in 2 of 10 cells, by 30 % of the latency, in 1 of them nothing else meets every limit: on slow;"
        " over links of 300 kbit/s to 2 Mbit/s."
    )
    assert (shown.split_cells, shown.empty_cells, shown.unmeasured_cells) == (2, 1, 1)
    assert shown.uncertain_cells == 0
    assert a_map(record, rows[1:]).answer == "No split wins in any of 5 cells."


def test_a_cell_is_certain_where_it_wins_in_nine_of_ten_draws_and_its_deadline_holds(record: PlanRecord) -> None:
    split = cell(record, "split", 0.3)
    cells = [dataclasses.replace(split, faster_share=share) for share in (None, 0.0, 0.89, 0.9, 1.0)]
    rows = [Row(name="one", whole_s=1.0, cells=(*cells, dataclasses.replace(split, faster_share=1.0, certain=False)))]
    shown = a_map(record, rows)
    assert [each.certain for each in shown.rows[0].cells] == [True, False, False, True, True, False]
    assert shown.uncertain_cells == 3
    preferred = map_document(record, Changes(prefer="payload"), rows, RATES, name="net", speeds=False)
    assert [each.certain for each in preferred.rows[0].cells] == [True] * 5 + [False]


def test_the_draws_of_a_cell_are_against_the_fastest_of_every_other_kind(record: PlanRecord) -> None:
    errors, (row,) = record.aim.errors, device_rows(record, Changes(), [record.device], RATES)
    compared = 0
    for rate, found in zip(RATES, row.cells, strict=True):
        if found.point is None:
            continue
        others = [point.cost for point in _scaled(record, 1.0, rate) if kind_of(point) != found.kind]
        shares = {cost.latency_s: chance_faster(found.point.cost, cost, errors) for cost in others}
        assert found.faster_share is None or found.faster_share in shares.values()
        if shares:
            compared += 1
            assert found.faster_share is not None
            assert found.faster_share <= shares[min(shares)]
    assert compared


def test_what_if_of_one_rate_is_the_stretch_of_a_range(record: PlanRecord) -> None:
    wide = what_if(record, Changes(), Range(unit="bit/s", low=5e4, high=1e8))
    assert wide.decision is None
    for stretch in wide.stretches:
        middle = (stretch.low * stretch.high) ** 0.5
        one = what_if(record, Changes(), Range(unit="bit/s", low=middle, high=middle))
        assert one.decision is not None
        best = one.decision.recommended
        assert (best and best.candidate) == (stretch.point and stretch.point.candidate)


def test_without_any_change_it_is_the_answer_of_the_plan(record: PlanRecord, fixed_result: SearchResult) -> None:
    assert what_if(record, Changes(), None).decision == fixed_result.decision
