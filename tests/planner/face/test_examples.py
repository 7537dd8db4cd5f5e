"""The examples in docstrings of the package's public names run as they are printed."""

from __future__ import annotations

import doctest
import inspect
import shutil
from pathlib import Path

import pytest

import splitpoint


def examples() -> list[doctest.DocTest]:
    """Of every public name that has one; `Plan` is shown in the README, which is run, too."""
    finder = doctest.DocTestFinder(recurse=False)
    found = []
    for name in splitpoint.__all__:
        value = getattr(splitpoint, name)
        if inspect.isfunction(value):
            found += [test for test in finder.find(value, name) if test.examples]
    return found


def test_every_public_function_has_an_example() -> None:
    functions = {name for name in splitpoint.__all__ if inspect.isfunction(getattr(splitpoint, name))}
    assert functions - {test.name for test in examples()} == {"read_picture"}


@pytest.mark.parametrize("example", examples(), ids=lambda example: example.name)
def test_an_example_says_what_happens(
    example: doctest.DocTest, home: Path, split_plan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("model.onnx", "fixed.yaml"):
        shutil.copy(home / name, tmp_path / name)
    shutil.copytree(split_plan, tmp_path / "plan")
    monkeypatch.chdir(tmp_path)
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    runner.run(example, out=said.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(said)
