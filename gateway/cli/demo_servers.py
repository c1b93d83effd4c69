"""The two servers of `gateway demo`: the fake upstream in a thread, the gateway in a process of its own.

Both listen on 127.0.0.1 only, and end with the block that started them. What they record goes to a temporary
directory: nothing of the user's is read or written.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx

from gateway import jsonio
from gateway.cli import fake_upstream
from gateway.cli.demo_traffic import FALLBACK_MODEL
from gateway.cli.failures import Failure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOST = "127.0.0.1"
START_LIMIT_S = 20.0
STOP_LIMIT_S = 10.0


def port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As a server binds: a port whose last connections are still winding down counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running_upstream() -> Iterator[str]:
    """The fake upstream; its base URL, ending in `/v1`."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        port = listener.getsockname()[1]
        server = fake_upstream.server(port, pause_s=0.008)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            yield f"http://{HOST}:{port}/v1"
        finally:
            server.should_exit = True
            server.force_exit = True  # nobody is left whose stream would have to be finished
            thread.join(STOP_LIMIT_S)


@contextmanager
def running_gateway(port: int, upstream_url: str, directory: Path) -> Iterator[str]:
    """The gateway, once it is ready; its URL. Raises Failure when it does not come up."""
    log_path = directory / "gateway.log"
    config = _configuration(port, upstream_url, directory)
    with log_path.open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - our own module and our own file
            [sys.executable, "-m", "gateway", "serve", "--config", str(config)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl+C ends the demo, and the demo ends the gateway: once, in order
        )
    url = f"http://{HOST}:{port}"
    try:
        _wait_until_ready(url, process, log_path)
        yield url
    finally:
        _stop(process)


def _configuration(port: int, upstream_url: str, directory: Path) -> Path:
    path = directory / "gateway.yaml"
    settings = {
        "server": {"host": HOST, "port": port, "log_level": "warning"},
        "store": {"url": f"sqlite:///{directory / 'demo.db'}"},
        "upstreams": {"fake": {"base_url": upstream_url}},
        "routes": [
            {
                "models": [FALLBACK_MODEL],
                "strategy": "fallback",
                "targets": [
                    {"name": "first-choice", "upstream": "fake", "model": "broken-model"},
                    {"name": "second-choice", "upstream": "fake", "model": "gpt-4o-mini"},
                ],
            },
            {"models": ["*"], "target": {"upstream": "fake"}},
        ],
    }
    path.write_bytes(jsonio.dumps(settings))  # JSON is YAML
    return path


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log_path: Path) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    with httpx.Client(trust_env=False, timeout=2) as client:
        while True:
            with contextlib.suppress(httpx.HTTPError):
                if client.get(f"{url}/readyz").is_success:
                    return
            if process.poll() is not None or time.monotonic() > deadline:
                raise Failure(f"the gateway did not start; it said: {_last_lines(log_path)}")
            time.sleep(0.05)


def _last_lines(log_path: Path) -> str:
    lines = log_path.read_text(errors="replace").strip().splitlines()
    return " / ".join(lines[-5:]) or "nothing"


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
