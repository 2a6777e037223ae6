"""What Landlock leaves to a process."""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from pathlib import Path

import pytest

from edge_runtime.workers.inside import landlock

ABI = landlock.version(ctypes.CDLL(None, use_errno=True))
needs_landlock = pytest.mark.skipif(ABI == 0, reason="the kernel has no Landlock")
SCRIPT = """
import ctypes, json, os, sys
from edge_runtime.workers.inside import landlock
folder, parent = sys.argv[1], os.getppid()
libc = ctypes.CDLL(None, use_errno=True)
zero = ctypes.c_ulong(0)
assert libc.prctl(38, ctypes.c_ulong(1), zero, zero, zero) == 0
grants = [(folder + "/read", landlock.READ), (folder + "/use", landlock.USE), (folder + "/own", landlock.OWN)]
grants += [(folder + "/read/file", landlock.OWN), (folder + "/none", landlock.OWN)]
landlock.restrict(libc, landlock.version(libc), None if sys.argv[2:] else grants)

def may(do):
    try:
        do()
    except PermissionError:
        return False
    return True

found = {}
for name in ("read", "use", "own", "other"):
    at = f"{folder}/{name}"
    found[name] = [may(lambda: os.listdir(at)), may(lambda: open(at + "/other").close()),
                   may(lambda: open(at + "/other", "r+").close()), may(lambda: open(at + "/new", "w").close())]
found["file"] = may(lambda: open(folder + "/read/file", "w").close())
found["signal"] = may(lambda: os.kill(parent, 0))
print(json.dumps(found))
"""


def found(folder: Path, *more: str) -> dict[str, object]:
    """Return what a restricted process may do: list, read, write, make; in each folder."""
    for name in ("read", "use", "own", "other"):
        (folder / name).mkdir()
        (folder / name / "other").touch()
    (folder / "read" / "file").touch()
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder), *more], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, object] = json.loads(done.stdout)
    return told


@needs_landlock
def test_only_what_is_granted_is_left(tmp_path: Path) -> None:
    assert found(tmp_path) == {
        "read": [True, True, False, False],
        "use": [True, True, True, False],
        "own": [True, True, True, True],
        "other": [False, False, False, False],
        "file": True,
        "signal": ABI < landlock.SCOPES_VERSION,
    }


@pytest.mark.skipif(ABI < landlock.SCOPES_VERSION, reason="the kernel keeps no signals inside")
def test_signals_alone_can_be_kept_inside(tmp_path: Path) -> None:
    told = found(tmp_path, "signals alone")
    assert told.pop("signal") is False
    assert told.pop("file") is True
    assert all(each == [True] * 4 for each in told.values())


def test_a_kernel_that_refuses_is_an_error() -> None:
    class Refusing:
        """A C library over a kernel without Landlock."""

        def syscall(self, *_arguments: object) -> int:
            ctypes.set_errno(38)
            return -1

    assert landlock.version(Refusing()) == 0  # type: ignore[arg-type]  # all that is used of it
    with pytest.raises(OSError, match="landlock: Function not implemented"):
        landlock.restrict(Refusing(), 1, [])  # type: ignore[arg-type]  # as above
