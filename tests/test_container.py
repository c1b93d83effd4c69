"""The container image's health check, run as the Dockerfile has it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import httpx

from tests.harness import free_port
from tests.harness.lock import lock_held
from tests.harness.process import REPOSITORY, clean_environment

if TYPE_CHECKING:
    from tests.harness import RunningGateway

PORT = "8787"


def health_check(url: str) -> subprocess.CompletedProcess[bytes]:
    """Runs it where a proxy is configured, as in most companies, that answers nothing here."""
    found = re.search(
        r"^HEALTHCHECK .*\\\n\s+CMD (\[.*\])$", (REPOSITORY / "Dockerfile").read_text(), re.MULTILINE
    )
    assert found, "no HEALTHCHECK"
    python, *arguments = json.loads(found[1])
    assert python == "python"
    port = url.rpartition(":")[2]
    command = [sys.executable, *(argument.replace(PORT, port) for argument in arguments)]
    proxy = f"http://127.0.0.1:{free_port()}"
    environment = clean_environment({"http_proxy": proxy, "HTTP_PROXY": proxy, "all_proxy": proxy})
    return subprocess.run(command, env=environment, capture_output=True, timeout=20, check=False)


def test_a_gateway_that_is_up_is_healthy(gateway: RunningGateway) -> None:
    checked = health_check(gateway.url)
    assert checked.returncode == 0, checked.stderr


def test_a_gateway_that_cannot_write_is_not_to_be_restarted(gateway: RunningGateway) -> None:
    assert gateway.database is not None
    with lock_held(gateway.database):
        assert httpx.get(f"{gateway.url}/readyz", timeout=30).status_code == 503
        assert health_check(gateway.url).returncode == 0


def test_where_nothing_listens_it_fails() -> None:
    assert health_check(f"http://127.0.0.1:{free_port()}").returncode != 0


def test_the_port_is_the_one_that_the_image_serves() -> None:
    assert f"EXPOSE {PORT}\n" in (REPOSITORY / "Dockerfile").read_text()
