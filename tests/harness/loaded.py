"""`gateway` whose own endpoints load for nobody but who asks, and which tells at its end what it has loaded.

`python -m tests.harness.loaded …` takes what `gateway` takes; LOADED names the file for the modules.
"""

from __future__ import annotations

import atexit
import os
import sys
from pathlib import Path

import gateway.app
from gateway.__main__ import main

gateway.app._LOAD_AFTER_S = 3600.0
atexit.register(lambda: Path(os.environ["LOADED"]).write_text("\n".join(sys.modules)))
main()
