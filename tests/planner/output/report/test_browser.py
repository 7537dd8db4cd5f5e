"""Reports in a real browser: Debian's chromium, headless, at two widths, light and dark, without a network.

Screenshots go to the folder that SPLITPOINT_SCREENSHOTS names, or to pytest's temporary folder.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from splitpoint.planner.deploy.file_names import PAGE
from splitpoint.planner.output.report.content import read_content
from splitpoint.planner.output.report.page import charts

REASON = "no chromium is installed"
WIDTHS, SCHEMES = (390, 1280), ("light", "dark")
TRIES = 600  # every 100 ms
LEAST_BYTES = 20_000  # of a screenshot with something on it
# Texts of charts that stick out of the window, and elements whose content is wider than they are, but for those that
# scroll and their content.
OUTSIDE = """() => {
  const wide = [...document.querySelectorAll("body *:not(.chart *):not(.table *):not(pre *):not(.skip)")].filter(
    (e) => e.clientWidth > 0 && e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).overflowX === "visible");
  const cut = [...document.querySelectorAll(".chart text")].filter((e) => {
    const box = e.getBoundingClientRect(), frame = e.closest(".chart").getBoundingClientRect();
    return box.width > 0 && (box.left < frame.left - 1 || box.right > frame.right + 1);
  });
  return [...wide, ...cut].map((e) => `${e.tagName} ${e.className.baseVal ?? e.className}: ${e.textContent}`);
}"""


@dataclasses.dataclass(kw_only=True)
class Opened:
    """A page, and what its console and its network said."""

    page: Any
    complaints: list[str]
    requests: list[str]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's chromium; nothing is downloaded."""
    place = shutil.which("chromium")
    if place is None:
        pytest.skip(REASON)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=place, args=["--no-sandbox"])  # root has no sandbox
        yield found
        found.close()


def opened(browser: Any, directory: Path, width: int, scheme: str) -> Opened:
    """The report in `directory`, drawn, with every table unfolded when it is asked for."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    found = Opened(page=page, complaints=[], requests=[])
    page.on("console", lambda message: found.complaints.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: found.complaints.append(str(error)))
    page.on("request", lambda request: found.requests.append(request.url))
    page.goto((directory / PAGE).as_uri(), wait_until="load", timeout=120_000)
    page.wait_for_selector("html[data-drawn]", state="attached", timeout=120_000)
    return found


def until(page: Any, condition: str) -> None:
    """Wait for `condition`; Playwright's own waiting compiles text in the page, which the page's policy refuses."""
    for _ in range(TRIES):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(100)
    raise AssertionError(f"never: {condition}")


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_it_is_readable(browser: Any, reported: Path, tmp_path: Path, width: int, scheme: str) -> None:
    """No error on the console, nothing that overflows, no finding of axe-core, which compares contrast with WCAG AA."""
    from axe_playwright_python.sync_playwright import Axe

    found = opened(browser, reported, width, scheme)
    page = found.page
    shots = Path(os.environ.get("SPLITPOINT_SCREENSHOTS", tmp_path))
    shots.mkdir(parents=True, exist_ok=True)
    picture = page.screenshot(path=shots / f"report-{width}-{scheme}.png", full_page=True)
    assert len(picture) > LEAST_BYTES
    drawn = sum(1 for chart in charts(read_content(reported)) if chart.figure is not None)
    assert page.locator(".chart .main-svg").count() >= drawn
    for unfolded in (False, True):
        if unfolded:
            page.evaluate("document.querySelectorAll('details').forEach((details) => { details.open = true; })")
        assert page.evaluate("document.scrollingElement.scrollWidth <= innerWidth")
        assert page.evaluate(OUTSIDE) == []
        violations = Axe().run(page).response["violations"]
        assert [(rule["id"], [node["html"] for node in rule["nodes"]]) for rule in violations] == []
    assert found.complaints == []
    assert found.requests == [(reported / PAGE).as_uri()]
    page.close()


def test_names_do_not_run(browser: Any, hostile: Path) -> None:
    found = opened(browser, hostile, 1280, "light")
    page = found.page
    page.evaluate("document.querySelectorAll('details').forEach((details) => { details.open = true; })")
    page.locator("#network-chart .nsewdrag").first.hover()  # labels are drawn, too
    assert page.evaluate("window.hacked") is None
    assert page.locator("img").count() == 0
    assert page.locator(".chart a").count() == 0
    assert found.complaints == []
    assert found.requests == [(hostile / PAGE).as_uri()]
    page.close()


def test_the_policy_refuses_a_script_that_was_put_into_the_page(browser: Any, reported: Path, tmp_path: Path) -> None:
    """Even a name that was not escaped would not run."""
    text = (reported / PAGE).read_bytes().decode()
    (tmp_path / PAGE).write_bytes(text.replace("<h1>", "<script>window.hacked=1</script><h1>", 1).encode())
    found = opened(browser, tmp_path, 1280, "light")
    assert found.page.evaluate("window.hacked") is None
    assert any("Content Security Policy" in text for text in found.complaints)
    found.page.close()


def test_axes_are_chosen_with_the_keyboard(browser: Any, reported: Path) -> None:
    found = opened(browser, reported, 1280, "light")
    page = found.page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    axis = page.locator("#front-chart")
    before = axis.evaluate("(chart) => chart.layout.yaxis.title.text")
    page.locator('select[data-for="front-chart"][data-axis="y"]').focus()
    page.keyboard.press("ArrowDown")
    until(page, f"document.getElementById('front-chart').layout.yaxis.title.text !== {before!r}")
    front = charts(read_content(reported))[0]
    chosen = axis.evaluate("(chart) => chart.layout.yaxis.title.text")
    axes = [other for other in front.axes if other.title == chosen]
    assert len(axes) == 1
    for i, group in enumerate(front.groups):
        assert axis.evaluate(f"(chart) => [...(chart.data[{i}].y ?? [])]") == [axes[0].values[row] for row in group]
    assert found.complaints == []
    page.close()


def test_colours_follow_the_system(browser: Any, reported: Path) -> None:
    found = opened(browser, reported, 1280, "light")
    background = "getComputedStyle(document.body).backgroundColor"
    drawn = "document.querySelector('#front-chart').layout.paper_bgcolor"
    before = found.page.evaluate(background), found.page.evaluate(drawn)
    found.page.emulate_media(color_scheme="dark")
    until(found.page, f"{drawn} !== '{before[1]}'")
    assert found.page.evaluate(background) != before[0]
    found.page.close()


def test_without_scripts_the_tables_are_there(browser: Any, reported: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((reported / PAGE).as_uri())
    assert page.locator("noscript").first.inner_text() != ""
    assert page.locator("table").count() >= 7
    context.close()
