"""`python -m edge_runtime.loaders FILE [OVERLAY]` prints the app of a file as JSON, or what is wrong with it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from edge_runtime import plugin
from edge_runtime.app import App
from edge_runtime.errors import ConfigError, EdgeError
from edge_runtime.loaders import to_json
from edge_runtime.loaders._overlay import NOTHING, read_overlay


def load(path: Path, overlay: Path | None = None) -> App:
    """Return the app of a file, read by the first loader that accepts its name; `overlay` holds what is laid over it.

    Raises: ConfigError.
    """
    known = plugin.names("loaders")
    for name in known:
        loader = plugin.load("loaders", name)
        if loader.accepts(path):
            app = loader.load(path, read_overlay(overlay) if overlay is not None else NOTHING)
            if isinstance(app, App):
                return app
    raise ConfigError(f"no loader reads {path.name}", hint=f"loaders: {', '.join(known)}; the usual file is edge.yaml")


def main() -> None:
    """Print `{"app": ...}` or `{"error": {"message", "hint"}}` as the only thing on the standard output."""
    output = os.fdopen(os.dup(1), "w", encoding="ascii")
    sys.stdout = sys.stderr  # whatever a library prints is no part of the answer
    answer: dict[str, object]
    try:
        answer = {"app": to_json(load(*map(Path, sys.argv[1:3])))}
    except EdgeError as error:
        answer = {"error": {"message": str(error), "hint": error.hint}}
    with output:
        json.dump(answer, output)


if __name__ == "__main__":
    main()
