"""docs/reference/catalogue.md lists what ships."""

from __future__ import annotations

from splitpoint.benchmarks import catalogue
from splitpoint.benchmarks.document import generated
from splitpoint.profiles.library.catalog import list_profiles
from splitpoint.profiles.library.whole_networks import BOARDS


def test_the_page_is_what_the_command_writes_and_has_every_profile() -> None:
    page = generated(catalogue.DOCUMENT, catalogue.COMMAND)
    assert page == catalogue.text()
    for name in (*(shipped.name for shipped in list_profiles()), *BOARDS):
        assert page.count(f"\n| {name} |") == 1


def test_every_row_names_a_source() -> None:
    listed = catalogue.text().partition("## Whole networks alone")[0]
    rows = [line for line in listed.splitlines() if line.startswith("| ") and " | source |" not in line]
    assert len(rows) == len(list_profiles())
    assert all(line.split("|")[-2].strip() for line in rows)
