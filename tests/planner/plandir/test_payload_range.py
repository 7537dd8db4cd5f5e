"""The range of a plan's payloads: lengths of what its head gives, by hand and from a real plan."""

from __future__ import annotations

import statistics
import types
from pathlib import Path
from typing import Any

import msgspec
import pytest

from splitpoint.codecs.contract.protocol import CodecError
from splitpoint.planner.deploy.file_names import REPORT
from splitpoint.planner.deploy.plan import Plan
from splitpoint.planner.deploy.schema import PayloadRange
from splitpoint.planner.output.terminal.figures import payload_range_text
from splitpoint.planner.plandir import payload_range
from splitpoint.planner.plandir.payload_range import measure_payload_range, nearest_rank
from splitpoint.planner.plandir.report import declared, plan_input
from splitpoint.planner.quality.corruptions import CORRUPTIONS, corrupt
from splitpoint.planner.samples.dataset import Dataset
from splitpoint.planner.samples.npz import load_npz

RANGE = PayloadRange(
    clean_p95_bytes=2300,
    clean_max_bytes=2900,
    corrupted_p95_bytes=5000,
    corrupted_max_bytes=5100,
    corruptions=("inverted",),
    n=24,
    corrupted_n=8,
)


@pytest.fixture(scope="module")
def opened(split_plan: Path) -> tuple[Plan, Dataset]:
    """A plan and its report inputs."""
    plan = Plan.load(split_plan)
    return plan, load_npz(split_plan / REPORT, plan.file.input, inputs=declared(plan.file.model))


def test_nearest_rank() -> None:
    assert nearest_rank(range(100, 0, -1), 0.95) == 95
    assert nearest_rank(range(1, 21), 0.95) == 19
    assert nearest_rank([3, 1, 2], 0.95) == 3
    assert nearest_rank([7], 0.95) == 7


def test_lengths_of_a_real_plan(opened: tuple[Plan, Dataset]) -> None:
    plan, dataset = opened
    lengths = sorted(len(plan.head(plan_input(plan, sample))) for sample in dataset.samples)
    measured = measure_payload_range(plan, dataset, lengths)
    assert measured.n == len(dataset)
    assert measured.corrupted_n == min(32, len(dataset))
    assert measured.clean_max_bytes == lengths[-1]
    assert measured.clean_p95_bytes in lengths[-2:]  # 24 inputs or fewer
    assert measured.corruptions == tuple(CORRUPTIONS["picture"])
    assert measured.corrupted_max_bytes > statistics.median(lengths)  # noise does not compress
    assert measured.refused == 0
    assert measured == measure_payload_range(plan, dataset, lengths)
    assert msgspec.convert(msgspec.to_builtins(measured), PayloadRange) == measured


def test_inputs_are_spread_over_the_data_and_no_more_than_asked(
    opened: tuple[Plan, Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, dataset = opened
    seen: list[object] = []

    def head(self: Plan, x: object) -> bytes:
        seen.append(x)
        return b"12345"

    monkeypatch.setattr(Plan, "head", head)
    corrupted: list[object] = []

    def watched(arrays: Any, name: str, seed: int, *, picture: bool) -> Any:
        corrupted.append(arrays[""])
        return corrupt(arrays, name, seed, picture=picture)

    monkeypatch.setattr(payload_range, "corrupt", watched)
    measured = measure_payload_range(plan, dataset, [7, 6, 9], inputs=3)
    count = len(CORRUPTIONS["picture"])
    assert (measured.n, measured.corrupted_n, len(seen)) == (3, 3, 3 * count)
    assert [corrupted[i * count] is dataset.samples[i * len(dataset) // 3].picture for i in range(3)] == [True] * 3
    assert (measured.clean_p95_bytes, measured.clean_max_bytes, measured.corrupted_max_bytes) == (9, 9, 5)


def test_a_plan_without_a_tail_sends_nothing(opened: tuple[Plan, Dataset], monkeypatch: pytest.MonkeyPatch) -> None:
    plan, dataset = opened
    monkeypatch.setattr(plan, "file", types.SimpleNamespace(placement="device"))
    monkeypatch.setattr(Plan, "head", lambda self, x: pytest.fail("ran"))
    measured = measure_payload_range(plan, dataset, [0, 0])
    assert (measured.clean_max_bytes, measured.corrupted_max_bytes, measured.refused) == (0, 0, 0)


def test_refused_inputs_are_counted(opened: tuple[Plan, Dataset], monkeypatch: pytest.MonkeyPatch) -> None:
    plan, dataset = opened

    def head(self: Plan, x: object) -> bytes:
        raise CodecError("NaN in 'r0'")

    monkeypatch.setattr(Plan, "head", head)
    measured = measure_payload_range(plan, dataset, [3, 3], inputs=2)
    assert (measured.clean_max_bytes, measured.corrupted_max_bytes) == (3, 0)
    assert measured.refused == 2 * len(CORRUPTIONS["picture"])


def test_symbols_have_no_range() -> None:
    text = payload_range_text(RANGE, symbols=8)
    assert text == "for the modem: 8 symbols as fp16 in 2.9 kB, for every input"


def test_what_contradicts_itself_is_refused() -> None:
    with pytest.raises(ValueError, match="clean_p95_bytes 3000 is above clean_max_bytes 2900"):
        msgspec.structs.replace(RANGE, clean_p95_bytes=3000)
    for field in ("n", "clean_p95_bytes", "refused"):
        with pytest.raises(msgspec.ValidationError, match=field):
            msgspec.convert({**msgspec.to_builtins(RANGE), field: -1}, PayloadRange)


def test_its_line() -> None:
    assert payload_range_text(RANGE, symbols=None) == (
        "payload: 95 % of 24 inputs up to 2.3 kB, at most 2.9 kB; corrupted inputs at most 5.1 kB"
    )
    assert payload_range_text(msgspec.structs.replace(RANGE, refused=2), symbols=None).endswith("5.1 kB (2 refused)")
