"""docs/measurements.md shows what benchmarks/results holds."""

from __future__ import annotations

from splitpoint.benchmarks import measurements
from splitpoint.benchmarks.document import generated


def test_the_page_shows_the_stored_results() -> None:
    assert generated(measurements.DOCUMENT, measurements.COMMAND) == measurements.text()
