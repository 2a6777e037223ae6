"""The wheel as pipx takes it: into a fresh environment, from which the demo runs and packages are planned."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from edge_runtime.building._wheel_file import write_wheel
from edge_runtime.building.own_wheel import make_own_wheel
from tests.debian import call
from tests.runtimes import real_bundle

FOLDERS = ("components/field_station/edge.yaml", "hardware/ds18b20.py", "deploy/deb/files/postinst")

UNUSED = {"markdown-it-py": "4.99", "pygments": "2.99", "setuptools": "99"}
"""What others ask for and a bundle does not have, because nothing imports it: here it is empty."""


@pytest.mark.long
@pytest.mark.timeout(400)
def test_a_fresh_environment_has_all_that_the_demo_needs(tmp_path: Path) -> None:
    wheel = make_own_wheel(tmp_path)
    with zipfile.ZipFile(wheel) as zipped:
        assert {f"edge_runtime/bundled/{name}" for name in FOLDERS} <= set(zipped.namelist())
    with zipfile.ZipFile(real_bundle(tmp_path)) as bundle:
        bundle.extractall(tmp_path / "parts")
    call("python3", "-m", "venv", tmp_path / "venv", environment={"PYTHONPATH": ""})
    place = tmp_path / "venv" / "bin"
    for name, version in UNUSED.items():
        about = f"{name.replace('-', '_')}-{version}.dist-info/METADATA"
        text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        write_wheel(tmp_path / "parts" / "wheels", name, version, {about: text.encode()})
    call(place / "pip", "install", "--quiet", "--no-index", "--find-links", tmp_path / "parts" / "wheels", wheel)
    planned = call(place / "edge", "build", "deb", "--arch", "all", "--dry-run", "-o", tmp_path).stdout
    assert f"result {tmp_path}/edge-runtime_0.1.0_all.deb\n" in planned
    books = json.loads(call(place / "edge", "demo", "--seconds", "10", "--json").stdout.splitlines()[-1])
    assert (books["lost"], books["balanced"]) == (0, True)
