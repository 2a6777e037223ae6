"""Carry out a plan, step by step, and tell how far it is."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

from edge_runtime.building.deb import write_deb
from edge_runtime.building.own_wheel import make_own_wheel
from edge_runtime.building.pack import pack, write_pins
from edge_runtime.building.plan import (
    Copy,
    Deb,
    Local,
    OfWheels,
    OwnWheel,
    Pack,
    Pins,
    Plan,
    PureWheels,
    Remote,
    Remove,
    Run,
    Step,
    Wheels,
    Write,
)
from edge_runtime.building.pure_wheel import gather_pure
from edge_runtime.building.wheels import gather
from edge_runtime.errors import ConfigError, EdgeError, StoreError

_MOST_SHOWN = 2000

Tell = Callable[[str, float], object]
"""Told what is being done, and the share of the plan that is done, 0 to 1."""
Far = Callable[[Remote, Callable[[float], object]], object]
"""Runs a step on another machine; it is given what is to be told of the share of the step that is done."""


def nowhere(step: Remote, _: Callable[[float], object]) -> None:
    """Refuse: where there is no connection to another machine."""
    raise ConfigError(f"{step.host} is another machine", hint="edge deploy")


def carry_out(plan: Plan, tell: Tell = lambda _what, _share: None, far: Far = nowhere) -> None:
    """Do all steps of a plan, in order. What was done before one that fails stays.

    `far` runs steps on other machines; without, there may be none.

    Raises: StoreError when the disk fails, ConfigError when a source is missing, EdgeError when a command fails.
    """
    for number, step in enumerate(plan.steps):
        tell(_words(step), number / len(plan.steps))
        try:
            if isinstance(step, Remote):
                far(step, partial(_tell_part, tell, _words(step), number, len(plan.steps)))
            else:
                _do(step)
        except EdgeError:
            raise
        except FileNotFoundError as error:
            raise ConfigError(f"{error.filename} is missing, which {plan.target} needs") from error
        except OSError as error:
            raise StoreError(f"{_words(step)} failed: {error.strerror or error}") from error
    tell("done", 1.0)


def _tell_part(tell: Tell, words: str, number: int, count: int, share: float) -> None:
    tell(words, (number + share) / count)


def _words(step: Step) -> str:  # noqa: PLR0911 - a return a kind of step
    match step:
        case Write(path) | Remove(path):
            return f"{'writing' if isinstance(step, Write) else 'removing'} {path.name}"
        case Copy(source):
            return f"copying {source.name}"
        case Run(command):
            return f"running {Path(command[0]).name}"
        case Wheels() | PureWheels():
            return f"gathering wheels for {step.architecture if isinstance(step, Wheels) else 'any machine'}"
        case OwnWheel():
            return "making the wheel of the runtime"
        case Pins(_, path) | Pack(_, path):
            return f"packing {path.name}"
        case Deb(_, _, path):
            return f"packaging {path.name}"
        case Remote(_, what):
            return what


def _do(step: Local) -> None:
    match step:
        case Write(path, data, mode):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            path.chmod(mode)
        case Copy(source, path, mode):
            _copy(source, path, mode)
        case Run():
            _run(step)
        case Wheels() | PureWheels() | OwnWheel() | Pins() | Pack():
            _of_wheels(step)
        case Deb(root, control, path):
            write_deb(root, control, path)
        case Remove(path):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def _of_wheels(step: OfWheels) -> None:
    match step:
        case Wheels(lock, folder, architecture, pythons):
            gather(lock, folder, architecture, pythons)
        case PureWheels(lock, folder):
            gather_pure(lock, folder)
        case OwnWheel(folder):
            make_own_wheel(folder)
        case Pins(folders, path):
            write_pins(folders, path)
        case Pack():
            pack(step)


def _copy(source: Path, path: Path, mode: int | None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, path, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"), dirs_exist_ok=True)
    else:
        shutil.copy2(source, path)
        if mode is not None:
            path.chmod(mode)


def _run(step: Run) -> None:
    try:
        done = subprocess.run(
            step.command,
            cwd=step.folder,
            env={**os.environ, **step.environment},
            input=step.stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
    except FileNotFoundError as error:
        name = step.command[0]
        raise ConfigError(
            f"the program {name} is missing", hint=f"install it, as in: apt-get install {name}"
        ) from error
    if done.returncode:
        said = done.stdout.decode(errors="replace").strip()[-_MOST_SHOWN:]
        raise EdgeError(f"{step.command[0]} ended with status {done.returncode}:\n{said}")
