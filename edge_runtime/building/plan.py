"""What is done to build or deliver something, as data: to be shown, compared with what is expected, and carried out.

A target in `deploy/` makes a `Plan`; `building.carry_out` does what it says. The steps are few and plain: whatever
needs thought is decided while the plan is made, so that a plan alone tells what will happen.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

_MOST_SHOWN = 400


@dataclass(frozen=True, slots=True)
class Write:
    """Write a file, with its folders."""

    path: Path
    data: bytes
    mode: int = 0o644


@dataclass(frozen=True, slots=True)
class Copy:
    """Copy a file, or a folder with all in it but caches of Python."""

    source: Path
    path: Path
    mode: int | None = None
    """None: as the source."""


@dataclass(frozen=True, slots=True)
class Run:
    """Run a command to its end. A secret has no place in it: it is shown."""

    command: tuple[str, ...]
    folder: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    """Beside that of this process."""
    stdin: bytes = b""


@dataclass(frozen=True, slots=True)
class Wheels:
    """Gather the wheels of a lock file for one architecture and some Pythons, each proved by its hash."""

    lock: Path
    folder: Path
    architecture: str
    """As `uname -m` says."""
    pythons: tuple[str, ...]
    """As `3.11`."""


@dataclass(frozen=True, slots=True)
class Zip:
    """Pack a folder, the same content always into the same bytes."""

    folder: Path
    path: Path


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove a file or a folder, if it is there."""

    path: Path


Step = Write | Copy | Run | Wheels | Zip | Remove


@dataclass(frozen=True, slots=True)
class Plan:
    """What a target does, in order."""

    target: str
    steps: tuple[Step, ...]
    results: tuple[Path, ...] = ()
    """What is there afterwards, for whoever asked."""


def shown(plan: Plan, places: Mapping[Path, str] | None = None) -> str:
    """Return a plan as text, a step each line; `places` names folders, so that the text is the same everywhere."""
    lines = [_line(step) for step in plan.steps]
    text = "\n".join([f"target {plan.target}", *lines, *(f"result {path}" for path in plan.results)]) + "\n"
    for path, name in sorted((places or {}).items(), key=lambda pair: -len(str(pair[0]))):
        text = text.replace(str(path), name)
    return text


def _line(step: Step) -> str:
    match step:
        case Write(path, data, mode):
            return f"write {path} {mode:o} {len(data)} bytes"
        case Copy(source, path, mode):
            return f"copy {source} to {path}{'' if mode is None else f' {mode:o}'}"
        case Run(command, folder, environment, stdin):
            before = "".join(f"{key}={shlex.quote(value)} " for key, value in sorted(environment.items()))
            where = f" in {folder}" if folder is not None else ""
            given = f" with {len(stdin)} bytes of input" if stdin else ""
            return f"run {before}{shlex.join(command)[:_MOST_SHOWN]}{where}{given}"
        case Wheels(lock, folder, architecture, pythons):
            return f"wheels {lock} for {architecture}, Python {' '.join(pythons)}, into {folder}"
        case Zip(folder, path):
            return f"zip {folder} as {path}"
        case Remove(path):
            return f"remove {path}"
