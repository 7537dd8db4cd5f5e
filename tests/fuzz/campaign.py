"""Run numbered cases of everything that is attacked, for as long as is asked, and go on where the last run stopped.

    python -m splitpoint.tests.fuzz.campaign [--target NAME] [--cases N] [--state FILE] [--minutes M]

Targets are `TARGET` or `TARGETS` of the modules test_fuzz_*.py; --target takes one or, by the beginning of their names,
several. A case is a number: the same number gives the same attack. What became of each is counted: "refused" and
"accepted" are as they should be, any exception is foreign. A case is slow when it takes 2 s longer than the quickest of
its target. The state is a JSON file, written every few seconds and read when it is there. Exit 1 when anything foreign
or slow was found.
"""

from __future__ import annotations

import argparse
import dataclasses
import faulthandler
import importlib
import json
import sys
import time
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from splitpoint.tests.fuzz.target import Target

FOLDER = Path(__file__).parent
SLOW_S = 2.0
HANG_S = 300.0  # for this long nothing of one slice ends: the traceback is printed and the process ends
SLICE_S = 1.0  # of one target, then comes the next
SAVE_EVERY_S = 5.0
LISTED = 50  # foreign and slow cases of a target that are kept; all are counted
EXPECTED = ("refused", "accepted")


@dataclasses.dataclass
class Tally:
    """What became of the cases 0 to `next` - 1 of one target."""

    next: int = 0
    seconds: float = 0.0
    quickest_s: float = float("inf")
    outcomes: dict[str, int] = dataclasses.field(default_factory=dict)
    cases: list[dict[str, Any]] = dataclasses.field(default_factory=list)  # foreign and slow ones

    @property
    def found(self) -> int:
        """Number of cases that are not as they should be."""
        return sum(count for outcome, count in self.outcomes.items() if outcome not in EXPECTED)

    def run(self, target: Target) -> None:
        """Run the next case and count it; one that seems slow is run again, since the machine may have been busy."""
        what, seconds = _timed(target, self.next)
        self.quickest_s = min(self.quickest_s, seconds)
        if seconds > self.quickest_s + SLOW_S and (again := _timed(target, self.next)[1]) > self.quickest_s + SLOW_S:
            self._count("slow", f"{min(seconds, again):.1f} s")
        self._count(what if what in EXPECTED else "foreign", what)
        self.seconds += seconds
        self.next += 1

    def _count(self, outcome: str, what: str) -> None:
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1
        if outcome not in EXPECTED and len(self.cases) < LISTED:
            self.cases.append({"case": self.next, "outcome": outcome, "what": what})


def _timed(target: Target, case: int) -> tuple[str, float]:
    """What became of a case, an exception as its last line, and the seconds that it took."""
    started = time.perf_counter()
    try:
        what = target.run(case)
    except Exception as error:  # what the campaign looks for
        what = _last_line(error)
    return what, time.perf_counter() - started


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the campaign that the command line asks for; 1 when anything foreign or slow was found."""
    parser = argparse.ArgumentParser(prog="python -m splitpoint.tests.fuzz.campaign", description=__doc__)
    parser.add_argument("--target", action="append", help="name of a target, or its beginning (default: all)")
    parser.add_argument("--cases", type=int, default=1000, help="of each target, earlier runs included (default: 1000)")
    parser.add_argument("--state", type=Path, help="JSON file to go on from (default: nothing is kept)")
    parser.add_argument("--minutes", type=float, help="stop after this time (default: when all cases were run)")
    options = parser.parse_args(arguments)
    targets = choose(find_targets(), options.target)
    if not targets:
        parser.error(f"no target is named {options.target}; there are {', '.join(t.name for t in find_targets())}")
    tallies = read_state(options.state)
    until = float("inf") if options.minutes is None else time.monotonic() + 60 * options.minutes
    try:
        run_targets(targets, tallies, cases=options.cases, state=options.state, until=until)
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here")
    print(table({target.name: tallies.get(target.name, Tally()) for target in targets}))
    return 1 if any(tallies[target.name].found for target in targets if target.name in tallies) else 0


def find_targets() -> list[Target]:
    """Every target, by the names of the modules."""
    found: list[Target] = []
    for path in sorted(FOLDER.glob("test_fuzz_*.py")):
        module = importlib.import_module(f"splitpoint.tests.fuzz.{path.stem}")
        found += getattr(module, "TARGETS", [getattr(module, "TARGET", None)])
    return [target for target in found if target is not None]


def choose(targets: Iterable[Target], names: Sequence[str] | None) -> list[Target]:
    """The targets whose names begin with one of `names`."""
    return [target for target in targets if names is None or target.name.startswith(tuple(names))]


def run_targets(
    targets: Sequence[Target], tallies: dict[str, Tally], *, cases: int, state: Path | None, until: float
) -> None:
    """Run the targets in turn, a slice of each, until each has `cases` or the time is over; keeps the state."""
    saved = time.monotonic()
    left = list(targets)
    try:
        while left and time.monotonic() < until:
            for target in left:
                _run_slice(target, tallies.setdefault(target.name, Tally()), cases, until)
                if time.monotonic() > saved + SAVE_EVERY_S:
                    write_state(state, tallies)
                    saved = time.monotonic()
            left = [target for target in left if tallies[target.name].next < cases]
    finally:
        write_state(state, tallies)


def _run_slice(target: Target, tally: Tally, cases: int, until: float) -> None:
    end = min(time.monotonic() + SLICE_S, until)
    faulthandler.dump_traceback_later(HANG_S, exit=True, file=2)  # standard error
    try:
        while tally.next < cases and time.monotonic() < end:
            tally.run(target)
    finally:
        faulthandler.cancel_dump_traceback_later()


def read_state(path: Path | None) -> dict[str, Tally]:
    """The tallies of an earlier run; none where there is no file."""
    if path is None or not path.is_file():
        return {}
    stored = json.loads(path.read_text(encoding="utf-8"))
    return {name: Tally(**row) for name, row in stored.items()}


def write_state(path: Path | None, tallies: dict[str, Tally]) -> None:
    """Replace the file in one step."""
    if path is None:
        return
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(json.dumps({name: dataclasses.asdict(tally) for name, tally in tallies.items()}, indent=1))
    fresh.replace(path)


def table(tallies: dict[str, Tally]) -> str:
    """The counts as text, a line a target, and what was found."""
    columns = ("cases", *EXPECTED, "foreign", "slow")
    width = max(len(name) for name in (*tallies, "target"))
    lines = [f"{'target':{width}}" + "".join(f"{column:>11}" for column in columns) + f"{'cases/s':>10}"]
    for name, tally in [*tallies.items(), ("all", _sum(tallies.values()))]:
        numbers = (tally.next, *(tally.outcomes.get(column, 0) for column in columns[1:]))
        rate = tally.next / tally.seconds if tally.seconds else 0.0
        lines.append(f"{name:{width}}" + "".join(f"{number:>11,}" for number in numbers) + f"{rate:>10,.0f}")
    lines += [
        f"{name}: case {row['case']} {row['outcome']}: {row['what']}" for name, t in tallies.items() for row in t.cases
    ]
    return "\n".join(lines)


def _sum(tallies: Iterable[Tally]) -> Tally:
    total = Tally()
    for tally in tallies:
        total.next += tally.next
        total.seconds += tally.seconds
        for outcome, count in tally.outcomes.items():
            total.outcomes[outcome] = total.outcomes.get(outcome, 0) + count
    return total


def _last_line(error: Exception) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({Path(frame.filename).name}:{frame.lineno})"[:300]


if __name__ == "__main__":
    sys.exit(main())
