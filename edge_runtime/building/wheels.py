"""Wheels for machines that have neither a network nor a compiler."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Sequence
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
    those for this machine. Wheels that are in `folder` already are not fetched again; others in it are removed.

    Raises: ConfigError when the lock or pip is missing, EdgeError when a wheel cannot be had.
    """
    if architecture not in TAGS:
        raise ConfigError(f"there are no wheels for {architecture!r}", hint=f"known: {', '.join(TAGS)}")
    if not lock.is_file():
        raise ConfigError(f"the lock file {lock} is missing", hint="write it: make locks")
    if importlib.util.find_spec("pip") is None:
        raise ConfigError("pip is missing in this environment", hint=f"{sys.executable} -m ensurepip")
    fresh = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    platforms = [part for tag in TAGS[architecture] for part in ("--platform", tag)]
    for version in pythons:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        have = ["--find-links", str(folder)] if folder.is_dir() else []
        wanted = ["--only-binary", ":all:", "--implementation", "cp", "--python-version", version, *platforms]
        more = [*have, "--require-hashes", "--requirement", str(lock), "--dest", str(fresh)]
        done = subprocess.run([*command, *wanted, *more], capture_output=True, text=True, check=False)
        if done.returncode:
            raise EdgeError(
                f"wheels for {architecture}, Python {version} cannot be had:\n{done.stderr.strip()[-_MOST_SHOWN:]}",
                hint="look at the lock file, and at the network of this machine",
            )
    shutil.rmtree(folder, ignore_errors=True)
    fresh.rename(folder)
