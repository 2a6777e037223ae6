"""`edge safe`: outputs that a host has left on."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge_runtime import loaders
from tests.cli.fakehost import edge
from tests.wires import Wire, install

APP = """
thing: a
devices:
  pump: {driver: wire, path: pump, guard: {safe: off, lease: 30s}}
  valve: {driver: wire, path: valve, guard: {safe: 1}}
  lamp: {driver: wire, path: lamp}
"""


def wires(folder: Path, app: str = APP) -> tuple[Wire, Wire, Wire]:
    """Write an app, and return the wires of its pump, its valve and its lamp."""
    install(folder)
    found = [Wire(folder / name) for name in ("pump", "valve", "lamp")]
    for wire in found:
        app = app.replace(f"path: {wire.path.name}", f"path: {wire.path}")
    (folder / "edge.yaml").write_text(app, encoding="utf-8")
    pump, valve, lamp = found
    return pump, valve, lamp


@contextmanager
def running(state: Path) -> Iterator[None]:
    """Hold the state folder as a host does."""
    state.mkdir(exist_ok=True)
    lock = os.open(state / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(lock)


def test_what_has_a_guard_gets_its_safe_value(tmp_path: Path) -> None:
    pump, valve, lamp = wires(tmp_path)
    pump.put(1)
    lamp.put(1)
    result = edge(["safe", tmp_path])
    assert (result.exit_code, result.stdout) == (0, "pump is safe: 0.0\nvalve is safe: 1.0\n")
    assert (pump.value, valve.value, lamp.value) == (0, 1, 1)
    assert not (tmp_path / ".edge").exists()  # it leaves no state behind


@pytest.mark.parametrize(("what", "words"), [("open", "does not open"), ("set", "does not set")])
def test_one_that_fails_does_not_keep_the_others_on(tmp_path: Path, what: str, words: str) -> None:
    pump, valve, _ = wires(tmp_path)
    pump.put(1)
    pump.spoil(what)
    result = edge(["safe", tmp_path])
    assert (result.exit_code, result.stdout) == (1, "valve is safe: 1.0\n")
    assert result.stderr.startswith("error: device 'pump' (wire) ")
    assert words in result.stderr
    assert valve.value == 1


def test_one_whose_driver_hangs_does_not_keep_the_others_on(tmp_path: Path) -> None:
    pump, valve, _ = wires(tmp_path)
    pump.spoil("open", 10)
    result = edge(["safe", tmp_path])
    assert (result.exit_code, result.stdout) == (1, "valve is safe: 1.0\n")
    assert result.stderr == "error: device 'pump': its driver does not come back in 3 s\n"
    assert valve.value == 1


def test_while_a_host_runs_it_is_refused_unless_it_is_forced(tmp_path: Path) -> None:
    pump, _, _ = wires(tmp_path)
    pump.put(1)
    with running(tmp_path / ".edge"):
        result = edge(["safe", tmp_path])
        assert (result.exit_code, result.stdout, pump.value) == (1, "", 1)
        assert result.stderr.startswith(f"error: a host is running with the state folder {tmp_path / '.edge'}")
        assert result.stderr.endswith("hint: stop it, and they are safe; or edge safe --force\n")
        assert edge(["safe", tmp_path, "--force"]).exit_code == 0
        assert pump.value == 0


def test_what_ran_last_is_made_safe_though_the_file_has_changed(tmp_path: Path) -> None:
    pump, valve, _ = wires(tmp_path)
    state = tmp_path / ".edge"
    loaders.load_app(tmp_path / "edge.yaml", state)  # as a host does
    other = Wire(tmp_path / "other")
    (tmp_path / "edge.yaml").write_text(
        f"thing: a\ndevices:\n  pump: {{driver: wire, path: {other.path}, guard: {{}}}}\n", encoding="utf-8"
    )
    for wire in (pump, other):
        wire.put(1)
    result = edge(["safe", tmp_path])
    assert (result.exit_code, result.stdout) == (0, "pump is safe: 0.0\nvalve is safe: 1.0\npump is safe: 0.0\n")
    assert (pump.value, valve.value, other.value) == (0, 1, 0)
    (tmp_path / "edge.yaml").write_text("thing: [", encoding="utf-8")
    pump.put(1)
    result = edge(["safe", tmp_path])
    assert (result.exit_code, pump.value) == (0, 0)
    assert result.stderr.startswith("error: edge.yaml:1:")
    assert result.stdout == "the app that ran last is made safe\npump is safe: 0.0\nvalve is safe: 1.0\n"


def test_without_an_app_there_is_an_error(tmp_path: Path) -> None:
    result = edge(["safe", tmp_path / "none.yaml"])
    assert result.exit_code == 1
    assert result.stderr.startswith(f"error: the app file {tmp_path / 'none.yaml'} cannot be read")


def test_a_folder_that_waits_for_its_first_release_needs_nothing(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    result = edge(["safe", tmp_path / "app", "--state", tmp_path / "state"])
    assert (result.exit_code, result.stdout, result.stderr) == (0, "no output has a guard\n", "")


def test_an_app_without_guards_needs_nothing(tmp_path: Path) -> None:
    (tmp_path / "edge.yaml").write_text("thing: a\ndevices: {lamp: {driver: LED, pin: 4}}\n", encoding="utf-8")
    result = edge(["safe", tmp_path])
    assert (result.exit_code, result.stdout) == (0, "no output has a guard\n")


def test_it_takes_no_time_for_an_app_that_ran_without_guards(tmp_path: Path) -> None:
    (tmp_path / "edge.yaml").write_text("thing: a\ndevices: {lamp: {driver: LED, pin: 4}}\n", encoding="utf-8")
    loaders.load_app(tmp_path / "edge.yaml", tmp_path / ".edge")  # as a host does
    code = (
        "import sys; from edge_runtime.cli import cli;"
        f"cli(['safe', {str(tmp_path)!r}], standalone_mode=False);"
        "print([m for m in ('edge_runtime.app', 'edge_runtime.devices', 'subprocess') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "no output has a guard\n[]\n"


def test_pins_are_simulated_on_request(tmp_path: Path) -> None:
    app = "thing: a\ndevices: {pump: {driver: OutputDevice, pin: 4, guard: {}}}\n"
    (tmp_path / "edge.yaml").write_text(app, encoding="utf-8")
    assert edge(["safe", tmp_path, "--simulate"]).stdout == "pump is safe: 0\n"
