"""Who may look: the login where the gateway has keys, its cookie, and the tokens of forms."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway.dashboard.session import SESSION_COOKIE, SESSION_S, Sessions, local_path
from tests.own_dashboard import asking, own_dashboard, token_in, traces_in

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

    from tests.own_dashboard import Dashboard

KEYS = {"ana": "the-key-of-ana-0001", "ben": "the-key-of-ben-0002"}


async def log_in(dashboard: Dashboard, key: str, wanted: str = "", **headers: str) -> httpx.Response:
    token = token_in(await dashboard.page("/ui/login"))
    form = {"csrf": token, "key": key, "next": wanted}
    return await dashboard.client.post("/ui/login", data=form, headers=headers)


async def test_without_keys_there_is_no_login(tmp_path: Path) -> None:
    async with own_dashboard(tmp_path) as dashboard:
        page = await dashboard.page("/ui/logs")
        login = await dashboard.client.get("/ui/login")
    assert "Log out" not in page
    assert (login.status_code, login.headers["location"]) == (303, "/ui/")


@pytest.mark.parametrize(
    "path", ["/ui/logs?user=ana", "/ui/trace?id=x", "/ui/status", "/ui/live/logs", "/ui/raw", "/ui/nowhere"]
)
async def test_with_keys_every_page_leads_to_the_login_and_back(tmp_path: Path, path: str) -> None:
    async with own_dashboard(tmp_path, keys=KEYS) as dashboard:
        first = await dashboard.client.get(path)
        assert first.status_code == 303
        assert first.headers["location"].startswith("/ui/login?next=")
        login = await dashboard.client.get(first.headers["location"])
        form = {"csrf": token_in(login.text), "key": KEYS["ana"], "next": path}
        answer = await dashboard.client.post("/ui/login", data=form)
    assert (answer.status_code, answer.headers["location"]) == (303, path)


async def test_whoever_logs_in_sees_what_is_theirs_and_nothing_else(tmp_path: Path) -> None:
    async with own_dashboard(tmp_path, keys=KEYS) as dashboard:
        await dashboard.api.exchange("of-ana", key_id="ana", bodies=asking("hello from ana"))
        secret = await dashboard.api.exchange("of-ben", key_id="ben", bodies=asking("hello from ben"))
        await log_in(dashboard, KEYS["ana"])
        assert traces_in(await dashboard.page("/ui/logs")) == ["of-ana"]
        assert traces_in(await dashboard.page("/ui/logs", q="ben")) == []
        await dashboard.page("/ui/trace", expect=404, id="of-ben")
        await dashboard.page("/ui/raw", expect=404, id=secret, part="request")
        await dashboard.page("/ui/diff", expect=404, a=secret, b=secret)


async def test_a_wrong_key_is_refused_without_a_session(tmp_path: Path) -> None:
    async with own_dashboard(tmp_path, keys=KEYS) as dashboard:
        answer = await log_in(dashboard, "the-key-of-nobody-1")
    assert answer.status_code == 401
    assert "not one of the gateway" in answer.text
    assert SESSION_COOKIE not in answer.headers.get("set-cookie", "")


async def test_the_session_cookie_is_for_us_alone(tmp_path: Path) -> None:
    async with own_dashboard(tmp_path, keys=KEYS) as dashboard:
        plain = (await log_in(dashboard, KEYS["ana"])).headers["set-cookie"]
        dashboard.client.cookies.clear()
        tls = (await log_in(dashboard, KEYS["ana"], **{"x-forwarded-proto": "https"})).headers["set-cookie"]
    assert "HttpOnly" in plain
    assert "SameSite=lax" in plain
    assert "Path=/ui" in plain
    assert "Secure" not in plain
    assert "Secure" in tls
    assert KEYS["ana"] not in plain


async def test_logging_out_ends_the_session(tmp_path: Path) -> None:
    async with own_dashboard(tmp_path, keys=KEYS) as dashboard:
        await log_in(dashboard, KEYS["ana"])
        token = token_in(await dashboard.page("/ui/logs"))
        await dashboard.client.post("/ui/logout", data={"csrf": token})
        after = await dashboard.client.get("/ui/logs")
    assert after.headers["location"].startswith("/ui/login")


async def test_a_forged_cookie_opens_nothing(tmp_path: Path) -> None:
    async with own_dashboard(tmp_path, keys=KEYS) as dashboard:
        for cookie in ("x", "9999999999999.abc.def.0123", "a.b.c.d", ".", "..."):
            dashboard.client.cookies.set(SESSION_COOKIE, cookie, path="/ui")
            assert (await dashboard.client.get("/ui/logs")).status_code == 303
            dashboard.client.cookies.clear()


@pytest.mark.parametrize(
    "wanted", ["https://evil.example/", "//evil.example", "/ui/\\evil", "/uix", "/v1/logs", "/ui/\n", ""]
)
async def test_after_the_login_nobody_is_led_elsewhere(tmp_path: Path, wanted: str) -> None:
    async with own_dashboard(tmp_path, keys=KEYS) as dashboard:
        answer = await log_in(dashboard, KEYS["ana"], wanted)
    assert answer.headers["location"] == local_path(wanted) == "/ui/"


@pytest.mark.parametrize(
    "path", ["/ui/feedback/give", "/ui/feedback", "/ui/feedback/retract", "/ui/logout", "/ui/login"]
)
@pytest.mark.parametrize("token", [None, "", "0" * 43])
async def test_a_form_without_its_token_does_nothing(tmp_path: Path, path: str, token: str | None) -> None:
    async with own_dashboard(tmp_path) as dashboard:
        await dashboard.api.exchange("one")
        form = {"trace": "one", "value": "5", **({} if token is None else {"csrf": token})}
        answer = await dashboard.client.post(path, data=form)
        assert answer.status_code == 403
        assert (await dashboard.api.get("/v1/feedback"))["data"] == []


async def test_the_token_of_one_browser_is_none_of_anothers(tmp_path: Path) -> None:
    async with own_dashboard(tmp_path) as dashboard:
        await dashboard.api.exchange("one")
        token = token_in(await dashboard.page("/ui/trace", id="one"))
        dashboard.client.cookies.clear()
        await dashboard.page("/ui/trace", id="one")
        answer = await dashboard.client.post(
            "/ui/feedback/give", data={"csrf": token, "trace": "one", "value": "5"}
        )
    assert answer.status_code == 403


async def test_a_form_from_another_site_does_nothing_even_with_a_token(tmp_path: Path) -> None:
    async with own_dashboard(tmp_path) as dashboard:
        token = await dashboard.csrf()
        answer = await dashboard.client.post(
            "/ui/feedback/give",
            data={"csrf": token, "trace": "one", "value": "5"},
            headers={"sec-fetch-site": "cross-site"},
        )
    assert answer.status_code == 403


async def test_a_form_that_is_too_long_is_refused(tmp_path: Path) -> None:
    async with own_dashboard(tmp_path, max_form_bytes=1000) as dashboard:
        answer = await dashboard.post("/ui/feedback/give", trace="one", comment="x" * 2000)
    assert answer.status_code == 413


def test_a_session_ends_with_its_time_and_with_its_key() -> None:
    sessions = Sessions(b"secret", {"hash": "ana"})
    cookie = sessions.begin("hash", now_ms=1_000)
    assert sessions.key_id(cookie, 2_000) == "ana"
    assert sessions.key_id(cookie, 1_000 + SESSION_S * 1000) is None
    assert Sessions(b"secret", {"another": "ana"}).key_id(cookie, 2_000) is None
    assert Sessions(b"another secret", {"hash": "ana"}).key_id(cookie, 2_000) is None
    assert sessions.key_id(cookie.replace(cookie[0], "9", 1), 2_000) is None


async def test_all_workers_share_what_signs_sessions(tmp_path: Path) -> None:
    async with own_dashboard(tmp_path, keys=KEYS) as one:
        await log_in(one, KEYS["ana"])
        cookies = one.client.cookies
        async with own_dashboard(tmp_path, keys=KEYS) as other:
            other.client.cookies = cookies
            assert (await other.client.get("/ui/logs")).status_code == 200
