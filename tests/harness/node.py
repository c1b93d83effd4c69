"""A published npm package, fetched once into pytest's cache, and scripts that run against it."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

FETCH_LIMIT_S = 120
RUN_LIMIT_S = 60


class NodePackage:
    """An npm package in a folder of its own. Skips the test, with a sentence, where it cannot be had."""

    def __init__(self, package: str, folder: Path) -> None:
        node, npm = shutil.which("node"), shutil.which("npm")
        if node is None or npm is None:
            pytest.skip("node and npm are not installed here; the recorded requests stand in for the package")
        self._node, self._folder = node, folder
        fetched = folder / "node_modules" / package.rpartition("@")[0] / "package.json"
        if not fetched.exists():
            self._fetch(npm, package)

    def run(self, script: str, *arguments: str, environment: dict[str, str] | None = None) -> Any:
        """The JSON that an async function body prints through `show(value)`, one value a line, as a list."""
        program = f"const show = (it) => console.log(JSON.stringify(it)); (async () => {{ {script} }})();"
        done = subprocess.run(
            [self._node, "-e", program, *arguments],
            cwd=self._folder,
            env={"PATH": "", **(environment or {})},
            capture_output=True,
            text=True,
            timeout=RUN_LIMIT_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def _fetch(self, npm: str, package: str) -> None:
        (self._folder / "package.json").write_text('{"private": true}')
        command = [
            npm,
            "install",
            "--no-audit",
            "--no-fund",
            "--no-package-lock",
            "--ignore-scripts",
            package,
        ]
        try:
            done = subprocess.run(
                command, cwd=self._folder, capture_output=True, text=True, timeout=FETCH_LIMIT_S, check=False
            )
        except subprocess.TimeoutExpired:
            pytest.skip(f"{package} did not come from npm within {FETCH_LIMIT_S} s")
        if done.returncode != 0:
            pytest.skip(f"{package} cannot be had from npm here: {done.stderr.strip()[-300:]}")
