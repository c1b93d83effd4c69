"""The command `gateway`, also as `python -m gateway`."""

from __future__ import annotations

import io
import sys

from gateway.cli.root import gateway


def main() -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 wrong options or configuration."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that cannot show a character shows its code; a table never ends in a traceback.
            stream.reconfigure(errors="backslashreplace")
    gateway(prog_name="gateway")


if __name__ == "__main__":
    main()
