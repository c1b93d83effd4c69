"""Grading with nothing but the keyboard, and Insights from a bar to the logs behind it."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

from tests.e2e.conftest import Demo, Window

if TYPE_CHECKING:
    from collections.abc import Callable

    Open = Callable[..., Window]

REVIEW = {
    "type": "object",
    "required": ["stars", "safe"],
    "properties": {
        "stars": {"type": "integer", "minimum": 1, "maximum": 5, "title": "Stars"},
        "safe": {"type": "boolean", "title": "Safe to show?"},
        "issues": {"type": "array", "title": "Issues", "items": {"enum": ["wrong", "rude", "long"]}},
    },
}


@pytest.fixture
def task(demo: Demo) -> str:
    """The name of a task of its own."""
    name = f"Review {uuid.uuid4().hex[:8]}"
    demo.http.post("/v1/feedback-tasks", json={"name": name, "schema": REVIEW}).raise_for_status()
    return name


def given_for(demo: Demo, task: str) -> list[dict[str, object]]:
    found = demo.http.get("/v1/feedback", params={"name": task}).json()["data"]
    return [one["value"] for one in reversed(found)]


def begin(window: Window, task: str, by: str) -> None:
    card = window.page.locator("section.task", has_text=task)
    card.get_by_label("Your name").fill(by)
    card.get_by_role("button", name="Grade").click()
    window.page.wait_for_url("**/ui/inbox/grade?**")


def test_exchanges_are_graded_with_the_keyboard_alone(open_window: Open, demo: Demo, task: str) -> None:
    window = open_window("/ui/inbox")
    window.is_expected = lambda fault: "status of 400" in fault
    page = window.page
    begin(window, task, "Ann")
    first = page.url

    page.keyboard.press("Enter")
    page.get_by_text("Not saved").wait_for()
    assert page.get_by_text("is missing; it is required").count() == 2
    assert given_for(demo, task) == []
    window.check_accessibility()

    for key in ("4", "2", "3"):  # stars, safe, one issue
        page.keyboard.press(key)
    page.keyboard.press("c")
    page.keyboard.type("Good 1")
    page.keyboard.press("Control+Enter")
    page.get_by_text("1 graded by Ann").wait_for()
    assert given_for(demo, task) == [{"stars": 4, "safe": False, "issues": ["long"]}]
    assert page.url != first

    skipped = page.url
    page.keyboard.press("s")
    page.wait_for_function("before => location.href !== before", arg=skipped)
    page.keyboard.press("u")
    page.get_by_text("Taken back").wait_for()
    assert given_for(demo, task) == []


def test_the_keys_are_listed_when_asked_for(open_window: Open, task: str) -> None:
    window = open_window("/ui/inbox")
    begin(window, task, "Bob")
    assert not window.page.get_by_text("Take back what was saved last").is_visible()
    window.page.keyboard.press("?")
    assert window.page.get_by_text("Take back what was saved last").is_visible()
    assert "/ui/inbox/grade" in window.page.url
    window.check_accessibility()


def test_grading_works_without_scripts(open_window: Open, demo: Demo, task: str) -> None:
    window = open_window("/ui/inbox", java_script_enabled=False)
    begin(window, task, "Cid")
    window.page.get_by_label("5", exact=True).check()
    window.page.get_by_label("Yes").check()
    window.page.get_by_role("button", name="Save and go on").click()
    window.page.get_by_text("1 graded by Cid").wait_for()
    assert given_for(demo, task) == [{"stars": 5, "safe": True}]


def test_a_task_is_made_in_the_browser(open_window: Open) -> None:
    window = open_window("/ui/inbox")
    window.page.get_by_role("link", name="New task").click()
    window.page.get_by_label("Name").fill("Tone?")
    window.page.get_by_label("One of some labels").check()
    window.page.get_by_label("Labels, one a line").fill("warm\ncold")
    window.check_accessibility()
    window.page.get_by_role("button", name="Make the task").click()
    window.page.wait_for_url("**/ui/inbox")
    begin(window, "Tone?", "Dee")
    assert window.page.get_by_label("warm").is_visible()
    window.page.get_by_role("button", name="Stop").click()
    window.page.wait_for_url("**/ui/inbox")


def test_a_bar_leads_to_the_logs_it_counts(open_window: Open) -> None:
    window = open_window("/ui/insights?range=24h")
    page = window.page
    bar = page.locator("#requests a", has=page.locator("rect.s1"))
    assert bar.count() >= 1
    bar.last.click(force=True)
    page.wait_for_url("**/ui/logs?active_since=**")
    assert page.locator("#rows tr").count() >= 5


def test_time_and_grouping_are_in_the_address(open_window: Open) -> None:
    window = open_window("/ui/insights")
    page = window.page
    page.get_by_label("Group by").select_option("user")
    page.get_by_role("button", name="Show").click()
    page.wait_for_url("**by=user**")
    page.get_by_role("link", name="24 hours").click()
    page.wait_for_url("**range=24h&by=user**")
    page.get_by_role("link", name="charts of ana").click()
    page.wait_for_url("**group=ana**")
    assert page.get_by_title("Show all again").is_visible()
    page.go_back()
    page.wait_for_url("**range=24h&by=user")


def test_every_chart_has_a_table_and_a_csv_behind_it(open_window: Open) -> None:
    window = open_window("/ui/insights?range=24h")
    figures = window.page.locator("figure.plot")
    assert figures.count() == 8
    for figure in figures.all():
        figure.get_by_text("Table", exact=True).click()
        assert figure.get_by_role("row").count() >= 21
        with window.page.expect_download() as download:
            figure.get_by_role("link", name="CSV").click()
        assert download.value.suggested_filename.endswith(".csv")
