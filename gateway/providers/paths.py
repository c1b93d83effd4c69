"""Where a request's path leads at its upstream, and what a path says: the model, and whose API it is.

Only the request line is made here. Headers are in `credentials`; bodies are nobody's to change.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from urllib.parse import quote, unquote_plus

from gateway.errors import InvalidField, InvalidPath, UnknownPath
from gateway.providers.credentials import Dialect

NATIVE_PREFIXES: Mapping[str, Mapping[str, str]] = {
    "gemini": {"/v1beta": "/v1beta"},
    "azure": {"/openai": "/openai"},
}
"""Paths outside /v1 that a provider has at its origin: the gateway's, and the upstream's."""

FORWARDED_PREFIXES = tuple(sorted({prefix for paths in NATIVE_PREFIXES.values() for prefix in paths}))
"""They are forwarded even where no upstream has them, so that the answer says what to do about it."""

_ANTHROPIC_CHAT = "/v1/chat/completions"

# The openai SDK's AzureOpenAI puts exactly these under a deployment: openai/lib/azure.py.
_OF_A_DEPLOYMENT = frozenset(
    {
        b"/completions", b"/chat/completions", b"/embeddings", b"/audio/transcriptions",
        b"/audio/translations", b"/audio/speech", b"/images/generations", b"/images/edits",
    }
)  # fmt: skip
_MODEL = b"{model}"
_DEPLOYMENT = b"/deployments/{model}"

_SEPARATOR = rb"(?:/|\\|%2f|%5c)"  # what an upstream may take for one after decoding
_DOT_SEGMENT = re.compile(
    rb"(?:^|" + _SEPARATOR + rb")(?:\.|%2e){1,2}(?:;[^/]*)?(?:" + _SEPARATOR + rb"|$)", re.IGNORECASE
)
_GEMINI_ACTION = re.compile(r":[a-z]+(?:[A-Z][a-z]+)+$")  # an OpenAI id has colons, too: ft:gpt-4o:acme
_NAMED_IN_PATH = re.compile(r"/(models|deployments)/([^/]+)")
_NAMED_IN_RAW_PATH = re.compile(rb"(/models/)[^/]+?(?=(?::[^:/]*)?(?:/|$))|(/deployments/)[^/]+")


def dialect(provider: str, path: str) -> Dialect:
    """Which face of the upstream `path` (decoded, as the client sent it) belongs to.

    Anthropic's /v1 is its own API but for chat completions; the list of models, too, wants `x-api-key`.
    """
    if not path.startswith("/v1/"):
        return "native"
    if provider == "anthropic":
        return "openai" if path == _ANTHROPIC_CHAT else "native"
    if provider == "gemini" and _GEMINI_ACTION.search(path):
        return "native"
    return "openai"


def model_in_path(path: str) -> str | None:
    """The model that the path (decoded) names, for requests whose body names none.

    `/v1/models/{id}`, where an id may have slashes; Gemini's `/v1beta/models/{model}:{action}`; Azure's
    `/openai/deployments/{deployment}/…`.
    """
    if path.startswith("/v1/"):
        if not path.startswith("/v1/models/"):
            return None
        return _GEMINI_ACTION.sub("", path[len("/v1/models/") :]) or None
    found = _NAMED_IN_PATH.search(path)
    if found is None:
        return None
    name = found[2]
    return name.rpartition(":")[0] if found[1] == "models" and ":" in name else name


def with_model(raw_path: bytes, model: str) -> bytes:
    """The path with `model` where it named one; a path that names none stays as it is."""
    if raw_path.startswith(b"/v1/"):
        if not raw_path.startswith(b"/v1/models/"):
            return raw_path
        action = _GEMINI_ACTION.search(raw_path.decode("ascii", "replace"))
        return b"/v1/models/" + _segment(model) + (action[0].encode() if action else b"")
    return _NAMED_IN_RAW_PATH.sub(lambda found: (found[1] or found[2]) + _segment(model), raw_path, count=1)


class UpstreamPaths:
    """Callable: a request's path and query to the target on the request line of one upstream.

    `base_path` is its base URL's path without a slash at the end; where it has `{model}`, the model goes
    there. `native` maps further prefixes of ours to paths at its origin. `query` is set on every request,
    `dropped` names parameters that stay behind.
    """

    def __init__(
        self,
        name: str,
        base_path: bytes,
        *,
        native: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        dropped: Collection[bytes] = (),
    ) -> None:
        self._name = name
        self._base_path = base_path
        self._native = sorted(
            ((prefix.encode("ascii"), path.encode("ascii")) for prefix, path in (native or {}).items()),
            key=lambda pair: -len(pair[0]),
        )
        self._query = b"&".join(
            b"%b=%b" % (_segment(key), _segment(value)) for key, value in (query or {}).items()
        )
        self._dropped = {key.encode("ascii") for key in query or ()} | set(dropped)
        within_v1 = any(prefix.startswith(b"/v1/") for prefix, _ in self._native)
        self._is_plain = not (_MODEL in base_path or self._dropped or within_v1)

    def __call__(
        self, raw_path: bytes, query: bytes, *, model: str | None = None, renamed: str | None = None
    ) -> bytes:
        """`model` is the one that is asked for in the end, `renamed` the same where a target changed it.

        Dot segments are refused, encoded ones and encoded separators too: with the gateway's own key,
        `/v1/../admin` would lead out of what was configured. Raises InvalidPath, InvalidField, UnknownPath.
        """
        if self._is_plain and renamed is None and raw_path.startswith(b"/v1/"):
            rest = raw_path[3:]
            # Not `in`, which tries first whether the bytes are a number, at the price of an exception.
            if rest.find(b".") >= 0 or rest.find(b"%2") >= 0:
                _refuse_dot_segments(rest)
            target = self._base_path + rest
        else:
            if renamed is not None:
                raw_path = with_model(raw_path, renamed)
            target = self._path(raw_path, renamed or model)
            _refuse_dot_segments(target)
            query = self._merged(query)
        return target + b"?" + query if query else target

    def _path(self, raw_path: bytes, model: str | None) -> bytes:
        for prefix, path in self._native:
            if raw_path.startswith(prefix) and raw_path[len(prefix) : len(prefix) + 1] in (b"/", b""):
                return path + raw_path[len(prefix) :] or b"/"
        if raw_path.startswith(b"/v1/"):
            return self._base(raw_path[3:], model) + raw_path[3:]
        first = "/" + raw_path[1:].partition(b"/")[0].decode("ascii", "replace")[:80]
        raise UnknownPath(
            f"upstream {self._name} has no {first}; say where it leads with upstreams.{self._name}.paths: "
            f"{{{first}: …}}, or route the model to an upstream that has it"
        )

    def _base(self, rest: bytes, model: str | None) -> bytes:
        if _MODEL not in self._base_path:
            return self._base_path
        if _DEPLOYMENT in self._base_path and rest not in _OF_A_DEPLOYMENT:
            return self._base_path.replace(_DEPLOYMENT, b"")
        if not model:
            raise InvalidField(
                f"upstream {self._name} has the model in its URL, and the request names none; send a model",
                param="model",
            )
        return self._base_path.replace(_MODEL, _segment(model))

    def _merged(self, query: bytes) -> bytes:
        if not self._dropped:
            return query
        kept = [field for field in query.split(b"&") if field and _name_in(field) not in self._dropped]
        return b"&".join([*kept, self._query] if self._query else kept)


def _name_in(field: bytes) -> bytes:
    """The name of a query parameter, decoded, since an upstream will decode it."""
    return unquote_plus(field.partition(b"=")[0].decode("latin-1")).encode()


def _segment(text: str) -> bytes:
    """Percent-encoded so that it stays one segment, or one part of a query."""
    return quote(text, safe="-._~:@", errors="replace").encode("ascii")


def _refuse_dot_segments(path: bytes) -> None:
    if _DOT_SEGMENT.search(path):
        raise InvalidPath("the path contains a dot segment (/./ or /../); send the path it stands for")
