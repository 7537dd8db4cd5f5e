"""`from splitpoint import Plan` on a device: what it may import, and that checking a boundary still finds `onnx`."""

from __future__ import annotations

import subprocess
import sys

# Each takes 0.05 to 2 s to import, and none is needed to run a plan.
UNNEEDED = ("numba", "onnx", "onnx_ir", "optuna", "pydantic", "rich", "sympy", "torch", "typer")
# What the planner decides with; `planner.values` holds the types that both sides share.
PLANNING = ("coding", "cost", "cuts", "networks", "output", "profiling", "quality", "samples", "search", "setup")


def imported(statement: str) -> set[str]:
    """Names of the modules that a fresh process has after `statement`."""
    script = f"{statement}\nimport sys\nprint(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def test_a_plan_is_imported_without_what_only_planning_needs() -> None:
    names = imported("from splitpoint import Plan")
    assert "splitpoint.planner.deploy.plan" in names
    assert sorted(names & set(UNNEEDED)) == []
    assert sorted(names & {f"splitpoint.planner.{name}" for name in PLANNING}) == []


def test_facts_that_a_plan_needs_are_imported_without_onnx() -> None:
    parts = ("network.inputs", "network.runtime", "files.structs", "machine.machine")
    names = imported("\n".join(f"import splitpoint.profiles.{part}" for part in parts))
    assert sorted(names & set(UNNEEDED)) == []
