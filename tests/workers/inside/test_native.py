"""Native libraries of a function: made with the compiler, so skipped where there is none."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edge_runtime.workers.inside.native import load

needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")


def compiled(folder: Path, name: str, source: str, *needs: str) -> Path:
    path = folder / f"lib{name}.so"
    (folder / f"{name}.c").write_text(source, encoding="ascii")
    libraries = [f"-l{need}" for need in needs]
    command = [
        "cc",
        "-shared",
        "-fPIC",
        "-o",
        str(path),
        str(folder / f"{name}.c"),
        f"-Wl,-soname,lib{name}.so",
        f"-L{folder}",
    ]
    subprocess.run([*command, *libraries], check=True)
    return path


@needs_compiler
def test_libraries_that_need_each_other_are_found(tmp_path: Path) -> None:
    last = compiled(tmp_path, "edgelast", "int last(void) { return 42; }\n")
    first = compiled(tmp_path, "edgefirst", "int last(void); int first(void) { return last(); }\n", "edgelast")
    assert sorted([first, last]) == [first, last]  # so the first cannot be loaded at first
    code = (
        "import ctypes, sys\nfrom edge_runtime.workers.inside.native import load\n"
        "load(sys.argv[1:])\nprint(ctypes.CDLL('libedgefirst.so').first())"
    )
    command = [sys.executable, "-c", code, str(first), str(last)]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == "42\n"


def test_what_is_no_library_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "libx.so"
    path.write_bytes(b"not a library")
    load([str(path), str(tmp_path / "libnone.so")])
