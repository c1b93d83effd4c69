"""The contestants and the upstream, each a process on a core of its own."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.payloads import COMPLETION, chat_request
from tests.harness.process import Process, free_port, run_command, run_gateway

if TYPE_CHECKING:
    from collections.abc import Iterator

NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")

NGINX_CONFIG = """
daemon off; master_process off; pid {place}/nginx.pid; error_log stderr crit;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 75; tcp_nodelay on;
  client_body_temp_path {place}/body; proxy_temp_path {place}/proxy; fastcgi_temp_path {place}/fastcgi;
  uwsgi_temp_path {place}/uwsgi; scgi_temp_path {place}/scgi;
  {body}
}}
"""

CONSTANT = """
  server {{ listen 127.0.0.1:{port}; location / {{ default_type application/json; return 200 '{answer}'; }} }}
"""

PROXY = """
  upstream backend {{ server 127.0.0.1:{upstream}; keepalive 256; keepalive_requests 1000000000; }}
  server {{ listen 127.0.0.1:{port};
    location / {{ proxy_pass http://backend; proxy_http_version 1.1; proxy_set_header Connection "";
                  proxy_buffering off; }} }}
"""


@dataclass(frozen=True)
class Cores:
    """Which cores the contestants may use, and which the load and the upstream do."""

    servers: str
    load: str

    @classmethod
    def pinned(cls) -> Cores:
        cores = sorted(os.sched_getaffinity(0))
        return cls(str(cores[0]), str(cores[-1]))

    @classmethod
    def free(cls) -> Cores:
        cores = sorted(os.sched_getaffinity(0))
        return cls(",".join(map(str, cores)), str(cores[-1]))


def on(cores: str) -> list[str]:
    """The prefix of a command that keeps it to `cores`."""
    return [shutil.which("taskset") or "taskset", "-c", cores]


@contextmanager
def yardstick(cores: Cores) -> Iterator[Process]:
    port = free_port()
    arguments = ["tests.bench.yardstick:app", "--port", str(port), "--loop", "uvloop", "--http", "httptools"]
    quiet = ["--no-access-log", "--log-level", "warning", "--lifespan", "off"]
    command = [*on(cores.servers), sys.executable, "-m", "uvicorn", *arguments, *quiet]
    with run_command(command, port=port, ready="/") as process:
        yield process


@contextmanager
def nginx_proxy(cores: Cores, upstream: Process) -> Iterator[Process]:
    with _nginx(cores.servers, PROXY, upstream=upstream.port, ready="/v1/models") as process:
        yield process


@contextmanager
def gateway(cores: Cores, upstream: Process) -> Iterator[Process]:
    with run_gateway(upstream=f"{upstream.url}/v1", prefix=on(cores.servers)) as process:
        yield process


@contextmanager
def constant_upstream(cores: Cores) -> Iterator[Process]:
    """nginx answering the completion; without nginx the asyncio upstream."""
    if NGINX is None:
        with event_upstream(cores) as process:
            yield process
        return
    with _nginx(cores.load, CONSTANT, answer=COMPLETION.decode(), ready="/") as process:
        yield process


@contextmanager
def event_upstream(cores: Cores) -> Iterator[Process]:
    port = free_port()
    command = [*on(cores.load), sys.executable, "-m", "tests.bench.upstream", "--port", str(port)]
    with run_command(command, port=port, ready="/") as process:
        yield process


@contextmanager
def _nginx(cores: str, body: str, *, ready: str, **values: object) -> Iterator[Process]:
    assert NGINX is not None
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="gateway-bench-") as place:
        config = Path(place) / "nginx.conf"
        config.write_text(NGINX_CONFIG.format(place=place, body=body.format(port=port, **values)))
        command = [*on(cores), NGINX, "-p", place, "-c", str(config)]
        with run_command(command, port=port, ready=ready) as process:
            yield process


def start_to_first_answer_s(cores: Cores, upstream: Process) -> float:
    """From starting the gateway's process to the first forwarded answer."""
    started = time.perf_counter()
    with run_gateway(upstream=f"{upstream.url}/v1", prefix=on(cores.servers), wait=False) as process:
        process.wait_until("/v1/chat/completions", body=chat_request(stream=False), pause_s=0.005)
        return time.perf_counter() - started
