"""Where and how a result was measured, stored with it."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from splitpoint.profiles.machine.machine import this_machine

__all__ = ["RESULTS", "machine", "store"]

RESULTS = Path(__file__).with_name("results")
VERSIONED = ("torch", "torch-pruning", "onnx", "onnxruntime", "numpy", "numba", "pillow")


def machine(threads: int) -> dict[str, Any]:
    """What tells two machines apart in a result."""
    here = this_machine(threads=threads)
    return {name: getattr(here, name) for name in ("cpu", "onnxruntime", "threads")}


def store(path: Path, results: Mapping[str, Any], *, command: str, threads: int = 1) -> None:
    """Write `results` with the command (after ``splitpoint.benchmarks.``), the day, the machine and the versions."""
    path.parent.mkdir(parents=True, exist_ok=True)
    origin = {
        "command": f"python -m splitpoint.benchmarks.{command}",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": machine(threads),
        "versions": {name: importlib.metadata.version(name) for name in VERSIONED},
    }
    path.write_text(json.dumps(origin | dict(results), indent=1) + "\n")
