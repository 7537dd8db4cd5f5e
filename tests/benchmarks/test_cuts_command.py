"""benchmarks/cuts_command.py: its summary of two series of numbers, and that its processes import the right package."""

from __future__ import annotations

from pathlib import Path

import pytest

from splitpoint.benchmarks.cuts_command import measure, run, summary


def test_ratios_are_those_of_pairs() -> None:
    result = summary([1.0, 4.0, 3.0], [2.0, 4.0, 12.0])
    assert (result["min"], result["median"]) == (1.0, 3.0)
    assert (result["other_min"], result["other_median"]) == (2.0, 4.0)
    assert (result["ratio_min"], result["ratio_median"], result["ratio_max"]) == (0.25, 0.5, 1.0)


def test_each_process_takes_its_own_package(tmp_path: Path) -> None:
    packages = []
    for name, size in (("small", 1), ("large", 200_000_000)):
        (tmp_path / name / "splitpoint").mkdir(parents=True)
        (tmp_path / name / "splitpoint" / "__init__.py").write_text(f"held = bytearray(b'1') * {size}\n")
        packages.append(tmp_path / name)
    result = measure({"import": ["-c", "import splitpoint"]}, packages, rounds=1)
    assert result["import"]["peak_bytes"]["ratio_max"] < 0.5
    assert result["import"]["peak_bytes"]["other_min"] > 200_000_000


def test_a_command_that_fails_is_not_measured(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="exit code 3"):
        run(["-c", "raise SystemExit(3)"], package=tmp_path)
