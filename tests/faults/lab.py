"""Where the torment happens: the fault injector is built, and a subject is kept at hand."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import pytest

from tests.faults.oracle import Said
from tests.faults.subject import Order

HERE = Path(__file__).parent
FULL = os.environ.get("EDGE_TORTURE") == "full"


def trials(short: int, full: int) -> int:
    """Return how many times to try: `make torture` tries more."""
    return full if FULL else short


class Report(NamedTuple):
    """How a life ended."""

    code: int
    """The exit code, or minus the signal."""
    seconds: float


class Lab:
    """A subject that lives as often as it is told to."""

    def __init__(self, preload: Path | None, *, small_disk: tuple[Path, int] | None = None) -> None:
        """Start it. `small_disk`: give it a disk of so many KiB of its own at that folder.

        Raises: OSError when the kernel does not let us mount one.
        """
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        if preload is not None:
            environment["LD_PRELOAD"] = str(preload)
        command = [sys.executable, str(HERE / "subject.py")]
        if small_disk is not None:
            folder, kib = small_disk
            mount = f'mount -t tmpfs -o size={kib}k none "{folder}" && exec "$@"'
            command = ["unshare", "--map-root-user", "--mount", "sh", "-c", mount, "sh", *command]
        self._subject = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
        )
        self.can_inject = preload is not None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._subject.stdin is not None
        assert self._subject.stdout is not None
        self._subject.stdin.close()
        self._subject.stdout.close()
        self._subject.wait(30)

    def seen(self, path: Path) -> Path:
        """Return how we reach a path that the subject sees, on its own disk too."""
        return Path(f"/proc/{self._subject.pid}/root") / path.relative_to("/")

    def live(self, order: Order) -> Report:
        """Let it live once."""
        assert self._subject.stdin is not None
        assert self._subject.stdout is not None
        self._subject.stdin.write(json.dumps(asdict(order)) + "\n")
        self._subject.stdin.flush()
        return Report(**json.loads(self._subject.stdout.readline()))


@functools.cache
def library() -> Path | None:
    """Build faultio, once; None where there is no compiler."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        return None
    built = Path(tempfile.mkdtemp(prefix="faultio-")) / "faultio.so"
    subprocess.run(
        [compiler, "-Wall", "-Wextra", "-shared", "-fPIC", "-O2", "-o", built, HERE / "faultio.c", "-ldl", "-lpthread"],
        check=True,
    )
    return built


def need_library() -> None:
    """Skip where faults cannot be injected."""
    if library() is None:
        pytest.skip("no C compiler: faults of single calls cannot be injected (apt-get install gcc)")


def need_small_disk() -> None:
    """Skip where no file system can be mounted."""
    unshare = shutil.which("unshare")
    command = [unshare or "", "--map-root-user", "--mount", "sh", "-c", "mount -t tmpfs none /mnt"]
    tried = subprocess.run(command, capture_output=True, check=False) if unshare else None
    if tried is None or tried.returncode:
        pytest.skip("no small disk can be mounted here: user namespaces are not allowed")


def listen(marks: Path) -> Said:
    """Return what a subject said."""
    said = Said()
    text = marks.read_text(encoding="utf-8") if marks.exists() else ""
    said.listen(text[: text.rfind("\n") + 1])  # what a kill tore was not said
    return said


def tell(text: str) -> None:
    """Say what was injected and what survived: one line a test."""
    sys.stdout.write(f"\n{text}\n")
