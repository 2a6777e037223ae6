"""Packages of this runtime for a test: a good one, a newer one, and ones that must not get through."""

from __future__ import annotations

import platform
import shutil
import zipfile
from pathlib import Path

import pytest

from edge_runtime.building._wheel_file import write_wheel
from edge_runtime.building.carry_out import carry_out
from edge_runtime.building.pack import pack, write_pins
from edge_runtime.building.plan import Pack
from edge_runtime.plugin import load
from tests.runtimes import real_bundle

NEEDED = ("systemd-sysv", "python3", "python3-venv", "openssl")
"""What a machine must have for it beyond the least that Debian can do with."""
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


class Packages:
    """They are made in a folder when they are asked for."""

    def __init__(self, folder: Path) -> None:
        machine = platform.machine()
        if machine not in _ARCHITECTURES:
            pytest.skip(f"no packages are tested on {machine}")
        self.machine, self.architecture = machine, _ARCHITECTURES[machine]
        self.folder = folder
        self._bundle = real_bundle(folder)

    def good(self) -> str:
        """Return the file name of the package of this runtime."""
        return self._write("0.1.0", self._bundle)

    def newer(self) -> str:
        """Return that of another release, with the same code."""
        return self._write("0.2.0", self._release("0.2.0", self._parts()))

    def damaged(self) -> str:
        """Return that of one whose wheels are not what they were."""
        bundle = self._release("0.3.0", self._parts())
        data = bytearray(bundle.read_bytes())
        middle = len(data) // 2
        data[middle : middle + 64] = bytes(64)
        bundle.write_bytes(data)
        return self._write("0.3.0", bundle)

    def older(self) -> str:
        """Return that of a version before this one, with the same code."""
        return self._write("0.0.9", self.older_bundle())

    def ill(self) -> str:
        """Return that of one that installs, and whose host does not start."""
        return self._write("0.4.0", self.ill_bundle())

    def older_bundle(self) -> Path:
        """Return the bundle of a version before this one, with the same code."""
        parts = self._parts()
        [wheel] = (parts / "wheels").glob("edge_runtime-*.whl")
        version = wheel.name.split("-")[1]
        with zipfile.ZipFile(wheel) as source:
            files: dict[str, bytes | Path] = {
                name.replace(f"{version}.dist-info", "0.0.9.dist-info"): source.read(name).replace(
                    f"Version: {version}\n".encode(), b"Version: 0.0.9\n"
                )
                for name in source.namelist()
                if not name.endswith(("/WHEEL", "/RECORD"))
            }
        wheel.unlink()
        write_wheel(parts / "wheels", "edge-runtime", "0.0.9", files)
        return self._again("0.0.9", parts)

    def ill_bundle(self) -> Path:
        """Return the bundle of one that installs, and whose host does not start."""
        parts = self._parts()
        wheel = next((parts / "wheels").glob("edge_runtime-*.whl"))
        version = wheel.name.split("-")[1]
        files: dict[str, bytes | Path]
        with zipfile.ZipFile(wheel) as source:
            files = {name: source.read(name) for name in source.namelist() if not name.endswith(("/WHEEL", "/RECORD"))}
        files["edge_runtime/host/main.py"] = b"raise SystemExit(9)\n"
        write_wheel(wheel.parent, "edge-runtime", version, files)
        return self._again("0.4.0", parts)

    def _again(self, release: str, parts: Path) -> Path:
        """Return the bundle of these parts, which have changed."""
        write_pins([parts / "wheels"], parts / "requirements.lock")
        return self._release(release, parts)

    def _parts(self) -> Path:
        parts = self.folder / "parts"
        shutil.rmtree(parts, ignore_errors=True)
        with zipfile.ZipFile(self._bundle) as bundle:
            bundle.extractall(parts)
        return parts

    def _release(self, release: str, parts: Path) -> Path:
        path = self.folder / f"runtime-{release}.zip"
        inside = (("requirements.lock", parts / "requirements.lock"), ("wheels", parts / "wheels"))
        pack(Pack(inside, path, "edge-runtime", release, self.machine))
        return path

    def _write(self, version: str, bundle: Path) -> str:
        work = self.folder / "work"
        plan = load("deploy", "deb").plan(self.folder, work, {self.machine: bundle}, self.architecture, version)
        if not plan.results[0].exists():
            carry_out(plan)
        return str(plan.results[0].name)
