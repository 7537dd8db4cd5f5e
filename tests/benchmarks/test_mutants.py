"""The mutation run: every module and test that it names exists, and what cannot fail a test is no mutant."""

from __future__ import annotations

from pathlib import Path

from splitpoint.benchmarks.mutants import TESTS, behaviour

ROOT = Path(__file__).parents[2]


def test_modules_and_tests_exist() -> None:
    for module, tests in TESTS.items():
        assert (ROOT / module).is_file(), module
        assert tests
        assert all((ROOT / test).exists() for test in tests), module


def test_annotations_and_docstrings_do_not_count_and_code_does() -> None:
    plain = 'def f(x: int | None) -> int:\n    """Text 1."""\n    y: int = 2\n    return x + y\n'
    assert behaviour(plain) == behaviour(plain.replace("int | None", "int & None").replace("-> int", "-> str"))
    assert behaviour(plain) == behaviour(plain.replace("Text 1", "Text 2"))
    assert behaviour(plain) != behaviour(plain.replace("x + y", "x - y"))
    assert behaviour(plain) != behaviour(plain.replace("= 2", "= 3"))
    assert behaviour("not python (") == "not python ("
