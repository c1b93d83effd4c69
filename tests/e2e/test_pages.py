"""Every page in light and dark, on a desk and on a phone: no fault, nothing serious for axe, no overflow."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.conftest import Demo, Window

if TYPE_CHECKING:
    from collections.abc import Callable

    Open = Callable[..., Window]

PAGES = {
    "logs": "/ui/logs",
    "logs-filtered": "/ui/logs?q=haiku&has_feedback=true",
    "logs-nothing": "/ui/logs?user=nobody",
    "logs-problem": "/ui/logs?status=nonsense",
    "trace": "/ui/trace?id=support-4711",
    "trace-tools": "/ui/trace?id=weather-88",
    "trace-errors": "/ui/trace?id=title-9",
    "trace-waiting": "/ui/trace?id=order-2026",
    "trace-none": "/ui/trace?id=none",
    "diff": "/ui/diff",
    "status": "/ui/status",
    "inbox": "/ui/inbox",
    "insights": "/ui/insights",
    "keys": "/ui/keys",
}
SHOWN_IN_README = ("logs", "trace", "inbox", "insights", "status")
MAX_SCREENSHOT_BYTES = 300_000
DESK = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", PAGES.values(), ids=list(PAGES))
def test_a_page_has_no_fault_and_nothing_serious_for_axe(open_window: Open, path: str, scheme: str) -> None:
    window = open_window(path, color_scheme=scheme)
    window.is_expected = lambda fault: (
        path in (PAGES["logs-problem"], PAGES["trace-none"]) and "status of 40" in fault
    )
    window.page.wait_for_load_state("load")
    window.page.wait_for_timeout(200)  # what is live has come
    for details in window.page.locator("main details").all():
        details.evaluate("element => { element.open = true; }")
    window.check_accessibility()


@pytest.mark.parametrize("path", PAGES.values(), ids=list(PAGES))
def test_a_page_fits_on_a_phone(open_window: Open, path: str) -> None:
    window = open_window(path, viewport=PHONE, has_touch=True, is_mobile=True)
    window.is_expected = lambda fault: "status of 40" in fault
    wide = window.page.evaluate("document.documentElement.scrollWidth")
    assert wide <= PHONE["width"]
    small = window.page.evaluate(
        """[...document.querySelectorAll("main button, main .button, main select, nav a")]
           .filter((each) => each.offsetParent && each.getBoundingClientRect().height < 43.5)
           .map((each) => each.outerHTML.slice(0, 120))"""
    )
    assert small == []


@pytest.mark.parametrize("name", SHOWN_IN_README)
def test_screenshots_of_the_main_pages(open_window: Open, demo: Demo, tmp_path: Path, name: str) -> None:
    """Kept where SCREENSHOTS says, for the README: `SCREENSHOTS=docs pytest tests/e2e -k screenshots`."""
    folder = Path(os.environ.get("SCREENSHOTS") or tmp_path)
    folder.mkdir(exist_ok=True)
    for scheme in ("light", "dark"):
        window = open_window(PAGES[name], viewport=DESK, color_scheme=scheme)
        window.page.wait_for_load_state("load")
        window.page.wait_for_timeout(300)
        path = folder / f"{name}-{scheme}.png"
        window.page.screenshot(path=path)
        assert 5_000 < path.stat().st_size < MAX_SCREENSHOT_BYTES
