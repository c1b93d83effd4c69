"""A gateway with the demo's traffic, and windows of a browser that forgives nothing."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

import httpx
import pytest

from gateway.cli import demo_traffic
from gateway.records import BodyRow, ExchangeEntry, ExchangeRow
from gateway.store.exchanges import insert_batch
from tests.harness import Process, run_gateway

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, Page, Request

NO_BROWSER = (
    "no browser here: `apt-get install chromium` and `pip install playwright` bring what these tests need"
)
ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--font-render-hinting=none",
)  # fmt: skip
AXE = Path(__file__).with_name("assets") / "axe.min.js"
SERIOUS = ("serious", "critical")
LIMIT_MS = 15_000


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Browser tests come last: what they look at is tested without one first."""
    here = Path(__file__).parent
    items.sort(key=lambda item: here in item.path.parents)


def _without_browser() -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(NO_BROWSER)  # .ci/run installs one
    pytest.skip(NO_BROWSER)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One a module: as long as Playwright runs, no test in this process can have an event loop of its own."""
    executable = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    try:
        from playwright.sync_api import sync_playwright  # noqa: PLC0415 - tests without it skip
    except ImportError:
        _without_browser()
    if executable is None:
        _without_browser()
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=executable, args=list(ARGUMENTS))
        yield running
        running.close()


@dataclass
class Demo:
    """A gateway that the demo's application and its users have been at."""

    url: str
    http: httpx.Client
    database: Path | None = None

    def store(self, row: ExchangeRow, bodies: BodyRow) -> None:
        """An exchange as the gateway's writer puts it in, for what no application brings about."""
        assert self.database is not None
        with closing(sqlite3.connect(self.database, isolation_level=None, timeout=20)) as connection:
            insert_batch(connection, [ExchangeEntry(row, bodies)], lambda *_: None)

    def ask(self, trace: str, question: str, **more: Any) -> str:
        """A request as the application sends it; the id of its exchange."""
        call = demo_traffic.Call(
            trace,
            "ana",
            "support_v2",
            {"model": "gpt-4o", "messages": [{"role": "user", "content": question}], **more},
        )
        demo_traffic.send(self.http, call)
        logs = self.http.get("/v1/logs", params={"trace_id": trace, "limit": 1}).json()["data"]
        return str(logs[0]["id"])

    def give(self, **item: Any) -> str:
        answer = self.http.post("/v1/feedback", json=item).raise_for_status()
        return str(answer.json()["feedback_ids"][0])

    def feedback(self, trace: str) -> list[dict[str, Any]]:
        data: list[dict[str, Any]] = self.http.get("/v1/feedback", params={"trace_id": trace}).json()["data"]
        return data


@pytest.fixture(scope="module")
def demo(browser: Browser, fake_openai: Process) -> Iterator[Demo]:
    """One a module. The browser is asked for first: without one no gateway is started."""
    with (
        run_gateway(upstream=f"{fake_openai.url}/v1") as gateway,
        httpx.Client(base_url=gateway.url, timeout=20) as http,
    ):
        for call in demo_traffic.CALLS:
            demo_traffic.send(http, call)
        for opinion in demo_traffic.OPINIONS:
            demo_traffic.give(http, opinion)
        yield Demo(gateway.url, http, gateway.database)


@dataclass
class Window:
    """A window of the browser, and everything that must not happen in it."""

    page: Page
    url: str
    faults: list[str] = field(default_factory=list)
    is_expected: Callable[[str], bool] = lambda _: False

    def __post_init__(self) -> None:
        self.page.set_default_timeout(LIMIT_MS)
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.faults.append(f"script failed: {error}"))
        self.page.on("request", self._on_request)

    def go(self, path: str) -> Window:
        self.page.goto(self.url + path)
        return self

    def check_accessibility(self) -> None:
        """Raises AssertionError with what axe-core finds serious."""
        self.page.evaluate(AXE.read_text())
        found = self.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        serious = [
            f"{rule['id']}: {node['target']} {node['failureSummary']}"
            for rule in found["violations"]
            if rule["impact"] in SERIOUS
            for node in rule["nodes"]
        ]
        assert serious == [], "\n".join(serious)

    def check_faults(self) -> None:
        assert [fault for fault in self.faults if not self.is_expected(fault)] == []

    def _on_console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.faults.append(f"console {message.type}: {message.text}")

    def _on_request(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob") and f"{parts.scheme}://{parts.netloc}" != self.url:
            self.faults.append(f"asked another host: {request.url}")


@pytest.fixture
def open_window(browser: Browser, demo: Demo) -> Iterator[Callable[..., Window]]:
    """Opens windows, each a browser of its own; `options` are Playwright's for a context.

    At the end none of them may have had a console error or asked another host.
    """
    windows: list[Window] = []

    def open_one(path: str = "/ui/logs", *, url: str = demo.url, **options: Any) -> Window:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
        windows.append(Window(context.new_page(), url))
        return windows[-1].go(path)

    yield open_one
    for window in windows:
        window.page.context.close()
    for window in windows:
        window.check_faults()
