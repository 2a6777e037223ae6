"""Runtimes that were built for devices, kept so that the next device needs neither time nor a network."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import edge_runtime
from edge_runtime import plugin
from edge_runtime.building.plan import Plan
from edge_runtime.errors import ConfigError

Carry = Callable[[Plan], object]
"""Carries out a plan."""
_KEPT = 6


def folder() -> Path:
    """Return where built runtimes are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edge-runtime" / "built"


def bundle(architecture: str, carry: Carry) -> Path:
    """Return the bundle of this runtime for an architecture; it is built when none is kept.

    Raises: ConfigError, EdgeError when it cannot be built.
    """
    target: Any = plugin.load("deploy", "runtime")
    path = folder() / f"edge-runtime-{edge_runtime.__version__}-{_digest()}-{architecture}.zip"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        carry(target.plan(architecture, path))
        _prune()
    return path


def package(debian: str, machine: str, carry: Carry) -> Path:
    """Return the package of this runtime for what dpkg calls the architecture; it is built when none is kept.

    Raises: as `bundle`; ConfigError when there is no package for it.
    """
    target: Any = plugin.load("deploy", "deb")
    if debian not in target.MACHINES:
        raise ConfigError(f"there is no package for {debian}", hint="install for one user alone: --user")
    version = edge_runtime.__version__
    path = folder() / f"edge-runtime-{version}-{_digest()}-{debian}" / f"edge-runtime_{version}_{debian}.deb"
    if not path.is_file():
        machines = dict.fromkeys((*target.MACHINES[debian], machine))
        bundles = {one: bundle(one, carry) for one in machines}
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="edge-deb-") as work:  # of its own: two builds may run at once
            carry(target.plan(path.parent, Path(work), bundles, debian, version))
        _prune()
    return path


def _digest() -> str:
    """Return what names the content of this runtime, which changes while it is worked on and its version does not."""
    root = Path(edge_runtime.__file__).parent
    found = hashlib.sha256()
    places = [root, *plugin.folders("deploy"), *plugin.folders("hardware"), *plugin.folders("components")]
    for place in places:
        for path in sorted(one for one in place.rglob("*") if one.is_file() and one.suffix != ".pyc"):
            found.update(f"{path.relative_to(place)}\0".encode())
            found.update(path.read_bytes())
    return found.hexdigest()[:12]


def _prune() -> None:
    """Keep the newest few."""
    files = sorted(folder().rglob("edge-runtime*.*"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in [one for one in files if one.is_file()][_KEPT:]:
        path.unlink(missing_ok=True)
