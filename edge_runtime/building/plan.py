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
class PureWheels:
    """Gather the packages of a lock file as wheels for any machine: without their compiled parts."""

    lock: Path
    folder: Path


@dataclass(frozen=True, slots=True)
class OwnWheel:
    """Write the wheel of the runtime that runs here."""

    folder: Path


@dataclass(frozen=True, slots=True)
class Pins:
    """Write a lock file that names the wheels in these folders by their hashes, but not what installs them."""

    folders: tuple[Path, ...]
    path: Path


@dataclass(frozen=True, slots=True)
class Pack:
    """Write a bundle of these files and of all files in these folders but hidden ones."""

    parts: tuple[tuple[str, Path], ...]
    """Where in the bundle, and what: a file under that very path, a folder below it. A path may come several times."""
    path: Path
    name: str
    release: str
    architecture: str = ""
    key: Path | None = None
    """The Ed25519 key that signs it, a PEM file."""


@dataclass(frozen=True, slots=True)
class Deb:
    """Pack a folder as a Debian package: see `building.deb`."""

    root: Path
    """What is installed, by its place below `/`."""
    control: Path
    """The folder of the control files."""
    path: Path


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove a file or a folder, if it is there."""

    path: Path


@dataclass(frozen=True, slots=True)
class Remote:
    """Run a shell script on another machine, perhaps with a file as its input. A secret has no place in it."""

    host: str
    what: str
    """For a person, as in `installing the runtime`."""
    script: str
    user: str = ""
    """Who runs it there; empty: who logs in."""
    source: Path | None = None


OfWheels = Wheels | PureWheels | OwnWheel | Pins | Pack
Local = Write | Copy | Run | OfWheels | Deb | Remove
Step = Local | Remote


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


def _far_line(step: Remote) -> str:
    who = f" as {step.user}" if step.user else ""
    given = f" with {step.source}" if step.source is not None else ""
    return "\n  | ".join([f"on {step.host}{who}{given}: {step.what}", *step.script.strip().splitlines()])


def _line(step: Step) -> str:  # noqa: PLR0911 - a return a kind of step
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
        case Wheels() | PureWheels() | OwnWheel() | Pins() | Pack():
            return _of_wheels(step)
        case Deb(root, control, path):
            return f"package {root} with {control} as {path}"
        case Remove(path):
            return f"remove {path}"
        case Remote():
            return _far_line(step)


def _of_wheels(step: OfWheels) -> str:
    match step:
        case Wheels(lock, folder, architecture, pythons):
            return f"wheels {lock} for {architecture}, Python {' '.join(pythons)}, into {folder}"
        case PureWheels(lock, folder):
            return f"wheels {lock} for any machine, into {folder}"
        case OwnWheel(folder):
            return f"own wheel into {folder}"
        case Pins(folders, path):
            return f"pins of {' '.join(map(str, folders))} as {path}"
        case Pack(parts, path, name, release, architecture, key):
            inside = " ".join(f"{where}={what}" for where, what in parts)
            signed = f" signed by {key}" if key is not None else ""
            return f"bundle {name} {release} for {architecture or 'any machine'} of {inside} as {path}{signed}"
