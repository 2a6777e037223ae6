"""Bundles of a runtime, a small one and the real one, and how a device runs the installer."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from edge_runtime.building._wheel_file import write_wheel
from edge_runtime.building.carry_out import carry_out
from edge_runtime.building.pack import TOOLS, pack, write_pins
from edge_runtime.building.plan import Pack
from edge_runtime.errors import EdgeError
from edge_runtime.plugin import load

ROOT = Path(__file__).parent.parent
INSTALLER = ROOT / "deploy" / "installer" / "edge-install.sh"
NOBODY = 65534


def small_bundle(folder: Path, version: str = "1.0.0", *, works: bool = True, architecture: str = "") -> Path:
    """Write a bundle of a runtime that only says its version, or fails at that."""
    wheels = folder / f"wheels-{version}"
    shutil.rmtree(wheels, ignore_errors=True)
    wheels.mkdir(parents=True)
    for tool in TOOLS:
        _wheel_of_installed(tool, wheels)
    says = (
        f"def main():\n    import sys\n    print('edge {version}', *sys.argv[1:])\n    sys.exit({0 if works else 3})\n"
    )
    for name, module, text in (
        ("edge-runtime", "edge_runtime", says),
        ("pydantic", "pydantic", "VERSION = '2.0'\n"),
        ("pyyaml", "yaml", ""),
    ):
        about = f"{name.replace('-', '_')}-{version}.dist-info"
        files: dict[str, bytes | Path] = {
            f"{module}/__init__.py": text.encode(),
            f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        }
        if name == "edge-runtime":
            files[f"{about}/entry_points.txt"] = b"[console_scripts]\nedge = edge_runtime:main\n"
        write_wheel(wheels, name, version, files)
    write_pins([wheels], folder / f"{version}.lock")
    parts = (("requirements.lock", folder / f"{version}.lock"), ("wheels", wheels))
    path = folder / f"edge-runtime-{version}.zip"
    pack(Pack(parts, path, "edge-runtime", version, architecture or platform.machine()))
    return path


def _wheel_of_installed(name: str, wheels: Path) -> None:
    """Write a wheel of a pure package from the files that are installed here, so that no index is needed."""
    found = importlib.metadata.distribution(name)
    files = {
        entry.as_posix(): Path(str(entry.locate()))
        for entry in found.files or ()
        if entry.suffix == ".py" or entry.name == "METADATA"
    }
    write_wheel(wheels, name, found.version, files)


def real_bundle(folder: Path) -> Path:
    """Build this runtime's bundle for this machine; its wheels are kept between runs. Skips where there is no index."""
    path = folder / f"edge-runtime-{platform.machine()}.zip"
    try:
        carry_out(load("deploy", "runtime").plan(platform.machine(), path))
    except EdgeError as error:
        if "cannot be had" not in str(error):
            raise
        pytest.skip(f"the wheels of the runtime cannot be had here: {error}")
    return path


def python_folder() -> str:
    """Return a folder whose python3 any user may run, as on a device."""
    for folder in ("/usr/bin", "/usr/local/bin"):
        probe = "import sys, venv; sys.exit(sys.version_info < (3, 11))"
        python = Path(folder, "python3")
        if python.exists() and subprocess.run([python, "-c", probe], capture_output=True, check=False).returncode == 0:
            return folder
    if os.getuid() == 0:
        pytest.skip("there is no python3 of the system, 3.11 or newer, that any user may run")
    return str(Path(sys.base_prefix) / "bin")


def environment(**more: str) -> dict[str, str]:
    """Return the environment of a device's shell."""
    return {"PATH": f"{python_folder()}:/usr/bin:/bin:/usr/sbin:/sbin", "LANG": "C.UTF-8", **more}


def as_nobody() -> list[str]:
    """Return what runs a command as a user without rights; nothing where we are none anyway."""
    if os.getuid():
        return []
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--no-new-privs"]


@contextlib.contextmanager
def open_folder() -> Iterator[Path]:
    """Make a folder that any user may look into. pytest keeps its own to itself."""
    with tempfile.TemporaryDirectory(prefix="edge-test-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def without_network() -> list[str]:
    """Return what runs a command without a network. Skips where this machine does not allow it."""
    command = ["unshare", "--net"] if os.getuid() == 0 else ["unshare", "--map-root-user", "--net"]
    if not shutil.which("unshare") or subprocess.run([*command, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no network namespace can be made here")
    return command


def installed(
    bundle: Path, dest: Path, *more: str, verb: str = "install", before: list[str] | None = None, **env: str
) -> subprocess.CompletedProcess[str]:
    """Run the installer to its end."""
    command = [*(before or []), "sh", str(INSTALLER), verb, str(bundle), str(dest), *more]
    return subprocess.run(command, env=environment(**env), capture_output=True, text=True, check=False, timeout=300)


def version_in(dest: Path, env: Mapping[str, str] | None = None) -> str:
    """Return what the runtime that is in place says of itself; empty when there is none that runs."""
    try:
        done = subprocess.run(
            [dest / "venv" / "bin" / "edge"], env=env or environment(), capture_output=True, text=True, check=False
        )
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
