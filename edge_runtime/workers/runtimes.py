"""Which interpreter that is installed here serves the runtime that a function declares.

Every `python3.x` runs on the Python of this runtime, every `nodejsN.x` on the Node that is on PATH. `provided*` and
`go1.x` are programs of their own, which speak the Runtime API. AWS's other runtimes are refused by name.
"""

from __future__ import annotations

import os
import platform
import shutil
import struct
import subprocess
import sys
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from edge_runtime.app import Function
from edge_runtime.errors import ConfigError
from edge_runtime.plugin import nearest

HERE = f"python{sys.version_info.major}.{sys.version_info.minor}"
NODE_FOLDER = Path(__file__).parent / "node"
_NODE_MAIN = NODE_FOLDER / "index.cjs"
_KNOWN = ("python3", HERE, "nodejs20.x", "nodejs22.x", "provided", "provided.al2023", "go1.x")
_FOREIGN = {"java": "Java", "dotnet": ".NET", "ruby": "Ruby"}
_HOWTO = "Python, Node and any `bootstrap` program (runtime: provided.al2023) run here"
_VERSION_S = 10.0

# e_machine of the ELF header (elf.h), and which of them a kernel of a machine can run.
_MACHINES = {3: "x86", 40: "32-bit ARM", 62: "x86-64", 183: "64-bit ARM", 243: "RISC-V"}
_RUNS = {
    "x86_64": {3, 62},
    "i686": {3},
    "aarch64": {40, 183},
    "armv8l": {40},
    "armv7l": {40},
    "armv6l": {40},
    "riscv64": {243},
}
_ELF = struct.Struct("16xHH")
_GO_ARCH = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "armv6l": "arm", "riscv64": "riscv64"}


class Kind(Enum):
    """What serves a runtime."""

    PYTHON = "python"
    NODE = "node"
    PROGRAM = "program"


@dataclass(frozen=True, slots=True)
class Command:
    """What a worker becomes that is not Python."""

    argv: tuple[str, ...]
    read: tuple[Path, ...] = ()
    """Folders of ours that it needs, beside its interpreter's and the function's own."""


def kind(runtime: str) -> Kind:
    """Return what serves a declared runtime.

    Raises: ConfigError when nothing ever will here.
    """
    if runtime.startswith("python"):
        return Kind.PYTHON
    if runtime.startswith("nodejs"):
        return Kind.NODE
    if runtime.startswith("provided") or runtime == "go1.x":
        return Kind.PROGRAM
    for name, language in _FOREIGN.items():
        if runtime.startswith(name):
            raise ConfigError(f"runtime {runtime!r} is not supported: {language} does not run here", hint=_HOWTO)
    raise ConfigError(f"there is no runtime {runtime!r}{nearest(runtime, _KNOWN)}", hint=_HOWTO)


def interpreter(runtime: str, path: str | None = None) -> str:
    """Return what a declared runtime runs on here: a name for Python, a path for Node, nothing for a program.

    `path` replaces PATH. Costs a look at a few folders.

    Raises: ConfigError when nothing does; its hint is the command that installs it.
    """
    which = kind(runtime)
    if which is Kind.PYTHON:
        return HERE
    if which is Kind.PROGRAM:
        return ""
    for name in ("node", "nodejs"):
        if found := shutil.which(name, path=path):
            return os.path.abspath(found)  # noqa: PTH100 - as it is on PATH: its version manager may go by the name
    raise ConfigError(f"runtime {runtime!r} needs Node, which is not installed", hint="run: sudo apt install nodejs")


def version(node: str) -> str:
    """Return `nodejs20.20.2` of the Node at this path. Blocks: it is started.

    Raises: ConfigError when it says nothing of the kind.
    """
    try:
        done = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=_VERSION_S, check=True)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise ConfigError(f"{node} does not run: {error}", hint="run: sudo apt install --reinstall nodejs") from error
    return f"nodejs{done.stdout.strip().removeprefix('v')}"


def command(function: Function, root: Path, opt: Path | None) -> Command | None:
    """Return what a worker of a function is to become, None for one of Python. Blocks for a look at a file.

    `root` is the folder of its code, `opt` that of its layers.

    Raises: ConfigError when it cannot run.
    """
    which = kind(function.runtime)
    if which is Kind.PYTHON:
        return None
    if which is Kind.NODE:
        return Command((interpreter(function.runtime), str(_NODE_MAIN)), (NODE_FOLDER,))
    return Command((str(_program(function, root, opt)),))


def _program(function: Function, root: Path, opt: Path | None) -> Path:
    places = [root / "bootstrap", *([opt / "bootstrap"] if opt else [])]
    if function.runtime == "go1.x" and _is_inside(root / function.handler, root):
        places.insert(0, root / function.handler)  # go1.x names the program itself as its handler
    for path in places:
        if path.is_file():
            _check_program(path)
            return path
    where = " or ".join(str(path) for path in places)
    raise ConfigError(
        f"there is no program {where}, which runtime {function.runtime!r} needs",
        hint="put an executable file named bootstrap into the folder of the function or into a layer",
    )


def _is_inside(path: Path, root: Path) -> bool:
    return path != root and os.path.normpath(path).startswith(f"{root}/")


def _check_program(path: Path) -> None:
    if not os.access(path, os.X_OK):
        raise ConfigError(f"{path} is not executable", hint=f"run: chmod +x {path}")
    with path.open("rb") as file:
        head = file.read(_ELF.size)
    if head.startswith(b"#!"):
        return
    if not head.startswith(b"\x7fELF") or len(head) < _ELF.size:
        raise ConfigError(f"{path} is neither a Linux program nor a script", hint="a script begins with #!")
    order = "<" if head[5] == 1 else ">"
    _, number = struct.unpack(f"{order}16xHH", head)
    here = platform.machine()
    if number not in _RUNS.get(here, {number}):
        built = _MACHINES.get(number, f"machine {number}")
        hint = f"build it for {here}" + (f" (GOARCH={_GO_ARCH[here]})" if here in _GO_ARCH else "")
        raise ConfigError(f"{path} is built for {built}, and this machine is {here}", hint=hint)
