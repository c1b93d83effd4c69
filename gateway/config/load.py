"""Where the configuration comes from: a YAML file, the environment, the command line; in the end, Settings.

The only place of `gateway.config` that opens files. The environment is handed in.
"""

from __future__ import annotations

import ssl
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from gateway import jsonio
from gateway.config.document import Document, parse_document
from gateway.config.expansion import Expanded, expand
from gateway.config.paths import dotted
from gateway.config.problems import sentence, shown
from gateway.config.schema import OPENAI_BASE_URL, Settings
from gateway.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gateway.config.paths import Path as SettingPath

DEFAULT_PATH = Path("config/gateway.yaml")
"""Read when no file is named and it is present in the working directory."""

SOURCE_VARIABLE = "GATEWAY_CONFIG_SOURCE"

DEFAULT_UPSTREAMS: Document = {"openai": {"base_url": OPENAI_BASE_URL, "api_key": "${OPENAI_API_KEY:-}"}}
"""What a configuration without `upstreams` calls."""


@dataclass(slots=True, frozen=True)
class Overrides:
    """What the command line says instead of the file; None leaves the file's word."""

    host: str | None = None
    port: int | None = None
    workers: int | None = None
    upstream_url: str | None = None
    store_url: str | None = None


NO_OVERRIDES = Overrides()


@dataclass(slots=True, frozen=True)
class ConfigSource:
    """How to come by the settings, small enough to hand to another process.

    `path` None means `config/gateway.yaml` when present, else the built-in defaults.
    """

    path: Path | None = None
    overrides: Overrides = NO_OVERRIDES

    def load(self, environ: Mapping[str, str]) -> Settings:
        """Raises ConfigError with every problem found."""
        return load_settings(self.path, environ, self.overrides)

    def to_env(self) -> dict[str, str]:
        """The environment variable that tells a worker process; `from_env` reads it back."""
        path = None if self.path is None else str(self.path)
        return {SOURCE_VARIABLE: jsonio.dumps_text({"path": path, "overrides": asdict(self.overrides)})}

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> ConfigSource:
        """The source that `to_env` wrote, or the default one without it. Raises ConfigError."""
        text = environ.get(SOURCE_VARIABLE)
        if not text:
            return cls()
        try:
            data = jsonio.loads(text)
            path = None if data["path"] is None else Path(data["path"])
            return cls(path, Overrides(**data["overrides"]))
        except (ValueError, TypeError, KeyError) as error:
            problem = f"{SOURCE_VARIABLE}: was not written by this gateway; unset it"
            raise ConfigError([problem]) from error


@dataclass(slots=True, frozen=True)
class Loaded:
    """Settings, with the paths of the values that were made from environment variables."""

    settings: Settings
    from_environment: frozenset[SettingPath]


def load_settings(path: Path | None, environ: Mapping[str, str], overrides: Overrides) -> Settings:
    """The settings that a file, an environment and a command line give. Raises ConfigError.

    `path` None means `config/gateway.yaml` in the working directory when present, else the built-in
    defaults; a path that was named must exist.
    """
    return load(path, environ, overrides).settings


def load(path: Path | None, environ: Mapping[str, str], overrides: Overrides = NO_OVERRIDES) -> Loaded:
    """As `load_settings`, for those who show the result and must know what came from the environment."""
    document = read_document(path)
    return build(document, environ, overrides)


def read_document(path: Path | None) -> Document:
    """The file's data, not yet expanded; empty without a file. Raises ConfigError."""
    if path is None:
        if not DEFAULT_PATH.exists():
            return {}
        path = DEFAULT_PATH
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError([f"{path}: no such file; name one that exists or none for the defaults"]) from None
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8"]) from None
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror or error}"]) from error
    except ValueError as error:
        raise ConfigError([f"{path!s}: is not a path: {error}"]) from error
    return parse_document(text, str(path))


def build(document: Document, environ: Mapping[str, str], overrides: Overrides = NO_OVERRIDES) -> Loaded:
    """Expand, override and validate. Opens only the files that the settings name (`ca_file`).

    Raises ConfigError with the problems of all of these steps together.
    """
    overridden = _Overridden(document, overrides)
    expanded = expand(overridden.document, environ)
    problems = [line for lines in expanded.problems.values() for line in lines]
    problems += _unusable_files(expanded)
    try:
        settings = Settings.model_validate(expanded.data, context={"upstream_names": _names(expanded.data)})
    except ValidationError as error:
        problems += _sentences(error, expanded, overridden.names)
        raise ConfigError(problems) from None
    if problems:
        raise ConfigError(problems)
    return Loaded(settings, frozenset(expanded.variables))


def _sentences(error: ValidationError, expanded: Expanded, names: Mapping[SettingPath, str]) -> Iterator[str]:
    findings = error.errors(include_url=False)
    paths = [finding["loc"] for finding in findings]
    for finding in findings:
        path = finding["loc"]
        unexpanded = any(path[: len(bad)] == bad for bad in expanded.problems)
        # pydantic counts only the good entries of a list; a bad one is no reason to ask for more.
        miscounted = finding["type"] == "too_short" and any(
            other != path and other[: len(path)] == path for other in paths
        )
        if not unexpanded and not miscounted:
            yield sentence(finding, expanded.variables, names)


def _names(data: Document) -> tuple[str, ...]:
    upstreams = data.get("upstreams")
    return tuple(name for name in upstreams if isinstance(name, str)) if isinstance(upstreams, dict) else ()


@dataclass(slots=True)
class _Overridden:
    """A document with the command line's words in it, and `names`: which option wrote which setting."""

    document: Document
    overrides: Overrides
    names: dict[SettingPath, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.document = {**self.document}
        if self.document.get("upstreams") is None:
            self.document["upstreams"] = DEFAULT_UPSTREAMS
        self._upstream(self.overrides.upstream_url)
        for section, key in (("server", "host"), ("server", "port"), ("server", "workers")):
            self._set(section, key, getattr(self.overrides, key), f"--{key}")
        self._set("store", "url", self.overrides.store_url, "--store")

    def _upstream(self, url: str | None) -> None:
        if url is not None:
            self.document["upstreams"] = {"upstream": {"base_url": _literal(url)}}
            for leading_elsewhere in ("routes", "configs"):
                self.document.pop(leading_elsewhere, None)
            self.names["upstreams", "upstream", "base_url"] = "--upstream"

    def _set(self, section: str, key: str, value: str | int | None, option: str) -> None:
        written = self.document.get(section)
        if value is not None and (written is None or isinstance(written, dict)):
            self.document[section] = {**(written or {}), key: _literal(value)}
            self.names[section, key] = option


def _literal(value: Any) -> Any:
    """The shell has expanded the command line already; what looks like a reference is meant as it is."""
    return value.replace("${", "$${") if isinstance(value, str) else value


def _unusable_files(expanded: Expanded) -> Iterator[str]:
    for name in _names(expanded.data):
        path = ("upstreams", name, "ca_file")
        upstream = expanded.data["upstreams"][name]
        file = upstream.get("ca_file") if isinstance(upstream, dict) else None
        if isinstance(file, str) and file and path not in expanded.problems:
            reason = _why_no_ca_file(file)
            if reason:
                yield f"{dotted(path)}: {shown(path, file, expanded.variables)} {reason}"


def _why_no_ca_file(path: str) -> str | None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError:
        return "holds no certificate; give a PEM file with -----BEGIN CERTIFICATE----- in it"
    except (OSError, ValueError) as error:
        return f"cannot be read ({getattr(error, 'strerror', None) or error}); give a PEM file that exists"
    return None
