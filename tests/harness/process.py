"""The gateway as a process of its own: started on a free port, watched, stopped with SIGTERM."""

from __future__ import annotations

import http.client
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import yaml

from tests.harness.rows import Rows

REPOSITORY = Path(__file__).resolve().parents[2]
START_LIMIT_S = 30.0
STOP_LIMIT_S = 40.0


def free_port() -> int:
    """A port nobody listens on, below the range that outgoing connections are given their ports from."""
    for _ in range(200):
        port = random.SystemRandom().randrange(20_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no free port between 20000 and 32000")


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Our own environment without keys and proxies, so that no test depends on who runs it."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.lower().endswith("_proxy") and not name.startswith(("OPENAI_", "PORTKEY_", "GATEWAY_"))
    }
    return {**kept, "PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1", **(extra or {})}


def answers(url: str, path: str, body: bytes | None = None) -> bool:
    """Whether `path` answers 200 right now, to a GET or to a POST of the JSON `body`."""
    host, _, port = url.removeprefix("http://").partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=2)
    try:
        connection.request("POST" if body else "GET", path, body, {"content-type": "application/json"})
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


@dataclass
class Process:
    """A child that serves HTTP on `url`. Its output goes to `log_path`."""

    url: str
    log_path: Path
    popen: subprocess.Popen[bytes]

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    @property
    def last_words(self) -> str:
        """The end of the log, for a failed assertion."""
        return self.log[-4000:]

    def wait_until(
        self, path: str, body: bytes | None = None, *, within_s: float = START_LIMIT_S, pause_s: float = 0.02
    ) -> Self:
        """Return once `path` answers 200. AssertionError with the log when it does not."""
        deadline = time.monotonic() + within_s
        while not answers(self.url, path, body):
            code = self.popen.poll()
            assert code is None, f"exited with {code} before {path} answered:\n{self.last_words}"
            assert time.monotonic() < deadline, (
                f"{path} did not answer within {within_s} s:\n{self.last_words}"
            )
            time.sleep(pause_s)
        return self

    def terminate(self, *, within_s: float = STOP_LIMIT_S) -> int:
        """SIGTERM, then the exit code. SIGKILL and AssertionError when it outstays `within_s`."""
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGTERM)
        try:
            return self.popen.wait(within_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"still running {within_s} s after SIGTERM:\n{self.last_words}") from None

    def kill(self) -> None:
        """SIGKILL to it and its children, as the kernel's out-of-memory killer would."""
        if self.popen.poll() is None:
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait(10)


@dataclass
class RunningGateway(Process):
    """A gateway under test. `database` is its SQLite file, None when the store is `memory:`."""

    database: Path | None = None
    config: dict[str, Any] = field(default_factory=dict)

    @property
    def base_url(self) -> str:
        """What a client sets as its OpenAI base URL."""
        return f"{self.url}/v1"

    @property
    def transport(self) -> str:
        """The transport of its upstreams: a test file gives all of them the same."""
        first = next(iter(self.config["upstreams"].values()))
        return str(first.get("transport", "native"))

    @property
    def rows(self) -> Rows:
        assert self.database is not None, "a memory: store has no file to read"
        return Rows(self.database)


@contextmanager
def run_gateway(
    config: Mapping[str, Any] | None = None,
    *,
    upstream: str | None = None,
    directory: Path | None = None,
    arguments: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    prefix: Sequence[str] = (),
    wait: bool = True,
    module: str = "gateway",
) -> Iterator[RunningGateway]:
    """A gateway that answers `/readyz`, until the block ends; then SIGTERM, exit code 0 and no traceback.

    `config` is laid over a configuration with a free port and a fresh SQLite file in `directory`; `upstream`
    is short for one upstream with that base URL. `prefix` goes before the command, e.g. `taskset -c 0`.
    `module` is run instead of `gateway` itself.
    A gateway that the block itself stopped or killed is only looked at for tracebacks.
    """
    with tempfile.TemporaryDirectory(prefix="gateway-test-") as fallback:
        place = directory or Path(fallback)
        gateway = _start(
            place, _settings(config or {}, upstream, place), arguments, environment, prefix, module
        )
        try:
            yield gateway.wait_until("/readyz") if wait else gateway
            stopped_by_the_test = gateway.popen.poll() is not None
            code = gateway.terminate()
            assert stopped_by_the_test or code == 0, f"exit code {code}:\n{gateway.last_words}"
            assert "Traceback" not in gateway.log, gateway.last_words
        finally:
            gateway.kill()


def _settings(config: Mapping[str, Any], upstream: str | None, place: Path) -> dict[str, Any]:
    settings = {
        name: dict(section) if isinstance(section, Mapping) else section for name, section in config.items()
    }
    settings["server"] = {"host": "127.0.0.1", "port": free_port(), **settings.get("server", {})}
    settings["store"] = {"url": f"sqlite:///{place / 'gateway.db'}", **settings.get("store", {})}
    if upstream is not None:
        settings["upstreams"] = {"fake": {"base_url": upstream}}
    return settings


def _start(
    place: Path,
    settings: dict[str, Any],
    arguments: Sequence[str],
    environment: Mapping[str, str] | None,
    prefix: Sequence[str],
    module: str,
) -> RunningGateway:
    config_path = place / "gateway.yaml"
    config_path.write_text(yaml.safe_dump(settings))
    log_path = place / "gateway.log"
    command = [*prefix, sys.executable, "-m", module, "serve", "--config", str(config_path), *arguments]
    url = str(settings["store"]["url"])
    return RunningGateway(
        url=f"http://127.0.0.1:{settings['server']['port']}",
        log_path=log_path,
        popen=_spawn(command, place, log_path, environment),
        database=Path(url.removeprefix("sqlite:///")) if url.startswith("sqlite:///") else None,
        config=settings,
    )


@contextmanager
def run_command(command: Sequence[str], *, port: int, ready: str) -> Iterator[Process]:
    """Any server on `port`, once the path `ready` answers 200, until the block ends."""
    with tempfile.TemporaryDirectory(prefix="gateway-test-") as place:
        log_path = Path(place) / "output.log"
        child = Process(f"http://127.0.0.1:{port}", log_path, _spawn(command, Path(place), log_path, None))
        try:
            yield child.wait_until(ready)
        finally:
            child.kill()


def run_module(module: str, *arguments: str, port: int, ready: str) -> AbstractContextManager[Process]:
    """`python -m module …`, serving HTTP on `port`, until the block ends."""
    return run_command([sys.executable, "-m", module, *arguments], port=port, ready=ready)


def _spawn(
    command: Sequence[str], place: Path, log_path: Path, environment: Mapping[str, str] | None
) -> subprocess.Popen[bytes]:
    with log_path.open("wb") as log:
        return subprocess.Popen(
            command,
            cwd=place,
            env=clean_environment(environment),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that kill() reaches workers too, and Ctrl+C in pytest does not
        )
