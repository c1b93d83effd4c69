"""The command line itself, and the commands that read the configuration."""

from __future__ import annotations

import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

import gateway
from gateway.cli import root
from gateway.config.load import ConfigSource, Overrides
from gateway.errors import ConfigError
from tests.harness.process import clean_environment

if TYPE_CHECKING:
    from pathlib import Path


def run(*arguments: str, env: dict[str, str | None] | None = None) -> Result:
    return CliRunner().invoke(root.gateway, list(arguments), prog_name="gateway", env=env)


class TestTheCommand:
    def test_help_lists_the_commands(self) -> None:
        result = run("--help")
        assert result.exit_code == 0
        for name in ("serve", "demo", "check-config", "traces", "feedback", "logs"):
            assert f"\n  {name} " in result.output

    def test_help_and_version_import_neither_server_nor_store_nor_client(self) -> None:
        code = (
            "import sys\nfrom gateway.cli.root import gateway\n"
            "try:\n    gateway([sys.argv[1]], prog_name='gateway')\nexcept SystemExit as end:\n"
            "    assert end.code == 0\n"
            "heavy = {'sqlalchemy', 'starlette', 'uvicorn', 'httpx', 'rich', 'pydantic'} & set(sys.modules)\n"
            "assert not heavy, heavy"
        )
        for option in ("--help", "--version"):
            done = subprocess.run(
                [sys.executable, "-c", code, option], capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr
            assert "gateway" in done.stdout

    def test_says_its_version(self) -> None:
        assert run("--version").output == f"gateway {gateway.__version__}\n"

    @pytest.mark.parametrize("name", list(root.COMMANDS))
    def test_every_command_has_help_that_agrees_with_the_list(self, name: str) -> None:
        command = root.gateway.get_command(None, name)  # type: ignore[arg-type]
        assert command is not None
        assert command.short_help == root.COMMANDS[name].help
        assert run(name, "--help").exit_code == 0

    def test_an_unknown_command_is_refused(self) -> None:
        result = run("sevre")
        assert result.exit_code == 2
        assert "sevre" in result.stderr

    def test_runs_as_a_module(self) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "gateway", "check-config", "nope.yaml"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2
        assert done.stdout == ""
        assert done.stderr.startswith("gateway: configuration: nope.yaml: no such file; ")


class TestCheckConfig:
    def test_prints_the_effective_configuration(self, tmp_path: Path) -> None:
        (tmp_path / "c.yaml").write_text(
            "upstreams: {a: {base_url: 'http://a', api_key: '${K}', headers: {x-a: '${H}'}}}"
        )
        result = run(
            "check-config", str(tmp_path / "c.yaml"), env={"K": "sk-0123456789abcdef", "H": "hidden"}
        )
        assert result.exit_code == 0
        assert "base_url: http://a\n" in result.output
        assert "api_key: '****cdef'" in result.output
        assert "sk-0123456789abcdef" not in result.output
        assert "hidden" not in result.output

    def test_prints_a_line_for_each_problem(self, tmp_path: Path) -> None:
        (tmp_path / "c.yaml").write_text("server: {port: x, prot: 1}")
        result = run("check-config", str(tmp_path / "c.yaml"))
        assert result.exit_code == 2
        assert result.stdout == ""
        assert result.stderr.splitlines() == [
            'gateway: configuration: server.port: "x" is not a whole number',
            'gateway: configuration: server.prot: unknown key; did you mean "port"?',
        ]


class TestServe:
    @pytest.fixture
    def served(self, monkeypatch: pytest.MonkeyPatch) -> list[ConfigSource]:
        served: list[ConfigSource] = []
        monkeypatch.setattr("gateway.serving.serve", served.append)
        return served

    def test_hands_its_options_on(self, served: list[ConfigSource], tmp_path: Path) -> None:
        file = tmp_path / "c.yaml"
        file.write_text("server: {port: 1}")
        result = run(
            "serve", "--config", str(file), "--host", "0.0.0.0", "--port", "0", "--workers", "2",
            "--upstream", "http://127.0.0.1:9001/v1", "--store", "sqlite:///x.db",
        )  # fmt: skip
        assert result.exit_code == 0, result.output
        assert served == [
            ConfigSource(file, Overrides("0.0.0.0", 0, 2, "http://127.0.0.1:9001/v1", "sqlite:///x.db"))
        ]

    def test_needs_no_options(self, served: list[ConfigSource]) -> None:
        assert run("serve").exit_code == 0
        assert served == [ConfigSource()]

    def test_refuses_a_bad_configuration_before_it_starts(self, served: list[ConfigSource]) -> None:
        result = run("serve", "--port", "70000", "--store", "mysql://x")
        assert result.exit_code == 2
        first, second = result.stderr.splitlines()
        assert first == "gateway: configuration: --port: 70000 is too large; use 65535 or less"
        assert second.startswith(
            'gateway: configuration: --store: "mysql://x" cannot be used: use sqlite:///'
        )
        assert served == []

    def test_refuses_what_only_turns_out_at_the_start(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(_: ConfigSource) -> None:
            raise ConfigError(["store.url: cannot open /nope"])

        monkeypatch.setattr("gateway.serving.serve", refuse)
        result = run("serve")
        assert (result.exit_code, result.stderr) == (
            2,
            "gateway: configuration: store.url: cannot open /nope\n",
        )

    @pytest.mark.parametrize(
        ("host", "problem"),
        [
            ("999.1.1.1", "no such host ("),
            ("two..dots", "no such host ("),
            ("203.0.113.7", "not an address of this machine; "),  # TEST-NET-3: nobody's
        ],
    )
    def test_a_host_that_cannot_be_listened_on_is_the_hosts_fault(self, host: str, problem: str) -> None:
        [line] = refusal_of("--host", host)
        assert line.startswith(f'gateway: configuration: server.host: "{host}": {problem}')
        assert line.endswith("; try --host 127.0.0.1 for this machine alone, 0.0.0.0 for all who reach it")

    def test_a_port_that_is_taken_is_the_ports_fault(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            [line] = refusal_of("--port", str(port))
        place = f"server.port: cannot listen on 127.0.0.1:{port}"
        assert line == f"gateway: configuration: {place}: Address already in use; try another --port"


def refusal_of(*options: str) -> list[str]:
    """What `gateway serve` says before it ends with 2."""
    command = [sys.executable, "-m", "gateway", "serve", "--store", "memory:", *options]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=60, env=clean_environment()
    )
    assert done.returncode == 2, done.stderr
    return done.stderr.splitlines()
