"""Bundles of files and folders, and the lock file that goes with wheels."""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from edge_runtime.building.plan import Pack
from edge_runtime.bundles import describe, write
from edge_runtime.errors import ConfigError
from edge_runtime.pure.bundle import Manifest
from edge_runtime.signatures import sign

_WHEEL = re.compile(r"([A-Za-z0-9_.]+)-([A-Za-z0-9_.!+]+)(?:-[^-]+){3,4}\.whl")
TOOLS = frozenset({"installer", "packaging"})
"""What installs the wheels: in a bundle beside them, and not installed itself."""


def pack(step: Pack) -> None:
    """Write a bundle. Raises: ConfigError when a part is missing or in it twice, BundleError, OSError."""
    sources: dict[str, Path] = {}
    for where, what in step.parts:
        for path in sorted(what.rglob("*")) if what.is_dir() else [what]:
            name = f"{where}/{path.relative_to(what).as_posix()}" if what.is_dir() else where
            is_part = path != what and path.name.startswith(".")  # of a build that was killed
            if path.is_dir() or is_part:
                continue
            if name in sources:
                raise ConfigError(f"{name} would be in the bundle twice: {sources[name]} and {path}")
            sources[name] = path
    manifest = Manifest(step.name, step.release, describe(sources), step.architecture)
    step.path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="edge-bundle-") as work:
        signed = None if step.key is None else partial(sign, key=step.key, folder=Path(work))
        write(step.path, manifest, sources, signed)


def write_pins(folders: Iterable[Path], path: Path) -> None:
    """Write a lock file of the wheels in these folders: a line for each version, with the hashes of its wheels.

    What installs them (`TOOLS`) is not in it.

    Raises: ConfigError when something is no wheel, or there are two versions of one package; OSError.
    """
    pins: dict[str, tuple[str, list[str]]] = {}
    for wheel in sorted(one for folder in folders for one in folder.glob("*.whl")):
        match = _WHEEL.fullmatch(wheel.name)
        if match is None:
            raise ConfigError(f"{wheel} is no name of a wheel")
        name, version = re.sub(r"[-_.]+", "-", match[1]).lower(), match[2]
        if name in TOOLS:
            continue
        with wheel.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        known = pins.setdefault(name, (version, []))
        if known[0] != version:
            raise ConfigError(f"there are wheels of {name} {known[0]} and {version}", hint="remove one of them")
        known[1].append(f"--hash=sha256:{digest}")
    lines = [f"{name}=={version} {' '.join(sorted(hashes))}\n" for name, (version, hashes) in sorted(pins.items())]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(lines), encoding="utf-8")
