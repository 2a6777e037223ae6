"""Wheels for machines that have neither a network nor a compiler."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from edge_runtime.errors import ConfigError, EdgeError

PYTHONS = ("3.11", "3.12", "3.13")
"""Of Debian 12, Ubuntu 24.04 and Debian 13."""
TAGS = {
    "x86_64": ("manylinux_2_17_x86_64", "manylinux2014_x86_64", "manylinux_2_28_x86_64"),
    "aarch64": ("manylinux_2_17_aarch64", "manylinux2014_aarch64", "manylinux_2_28_aarch64"),
    "armv7l": (
        "manylinux_2_17_armv7l",
        "manylinux2014_armv7l",
        "manylinux_2_28_armv7l",
        "manylinux_2_31_armv7l",
        "linux_armv7l",
    ),
    "armv6l": ("linux_armv6l",),
}
"""What pip calls the platforms, by what `uname -m` says; oldest C library first. Debian 11 and newer has glibc 2.31."""
_MOST_SHOWN = 2000


def gather(lock: Path, folder: Path, architecture: str, pythons: Sequence[str] = PYTHONS) -> None:
    """Fetch the wheels that a lock file names, for an architecture and each Python, and prove each by its hash.

    The lock names everything, also what others need, by version and hashes and without conditions: pip would judge
    those for this machine. When the folder holds already what this very lock asked for, no network is needed; else
    wheels in it are not fetched again, and those that the lock does not ask for are removed. Others may gather the same
    at the same time.

    Raises: ConfigError when the lock or pip is missing, EdgeError when a wheel cannot be had.
    """
    if architecture not in TAGS:
        raise ConfigError(f"there are no wheels for {architecture!r}", hint=f"known: {', '.join(TAGS)}")
    if not lock.is_file():
        raise ConfigError(f"the lock file {lock} is missing", hint="write it: make locks")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        asked = json.dumps([lock.read_text(encoding="utf-8"), architecture, *pythons])
        key, note = hashlib.sha256(asked.encode()).hexdigest(), folder.with_name(f".{folder.name}.json")
        if note.is_file() and note.read_text(encoding="utf-8") == json.dumps([key, _digests(folder)]):
            return
        fresh = folder.with_name(f".{folder.name}.new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir()
        for version in pythons:
            _fetch(lock, folder, fresh, architecture, version)
        shutil.rmtree(folder, ignore_errors=True)
        fresh.rename(folder)
        note.write_text(json.dumps([key, _digests(folder)]), encoding="utf-8")


def _fetch(lock: Path, have: Path, fresh: Path, architecture: str, version: str) -> None:
    """Have pip fetch the wheels for one Python into `fresh`. Raises: ConfigError, EdgeError."""
    if importlib.util.find_spec("pip") is None:
        raise ConfigError("pip is missing in this environment", hint=f"{sys.executable} -m ensurepip")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--find-links", str(have)] if have.is_dir() else []
    command += ["--only-binary", ":all:", "--implementation", "cp", "--python-version", version]
    command += [part for tag in TAGS[architecture] for part in ("--platform", tag)]
    command += ["--require-hashes", "--requirement", str(lock), "--dest", str(fresh)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise EdgeError(
            f"wheels for {architecture}, Python {version} cannot be had:\n{done.stderr.strip()[-_MOST_SHOWN:]}",
            hint="look at the lock file, and at the network of this machine",
        )


def _digests(folder: Path) -> dict[str, str]:
    """Return what tells whether the wheels in a folder are the same."""
    found = {}
    for path in sorted(folder.glob("*.whl")):
        with path.open("rb") as file:
            found[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let one at a time work on a folder."""
    with folder.with_name(f".{folder.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
