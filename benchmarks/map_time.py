"""Seconds and peak memory of ``splitpoint map`` and ``splitpoint what-if`` from a plan directory, each a new process.

python -m splitpoint.benchmarks.map_time PLAN [--rounds 5]
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import splitpoint
from splitpoint.benchmarks.cuts_command import measure
from splitpoint.benchmarks.stored import RESULTS, store
from splitpoint.planner.answers.record import encode_record
from splitpoint.planner.answers.stored import read_record

__all__ = ["main"]

COMMANDS = {
    "map": ["map"],
    "map --speeds": ["map", "--speeds"],
    "what-if": ["what-if"],
    "what-if --link-rate 0.05..100Mbit/s": ["what-if", "--link-rate", "0.05..100Mbit/s"],
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description="seconds of `splitpoint map` and `splitpoint what-if`")
    parser.add_argument("plan", type=Path, help="a plan directory")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(arguments)
    stored, record = read_record(options.plan)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "splitpoint").symlink_to(Path(splitpoint.__file__).resolve().parent)
        commands = {
            name: ["-m", "splitpoint.cli", words[0], str(options.plan), *words[1:], "--json"]
            for name, words in COMMANDS.items()
        }
        found = measure(commands, [Path(folder)], rounds=options.rounds)
    found |= {
        "network": stored.file.model.name,
        "points": len(record.points),
        "inputs": record.points[0].accuracy.n,
        "table": len(record.table),
        "record_bytes": len(encode_record(record)),
        "rounds": options.rounds,
    }
    for name, value in found.items():
        print(name, value)
    store(RESULTS / "map-time.json", found, command="map_time PLAN", threads=os.cpu_count() or 1)


if __name__ == "__main__":
    main()
