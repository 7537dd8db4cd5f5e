"""Every test that did not run, with its reason; exit 1 when one is not on the committed list.

    skips.py RESULTS.xml SLOW.txt ALLOWED.txt    RESULTS.xml: pytest --junitxml -o junit_family=xunit1
    skips.py --count RESULTS.xml                 SLOW.txt: pytest --collect-only -q -m slow

A line of the list is ``test id :: reason``. The id may leave out the parameters in [...]; the reason of a skip is
pytest's own, that of a test left out because it is marked slow begins with "slow".
"""

from __future__ import annotations

import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

SLOW = "slow"


def main(arguments: list[str]) -> int:
    """Print and compare; 1 when the list does not allow what was found."""
    if arguments[0] == "--count":
        print(count(Path(arguments[1])))
        return 0
    results, slow, allowed = map(Path, arguments)
    rows = skipped(results) + [(line, SLOW) for line in slow.read_text().splitlines() if "::" in line]
    listed = allowed_skips(allowed)
    wrong = 0
    for test, reason in rows:
        entry = listed.get(test) or listed.get(re.sub(r"\[.*", "", test))
        good = entry is not None and (entry.startswith(SLOW) if reason == SLOW else entry == reason)
        wrong += not good
        print(f"{'allowed' if good else 'NOT ALLOWED'}  {test} :: {entry if good else reason}")
    print(f"{len(rows)} tests did not run, {wrong} of them not allowed by {allowed}")
    return 1 if wrong else 0


def skipped(results: Path) -> list[tuple[str, str]]:
    """(test id, reason) of every skipped test; a test that is expected to fail is not skipped."""
    rows = []
    for case in ElementTree.parse(results).iter("testcase"):
        skip = case.find("skipped")
        if skip is not None and skip.get("type") != "pytest.xfail":
            file = case.get("file", "")
            module = file.removesuffix(".py").replace("/", ".")
            classes = case.get("classname", "").removeprefix(module).strip(".").split(".")
            rows.append(("::".join([file, *filter(None, classes), case.get("name", "")]), skip.get("message", "")))
    return rows


def allowed_skips(path: Path) -> dict[str, str]:
    """Test id -> reason; lines that begin with # are comments."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    return {test.strip(): reason.strip() for test, reason in (line.rsplit(" :: ", 1) for line in lines)}


def count(results: Path) -> str:
    """The totals as one plain line."""
    if not results.is_file():
        return "0 passed, 0 failed, 0 skipped: the tests did not run"
    suites = list(ElementTree.parse(results).iter("testsuite"))
    tests, skips, bad = (
        sum(int(suite.get(name, 0)) for suite in suites for name in names)
        for names in (("tests",), ("skipped",), ("failures", "errors"))
    )
    return f"{tests - skips - bad} passed, {bad} failed, {skips} skipped"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
