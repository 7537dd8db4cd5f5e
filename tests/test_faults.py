"""The list of single faults: every row still finds its place and names tests that exist."""

from __future__ import annotations

from pathlib import Path

import pytest

from splitpoint.benchmarks.faults import Fault, apply, read_faults

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("fault", read_faults(), ids=lambda fault: fault.name)
def test_a_fault_changes_one_place_and_names_its_tests(fault: Fault) -> None:
    text = (ROOT / fault.file).read_text(encoding="utf-8")
    assert apply(fault, text) != text
    assert fault.tests
    assert all((ROOT / test.partition("::")[0]).is_file() for test in fault.tests)
