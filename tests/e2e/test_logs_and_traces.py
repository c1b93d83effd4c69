"""What people do at the logs and a trace: look, filter, open, give, change and retract, and see it live."""

from __future__ import annotations

import re
import time
import uuid
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.e2e.conftest import Demo, Window
from tests.harness import Process, run_gateway
from tests.own_api import exchange_row
from tests.own_dashboard import asking
from tests.test_attempts import REFUSED, THREE, columns

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Locator

    Open = Callable[..., Window]


@pytest.fixture
def trace() -> str:
    return f"e2e-{uuid.uuid4().hex[:12]}"


def row(window: Window, trace: str) -> Locator:
    return window.page.locator(f'tr[data-trace="{trace}"]')


def test_the_logs_are_filtered_and_the_back_button_takes_it_back(open_window: Open) -> None:
    window = open_window("/ui/logs")
    page = window.page
    assert page.locator("#rows tr").count() >= 9
    page.get_by_label("Text in messages").fill("haiku")
    page.keyboard.press("Enter")
    page.wait_for_url("**/ui/logs?q=haiku")
    assert page.locator("#rows tr").count() == 1
    page.get_by_text("Filters", exact=True).click()
    page.get_by_label("User").fill("nobody")
    page.get_by_role("button", name="Apply").click()
    page.wait_for_url("**/ui/logs?q=haiku&user=nobody")
    assert page.get_by_text("No trace fits").is_visible()
    page.go_back()
    page.wait_for_url("**/ui/logs?q=haiku")
    assert row(window, "haiku-1").is_visible()
    page.get_by_role("link", name="Remove the filter Text: haiku").click()
    page.wait_for_url("**/ui/logs")


def test_the_demo_from_the_list_to_a_comparison(open_window: Open) -> None:
    window = open_window("/ui/logs")
    page = window.page
    row(window, "support-4711").get_by_role("link").click()
    page.wait_for_url("**/ui/trace?id=support-4711")
    assert page.get_by_text("How do I get a refund for my helmet?").first.is_visible()
    page.get_by_text("As curl").first.click()
    assert "curl " in page.locator("#curl-1").inner_text()
    page.get_by_role("button", name="Compare").click()
    page.wait_for_url("**/ui/diff?**")
    assert page.get_by_role("heading", name="What differs").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_attempts_of_an_answer_are_listed_drawn_and_fit_a_phone(
    open_window: Open, demo: Demo, trace: str, scheme: str
) -> None:
    now_ms = time.time_ns() // 1_000_000
    many = tuple(REFUSED._replace(started_ms=number * 1.2, latency_ms=1.0) for number in range(130))
    for number, made in enumerate((THREE, many)):
        row_of = exchange_row(trace, now_ms + number, **columns(made))
        demo.store(row_of, asking("which way?", "the long one"))
    hit = exchange_row(trace, now_ms + 9, cache_status="hit", cost_usd=0.0, upstream=None)
    demo.store(hit, asking("once more?", "the same"))

    window = open_window("/ui/logs?retried=true&target=spare", color_scheme=scheme)
    page = window.page
    assert "fallback to spare" in row(window, trace).inner_text()
    assert "cached" in row(window, trace).inner_text()
    window.check_accessibility()
    row(window, trace).get_by_role("link").click()
    page.wait_for_url(f"**/ui/trace?id={trace}")
    table = page.get_by_role("table", name="Attempts of request 1, in order")
    assert table.get_by_role("row").count() == 4
    assert "answered" in table.get_by_role("row").last.inner_text()
    assert page.get_by_text("30 more, not kept").is_visible()
    widths = {(bar.bounding_box() or {})["width"] for bar in table.locator("svg").all()}
    assert len(widths) == 1
    assert min(widths) > 60
    window.check_accessibility()

    phone = open_window(
        f"/ui/trace?id={trace}", viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True
    )
    assert phone.page.evaluate("document.documentElement.scrollWidth") <= 390


def test_feedback_is_given_changed_and_retracted_and_seen_live_in_a_second_window(
    open_window: Open, demo: Demo, trace: str
) -> None:
    other = open_window("/ui/logs")
    other.page.get_by_text("Live", exact=True).wait_for()
    demo.ask(trace, "is anybody watching?")
    row(other, trace).wait_for()
    assert "is anybody watching?" in row(other, trace).inner_text()

    window = open_window(f"/ui/trace?id={trace}")
    third = open_window(f"/ui/trace?id={trace}")
    page = window.page
    score = page.get_by_role("form", name="Score")
    score.get_by_label("Value").fill("7")
    score.get_by_label("Weight").fill("0.5")
    score.get_by_label("Comment").fill("quite good")
    score.get_by_label("Your name").fill("Ana")
    score.get_by_role("button", name="Give feedback").click()
    page.get_by_text("Your feedback is stored.").wait_for()
    row(other, trace).get_by_text("+7").first.wait_for()
    third.page.get_by_text("quite good").wait_for()

    page.get_by_role("link", name="Change this feedback").click()
    page.get_by_label("Value").fill("-2")
    page.get_by_role("button", name="Save").click()
    page.get_by_text("The feedback was changed.").wait_for()
    page.get_by_text("History (1)").click()
    assert page.get_by_text("value was").is_visible()
    row(other, trace).get_by_text("\u22122").first.wait_for()
    assert demo.feedback(trace)[0]["value"] == -2

    page.get_by_role("button", name="Retract this feedback").click()
    page.get_by_text("The feedback was retracted.").wait_for()
    third.page.get_by_text("retracted", exact=True).wait_for()
    row(other, trace).get_by_text("\u22122").first.wait_for(state="detached")
    assert demo.feedback(trace) == []
    assert page.get_by_label("Your name").input_value() == "Ana"


def test_new_rows_do_not_move_what_is_being_read(open_window: Open, demo: Demo, trace: str) -> None:
    window = open_window("/ui/logs", viewport={"width": 1280, "height": 400})
    page = window.page
    page.get_by_text("Live", exact=True).wait_for()
    page.mouse.wheel(0, 300)
    page.wait_for_function("scrollY > 200")
    reading = row(window, "support-4711")
    before = reading.bounding_box()
    demo.ask(trace, "do not disturb")
    button = page.get_by_role("button", name=re.compile(r"\d new trace"))
    button.wait_for()
    assert reading.bounding_box() == before
    assert row(window, trace).count() == 0
    page.keyboard.press(".")
    row(window, trace).wait_for()
    assert page.evaluate("scrollY") == 0
    assert button.is_hidden()


def test_all_is_reached_with_the_keyboard(open_window: Open, demo: Demo, trace: str) -> None:
    demo.ask(trace, "keys only")
    window = open_window("/ui/logs")
    page = window.page
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/ui/trace?id={trace}")
    page.keyboard.press("u")
    page.get_by_text("Your feedback is stored.").wait_for()
    assert demo.feedback(trace)[0]["value"] == 1
    page.keyboard.press("g")
    page.keyboard.press("s")
    page.wait_for_url("**/ui/status")
    page.keyboard.press("?")
    page.wait_for_url("**/ui/keys")
    page.keyboard.press("g")
    page.keyboard.press("l")
    page.wait_for_url("**/ui/logs")
    page.keyboard.press("/")
    page.keyboard.type("haiku")
    assert page.get_by_label("Text in messages").input_value() == "haiku"


def test_copying_takes_the_whole_body_to_the_clipboard(open_window: Open, demo: Demo, trace: str) -> None:
    question = "long " * 8_000
    demo.ask(trace, question)
    window = open_window(f"/ui/trace?id={trace}", permissions=["clipboard-read", "clipboard-write"])
    page = window.page
    page.get_by_text("Raw request").first.click()
    page.locator('[data-copy="request-1"]').click()
    page.get_by_text("Copied").wait_for()
    assert question in page.evaluate("navigator.clipboard.readText()")


def test_a_hostile_completion_changes_nothing(open_window: Open, demo: Demo, trace: str) -> None:
    attack = (
        "</pre><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">\u202e"
    )
    demo.ask(trace, attack + "<svg onload=\"document.title='owned'\">")
    demo.give(trace_id=trace, value=1, comment=attack, source_id=attack[:200], metadata={"k": attack})
    for path in (f"/ui/trace?id={trace}", "/ui/logs", f"/ui/logs?trace_id={trace}&user=%3Cscript%3E"):
        window = open_window(path)
        window.page.wait_for_timeout(300)
        assert "owned" not in window.page.title()
        assert window.page.locator("main script, main img[src=x]").count() == 0


def test_forms_work_without_javascript(open_window: Open, demo: Demo, trace: str) -> None:
    demo.ask(trace, "no scripts here")
    window = open_window(f"/ui/trace?id={trace}", java_script_enabled=False)
    page = window.page
    page.get_by_role("button", name="Thumbs down").click()
    page.get_by_text("Your feedback is stored.").wait_for()
    assert demo.feedback(trace)[0]["value"] == -1


def test_where_there_are_keys_one_logs_in_and_out(open_window: Open, fake_openai: Process) -> None:
    key = "the-key-of-ana-0001"
    config = {"keys": {"ana": {"key": key}}}
    with run_gateway(config, upstream=f"{fake_openai.url}/v1") as gateway:
        body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "mine"}]}
        headers = {"authorization": f"Bearer {key}", "x-trace-id": "of-ana"}
        httpx.post(f"{gateway.url}/v1/chat/completions", json=body, headers=headers).raise_for_status()
        window = open_window("/ui/trace?id=of-ana", url=gateway.url)
        window.is_expected = lambda fault: "401" in fault  # the browser reports the page that refuses a key
        page = window.page
        page.get_by_label("Key").fill("not-the-key-of-ana")
        page.get_by_role("button", name="Log in").click()
        page.get_by_text("not one of the gateway").wait_for()
        page.get_by_label("Key").fill(key)
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url("**/ui/trace?id=of-ana")
        assert page.get_by_text("mine", exact=True).is_visible()
        (cookie,) = [each for each in page.context.cookies() if each["name"] == "gateway_session"]
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Lax")
        page.get_by_role("button", name="Log out").click()
        page.wait_for_url("**/ui/login")
