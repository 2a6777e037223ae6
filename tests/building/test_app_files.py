"""What goes into a bundle of an app, and what stays at home."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_runtime.building.app_files import files_of
from edge_runtime.errors import ConfigError
from edge_runtime.loaders import read_app

APP = """thing: station
functions:
  f: {code: ./f, handler: app.handler, layers: [./layer.zip]}
link:
  {driver: paho, endpoint: x, certificate: certs/a.pem, key: certs/a.key, ca: certs/ca.pem, jobs: {keys: [release.pem]}}
"""
KEY = """-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAPUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw=
-----END PUBLIC KEY-----
"""
HOME = ["f/app.py", "f/lib/deep.py", "layer.zip", "release.pem", "hardware/my_pump.py", "hardware/boards/mine.toml"]
AWAY = [
    "certs/a.pem",
    "certs/a.key",
    "certs/ca.pem",
    ".edge/queue.db",
    "f/__pycache__/a.pyc",
    "f/.git/x",
    "notes.txt",
    "f/a.py~",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    base = tmp_path / "site"
    for name in (*HOME, *AWAY):
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).write_text(KEY if name == "release.pem" else "x")
    import zipfile  # noqa: PLC0415 - only here

    with zipfile.ZipFile(base / "layer.zip", "w") as layer:
        layer.writestr("python/a.py", "")
    (base / "edge.yaml").write_text(APP)
    return base


def test_what_the_app_needs_and_nothing_of_one_device(folder: Path) -> None:
    found = files_of(read_app(folder / "edge.yaml"), folder / "edge.yaml")
    assert sorted(found) == sorted(["edge.yaml", *HOME])
    assert found["f/app.py"] == folder / "f" / "app.py"


def test_what_lies_outside_is_refused(folder: Path) -> None:
    (folder.parent / "g").mkdir()
    (folder.parent / "g" / "app.py").write_text("x")
    (folder / "edge.yaml").write_text("thing: a\nfunctions: {g: {code: ../g, handler: app.handler}}\n")
    with pytest.raises(ConfigError, match=r"the code of function 'g', .*/g, lies outside of the app's folder"):
        files_of(read_app(folder / "edge.yaml"), folder / "edge.yaml")


def test_a_link_that_leads_out_is_refused(folder: Path) -> None:
    (folder / "f" / "secret.py").symlink_to("/etc/passwd")
    with pytest.raises(ConfigError, match="lies outside"):
        files_of(read_app(folder / "edge.yaml"), folder / "edge.yaml")
