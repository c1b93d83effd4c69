"""Style sheets and scripts: read once, served under a URL that changes with their content.

Every file is small and lives beside this one; nothing is built and nothing comes from elsewhere.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

PATH = "/ui/static"

_FOLDER = Path(__file__).with_name("static")
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


class StaticFiles:
    """One hash of all files stands in every URL, so that scripts find each other by plain names."""

    def __init__(self) -> None:
        files = sorted(path for path in _FOLDER.iterdir() if path.suffix in _TYPES)
        self._files = {path.name: (path.read_bytes(), _TYPES[path.suffix]) for path in files}
        digest = sha256()
        for name, (content, _) in self._files.items():
            digest.update(b"%b %d %b" % (name.encode(), len(content), content))
        self._version = digest.hexdigest()[:16]

    def url(self, name: str) -> str:
        """Raises KeyError for a file that is not there: a page that asks for one is broken."""
        if name not in self._files:
            raise KeyError(name)
        return f"{PATH}/{self._version}/{name}"

    def route(self) -> Route:
        return Route(f"{PATH}/{{version}}/{{name}}", self._serve, methods=["GET"])

    async def _serve(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in self._files:
            return Response("there is no such file", 404, media_type="text/plain")
        content, media_type = self._files[name]
        # A page of another version asks by another hash: what it gets then must not stay.
        known = request.path_params["version"] == self._version
        kept = "public, max-age=31536000, immutable" if known else "no-store"
        return Response(content, headers={"content-type": media_type, "cache-control": kept})
