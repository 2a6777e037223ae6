"""All figures: `make bench`."""

from __future__ import annotations

import importlib
import os
import pkgutil
from pathlib import Path

ASKED_FOR = {"bench_image": "EDGE_IMAGE", "bench_soak": "EDGE_SOAK_S"}
"""Benchmarks that take minutes, and the variable that asks for each."""


def main() -> None:
    """Run every benchmark of this folder in turn, but for those that have to be asked for."""
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        asked_for = module.name not in ASKED_FOR or bool(os.environ.get(ASKED_FOR[module.name]))
        if module.name.startswith("bench_") and asked_for:
            importlib.import_module(f"tests.benchmarks.{module.name}").main()


if __name__ == "__main__":
    main()
