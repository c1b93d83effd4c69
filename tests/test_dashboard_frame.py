"""What every page of the dashboard has: headers, a frame, errors as pages, static files and a way in."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import httpx
import pytest

from gateway.dashboard.guard import CONTENT_SECURITY_POLICY
from tests.harness.process import clean_environment
from tests.own_dashboard import asking, own_dashboard

if TYPE_CHECKING:
    from pathlib import Path

    from tests.harness import RunningGateway

PAGES = (
    "/ui/logs",
    "/ui/logs?q=hello&status=error",
    "/ui/logs?status=nonsense",
    "/ui/trace?id=one",
    "/ui/trace?id=none",
    "/ui/feedback?id=none",
    "/ui/diff",
    "/ui/diff?a=x&b=y",
    "/ui/status",
    "/ui/keys",
    "/ui/login",
    "/ui/inbox",
    "/ui/insights",
    "/ui/raw?id=x&part=request",
    "/ui/nowhere",
    "/ui/static/0/gateway.css",
    "/ui/static/0/none.css",
)


@pytest.mark.parametrize("path", PAGES)
async def test_every_answer_forbids_all_but_our_own_scripts_and_styles(tmp_path: Path, path: str) -> None:
    async with own_dashboard(tmp_path) as dashboard:
        await dashboard.api.exchange("one", bodies=asking("hello"))
        response = await dashboard.client.get(path)
    assert response.status_code < 500, response.text
    assert response.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["referrer-policy"] == "same-origin"
    assert not re.search(r"""<script(?![^>]* src=)|<style|\son[a-z]+=|\sstyle=""", response.text)


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_asks_no_other_host_for_anything(tmp_path: Path, path: str) -> None:
    async with own_dashboard(tmp_path) as dashboard:
        await dashboard.api.exchange("one", bodies=asking("hello"))
        page = (await dashboard.client.get(path)).text
    addresses = re.findall(r'(?:src|href|action)="([^"]*)"', page)
    assert [each for each in addresses if not each.startswith(("/", "#", "data:"))] == []


async def test_static_files_stay_in_the_cache_under_a_url_that_follows_their_content(tmp_path: Path) -> None:
    async with own_dashboard(tmp_path) as dashboard:
        page = await dashboard.page("/ui/logs")
        found = re.search(r'href="(/ui/static/[0-9a-f]{16}/gateway\.css)"', page)
        assert found
        style = await dashboard.client.get(found[1])
        other = await dashboard.client.get("/ui/static/0123456789abcdef/gateway.css")
    assert style.headers["content-type"] == "text/css; charset=utf-8"
    assert "immutable" in style.headers["cache-control"]
    assert other.headers["cache-control"] == "no-store"


async def test_a_page_is_kept_in_no_cache(tmp_path: Path) -> None:
    async with own_dashboard(tmp_path) as dashboard:
        response = await dashboard.client.get("/ui/logs")
    assert response.headers["cache-control"] == "no-store"


async def test_an_unknown_page_says_so_as_a_page(tmp_path: Path) -> None:
    async with own_dashboard(tmp_path) as dashboard:
        page = await dashboard.page("/ui/nowhere", expect=404)
    assert "Not found" in page
    assert "/ui/nowhere" in page


async def test_head_is_get_without_a_body_and_other_methods_are_refused(tmp_path: Path) -> None:
    async with own_dashboard(tmp_path) as dashboard:
        head = await dashboard.client.head("/ui/logs")
        put = await dashboard.client.put("/ui/logs")
    assert (head.status_code, head.content) == (200, b"")
    assert (put.status_code, put.headers["allow"]) == (405, "GET, HEAD")


def test_the_gateway_leads_browsers_to_the_dashboard_and_programs_not(http: httpx.Client) -> None:
    browser = http.get("/", headers={"accept": "text/html,application/xhtml+xml"})
    program = http.get("/", headers={"accept": "*/*"})
    assert (browser.status_code, browser.headers["location"]) == (307, "/ui/")
    assert program.json()["name"] == "feedback-gateway"
    assert http.get("/ui/", follow_redirects=True).url.path == "/ui/logs"
    assert http.get("/ui", follow_redirects=True).url.path == "/ui/logs"


def test_the_first_page_comes_from_the_same_process(http: httpx.Client, gateway: RunningGateway) -> None:
    page = http.get("/ui/status")
    assert page.status_code == 200
    assert gateway.url.removeprefix("http://") not in page.text  # its own address is nobody's business
    assert "fake" in page.text


def test_a_gateway_that_nobody_looks_at_loads_no_templates() -> None:
    code = (
        "import sys, gateway.serving; sys.exit(bool({'jinja2', 'gateway.dashboard.site'} & {*sys.modules}))"
    )
    assert subprocess.run([sys.executable, "-c", code], env=clean_environment(), check=False).returncode == 0
