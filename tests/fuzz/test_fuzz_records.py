"""Records of what a plan measured, with values changed: each is refused with an error of ours, or gives answers.

A case changes leaves of the record of a small plan, packs it again, and asks: the plan's own answer, another device, a
range of rates. `FUZZ_EXAMPLES` sets how many cases the test runs.
"""

from __future__ import annotations

import functools
import os
import random
import tempfile
import warnings
from pathlib import Path
from typing import Any

import msgspec
import zstandard

from splitpoint.planner.answers.ask import Changes, ask
from splitpoint.planner.answers.hypervolume import hypervolume_series
from splitpoint.planner.answers.policy import stretches_of_rate
from splitpoint.planner.answers.record import PlanRecord, decode_record
from splitpoint.planner.answers.relax import relax_limits
from splitpoint.planner.answers.unmeasured import could_win, unmeasured
from splitpoint.planner.deploy.file_names import MEASURED
from splitpoint.profiles.library.catalog import load_device
from splitpoint.tests import small_plan
from splitpoint.tests.fuzz.target import Target
from splitpoint.tests.fuzz.text_changes import attack, outcome

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "400")) // 8
HOSTILE: tuple[Any, ...] = (
    *(None, True, -1, 0, 1, 2**40, 2**63, 1e308, 1e-308, -0.5, float("nan"), float("inf"), "", "x", "input", [], {}),
)


def leaves(tree: Any) -> list[tuple[Any, Any]]:
    """(container, key) of every value below `tree` that is no container."""
    found: list[tuple[Any, Any]] = []
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in items:
        found += leaves(value) if isinstance(value, dict | list) and value else [(tree, key)]
    return found


def changed(data: bytes, seed: int) -> bytes:
    """The record in `data` with one to three leaves changed, or lists cut short."""
    rng = random.Random(seed)
    tree = msgspec.msgpack.decode(zstandard.decompress(data))
    places = leaves(tree)
    for _ in range(rng.randint(1, 3)):
        container, key = rng.choice(places)
        value = container[key]
        if isinstance(value, int | float) and not isinstance(value, bool) and rng.random() < 0.4:
            container[key] = value * rng.choice([-1, 0, 1e-30, 1e30, 1000])
        elif isinstance(container, list) and rng.random() < 0.3:
            container.clear()
            places = leaves(tree)
        else:
            container[key] = rng.choice(HOSTILE)
    return zstandard.compress(msgspec.msgpack.encode(tree))


def use(record: PlanRecord) -> None:
    for changes in (Changes(), Changes(device=load_device("pixel-4"))):
        prices, question = ask(record, changes)
        answer = question.decide().recommended
        relax_limits(question, answer)
        hypervolume_series(question)
        list(could_win(unmeasured(prices, question), question, answer))
    stretches_of_rate(question, 1e6, 2e6)


@functools.cache
def original() -> bytes:
    """The record of a small plan."""
    with tempfile.TemporaryDirectory() as folder:
        small_plan.make(Path(folder))
        return (Path(folder) / "plan" / MEASURED).read_bytes()


def run(index: int) -> str:
    """Change the record and ask; gives whether it was accepted. Anything but an error of ours is raised."""

    def read() -> None:
        record = decode_record(changed(original(), index), at=MEASURED)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            use(record)

    return outcome(read)


TARGET = Target(name="measured.bin", run=run)


def test_a_changed_record_is_refused_or_answers() -> None:
    counts = attack(TARGET, EXAMPLES)
    assert min(counts.values()) > EXAMPLES / 15


def test_the_original_answers() -> None:
    use(decode_record(original(), at=MEASURED))
