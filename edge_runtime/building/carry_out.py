"""Carry out a plan, step by step, and tell how far it is."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from edge_runtime.building.plan import Copy, Plan, Remove, Run, Step, Wheels, Write, Zip
from edge_runtime.building.wheels import gather
from edge_runtime.errors import ConfigError, EdgeError, StoreError

_THEN = (1980, 1, 1, 0, 0, 0)
_PACKED = frozenset({".zip", ".whl", ".gz", ".xz", ".zst", ".png", ".jpg"})
_MOST_SHOWN = 2000

Tell = Callable[[str, float], object]
"""Told what is being done, and the share of the plan that is done, 0 to 1."""


def carry_out(plan: Plan, tell: Tell = lambda _what, _share: None) -> None:
    """Do all steps of a plan, in order. What was done before one that fails stays.

    Raises: StoreError when the disk fails, ConfigError when a source is missing, EdgeError when a command fails.
    """
    for number, step in enumerate(plan.steps):
        tell(_words(step), number / len(plan.steps))
        try:
            _do(step)
        except EdgeError:
            raise
        except FileNotFoundError as error:
            raise ConfigError(f"{error.filename} is missing, which {plan.target} needs") from error
        except OSError as error:
            raise StoreError(f"{_words(step)} failed: {error.strerror or error}") from error
    tell("done", 1.0)


def _words(step: Step) -> str:
    match step:
        case Write(path) | Remove(path):
            return f"{'writing' if isinstance(step, Write) else 'removing'} {path.name}"
        case Copy(source):
            return f"copying {source.name}"
        case Run(command):
            return f"running {Path(command[0]).name}"
        case Wheels(_, _, architecture):
            return f"gathering wheels for {architecture}"
        case Zip(_, path):
            return f"packing {path.name}"


def _do(step: Step) -> None:
    match step:
        case Write(path, data, mode):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            path.chmod(mode)
        case Copy(source, path, mode):
            _copy(source, path, mode)
        case Run():
            _run(step)
        case Wheels(lock, folder, architecture, pythons):
            gather(lock, folder, architecture, pythons)
        case Zip(folder, path):
            _zip(folder, path)
        case Remove(path):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


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


def _zip(folder: Path, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as out:
        for file in _files(folder):
            info = zipfile.ZipInfo(file.relative_to(folder).as_posix(), _THEN)
            info.compress_type = zipfile.ZIP_STORED if file.suffix in _PACKED else zipfile.ZIP_DEFLATED
            executable = file.stat().st_mode & stat.S_IXUSR
            info.external_attr = (stat.S_IFREG | (0o755 if executable else 0o644)) << 16
            info.create_system = 3
            with file.open("rb") as source, out.open(info, "w") as target:
                shutil.copyfileobj(source, target)
    part.replace(path)


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())
