"""Mutants of the deciding modules, and how many of them the tests of each module notice.

    python -m splitpoint.benchmarks.mutants [--sample 40] [--seed 0] [--workers 2] [MODULE ...]

cosmic-ray's operators change one comparison, operator, constant, loop or keyword at a time. A seeded sample of each
module's mutants runs that module's own tests (the table below; under 10 s in all) in a process that is forked from one
with the libraries imported. A mutant that changes annotations or docstrings alone is none: it cannot fail a test. Files
change in copies of the tree. Results are stored after every module, and a later call goes on where one ended (--fresh
begins again). Prints a table, the pooled score with its 95 % interval (Wilson) and the survivors.
"""

from __future__ import annotations

import argparse
import ast
import json
import multiprocessing
import os
import queue
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from splitpoint.benchmarks.faults import copy_tree
from splitpoint.benchmarks.stored import RESULTS, store
from splitpoint.planner.quality.intervals import wilson

ROOT = Path(__file__).resolve().parents[1]
RESULT = RESULTS / "mutants.json"
TIMEOUT_S = 45.0
SKIPPED = ("NoOp", "Variable", "RemoveDecorator", "ExceptionReplacer")  # operators: what they change is no decision
# Imported before the fork: what a test process spends most of its start on. Nothing of ours.
PRELOADED = ("msgspec", "numpy", "onnx", "onnxruntime", "optuna", "PIL.Image", "pytest", "rich", "yaml")

TESTS: dict[str, tuple[str, ...]] = {  # deciding module -> tests that must notice its mutants
    "planner/study/search.py": ("tests/planner/study/test_search.py", "tests/planner/study/test_samplers.py"),
    "planner/search/table.py": ("tests/planner/search/test_table.py", "tests/planner/search/test_table_by_hand.py"),
    "planner/search/decide.py": (
        "tests/planner/search/test_decide.py",
        "tests/planner/search/test_decide_by_enumeration.py",
        "tests/planner/search/test_pareto_knee.py",
    ),
    "planner/search/pareto.py": (
        "tests/planner/search/test_pareto_knee.py",
        "tests/planner/search/test_knee_by_hand.py",
    ),
    "planner/answers/policy.py": (
        "tests/planner/answers/test_policy.py",
        "tests/planner/answers/test_policy_by_hand.py",
    ),
    "planner/search/contradiction.py": ("tests/planner/search/test_contradiction.py",),
    "planner/limits/limits.py": ("tests/planner/limits", "tests/planner/search/test_decide.py"),
    "planner/limits/need.py": ("tests/planner/setup/test_device_limits.py", "tests/planner/limits"),
    "planner/limits/text.py": ("tests/planner/search/test_contradiction.py", "tests/planner/limits"),
    "planner/setup/device_limits.py": ("tests/planner/setup/test_device_limits.py",),
    "planner/quality/accuracy.py": (
        "tests/planner/quality/test_accuracy.py",
        "tests/planner/quality/test_accuracy_by_counting.py",
    ),
    "planner/quality/observe.py": (
        "tests/planner/quality/test_accuracy.py",
        "tests/planner/quality/test_accuracy_by_counting.py",
    ),
    "planner/quality/evaluate.py": ("tests/planner/quality/test_evaluate.py",),
    "planner/quality/intervals.py": ("tests/planner/quality/test_intervals.py",),
    "planner/cost/price.py": ("tests/planner/cost/test_price.py", "tests/planner/cost/test_cost_choices.py"),
    "planner/cost/timing.py": ("tests/planner/cost/test_timed_halves.py",),
    "planner/cost/anchors.py": ("tests/planner/cost/test_anchors.py", "tests/planner/cost/test_timed_halves.py"),
    "planner/cost/memory.py": ("tests/planner/cost/test_memory.py", "tests/planner/setup/test_device_limits.py"),
    "planner/cost/message.py": ("tests/planner/cost/test_message.py",),
    "planner/measuring/pricing.py": ("tests/planner/measuring/test_pricing.py",),
    "planner/coding/cache.py": ("tests/planner/coding/test_cache.py",),
    "planner/search/tables.py": ("tests/planner/search/test_tables.py",),
    "planner/search/baselines.py": ("tests/planner/search/test_baselines.py",),
    "planner/search/timed_cuts.py": ("tests/planner/search/test_timed_cuts.py",),
    "planner/plandir/verify.py": ("tests/planner/plandir/test_verify_checks.py",),
    "planner/plandir/writing.py": ("tests/planner/plandir/test_plan_writing.py",),
}


def mutants(source: str) -> Iterator[tuple[str, int, str]]:
    """(operator, occurrence, changed source) of every mutant that changes more than annotations and docstrings."""
    import cosmic_ray.plugins
    from cosmic_ray.mutating import mutate_code

    plain = behaviour(source)
    for name in sorted(cosmic_ray.plugins.operator_names()):
        if any(word in name for word in SKIPPED):
            continue
        operator = cosmic_ray.plugins.get_operator(name)()
        occurrence = 0
        while (changed := mutate_code(source, operator, occurrence)) is not None:
            if behaviour(changed) != plain:
                yield name, occurrence, changed
            occurrence += 1


def behaviour(source: str) -> str:
    """The syntax tree without annotations and docstrings; the source itself where it does not parse."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return source
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.FunctionDef):
            node.returns = None
        elif isinstance(node, ast.AnnAssign):
            node.annotation = ast.Constant(value=None)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body[0] = ast.Pass()
    return ast.dump(tree)


def run_mutant(path: Path, module: str, changed: str | None, tests: Sequence[str]) -> str:
    """ "killed", "survived" or "timeout"; `changed` None: the module as it is."""
    file = path / "splitpoint" / module
    original = file.read_text()
    file.write_text(original if changed is None else changed)
    try:
        child = os.fork()
        if child == 0:
            _test_in_child(path, tests)
        return _wait(child)
    finally:
        file.write_text(original)


def _test_in_child(path: Path, tests: Sequence[str]) -> None:
    """Run the tests on the copy at `path` and end the process: 0 when all pass."""
    code = 3
    try:
        os.setpgrp()
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, 1)
        os.dup2(nothing, 2)
        for name in [name for name in sys.modules if name == "splitpoint" or name.startswith("splitpoint.")]:
            del sys.modules[name]
        sys.path.insert(0, str(path))
        sys.dont_write_bytecode = True
        os.chdir((path / "splitpoint").resolve())
        import pytest

        code = int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *tests]))
    finally:
        os._exit(code)


def _wait(child: int) -> str:
    end = time.monotonic() + TIMEOUT_S
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return "survived" if os.waitstatus_to_exitcode(status) == 0 else "killed"
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "timeout"


def measure(module: str, path: Path, sample: int, seed: int) -> dict[str, Any]:
    """A row of the result: counts and the survivors of a seeded sample of the module's mutants."""
    source = (ROOT / module).read_text()
    tests = TESTS[module]
    if run_mutant(path, module, None, tests) != "survived":
        raise RuntimeError(f"{module}: its tests fail without any mutant")
    found = list(mutants(source))
    chosen = random.Random(f"{seed} {module}").sample(found, min(sample, len(found)))
    counts = {"killed": 0, "survived": 0, "timeout": 0}
    survivors = []
    for operator, occurrence, changed in chosen:
        outcome = run_mutant(path, module, changed, tests)
        counts[outcome] += 1
        if outcome == "survived":
            survivors.append({"operator": operator, "occurrence": occurrence, **_difference(source, changed)})
    return {"module": module, "mutants": len(found), **counts, "survivors": survivors}


def _difference(source: str, changed: str) -> dict[str, Any]:
    """The first line that differs."""
    for number, (old, new) in enumerate(zip(source.splitlines(), changed.splitlines(), strict=False), start=1):
        if old != new:
            return {"line": number, "before": old.strip(), "after": new.strip()}
    return {"line": 0, "before": "", "after": ""}


def _work(jobs: queue.Queue[str], results: queue.Queue[dict[str, Any]], sample: int, seed: int) -> None:
    for name in PRELOADED:
        __import__(name)
    with tempfile.TemporaryDirectory() as folder:
        path = copy_tree(Path(folder))
        while (module := jobs.get()) != "":
            try:
                results.put(measure(module, path, sample, seed))
            except RuntimeError as error:
                results.put({"module": module, "error": str(error)})


def main(arguments: list[str]) -> int:
    """Measure what is not stored yet, print and store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", help="only modules whose path has one of these words")
    parser.add_argument("--sample", type=int, default=40, help="mutants of each module at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--fresh", action="store_true", help="forget stored rows")
    options = parser.parse_args(arguments)
    rows: dict[str, dict[str, Any]] = {}
    if RESULT.is_file() and not options.fresh:
        rows = {row["module"]: row for row in json.loads(RESULT.read_text())["rows"]}
    wanted = [m for m in TESTS if not options.modules or any(word in m for word in options.modules)]
    todo = [module for module in wanted if options.modules or module not in rows]
    command = f"mutants --sample {options.sample} --seed {options.seed}"
    context = multiprocessing.get_context("spawn")
    jobs, results = context.Queue(), context.Queue()
    for module in [*todo, *[""] * options.workers]:
        jobs.put(module)
    workers = [
        context.Process(target=_work, args=(jobs, results, options.sample, options.seed))
        for _ in range(options.workers)
    ]
    for worker in workers:
        worker.start()
    failed = False
    for _ in todo:
        row = results.get()
        if "error" in row:
            failed = True
            print(row["error"], flush=True)
            continue
        rows[row["module"]] = row
        print(
            f"{row['module']:<36} {row['killed']:4} killed {row['survived']:4} survived {row['timeout']:4} timeout",
            flush=True,
        )
        store(RESULT, {"rows": [rows[m] for m in TESTS if m in rows]}, command=command)
    for worker in workers:
        worker.join()
    report([rows[m] for m in wanted if m in rows])
    return int(failed)


def report(rows: Sequence[dict[str, Any]]) -> None:
    """The pooled score and every survivor."""
    noticed = sum(row["killed"] + row["timeout"] for row in rows)
    total = noticed + sum(row["survived"] for row in rows)
    if total == 0:
        return
    low, high = wilson(noticed, total)
    print(f"{noticed} of {total} mutants noticed: {100 * noticed / total:.1f} % [{100 * low:.1f}, {100 * high:.1f}]")
    for row in rows:
        for survivor in row["survivors"]:
            print(f"  {row['module']}:{survivor['line']}  {survivor['before']}  ->  {survivor['after']}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
