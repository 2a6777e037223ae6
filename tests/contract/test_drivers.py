"""What every driver in `hardware` keeps, whichever sensor it reads: see `edge_runtime.devices.driver`."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from edge_runtime import plugin
from edge_runtime.app import Device
from edge_runtime.devices import Opener, check, close
from edge_runtime.devices.drivers import arguments, find
from edge_runtime.devices.simulation import Simulated
from edge_runtime.errors import DeviceError
from edge_runtime.loaders import edge_yaml

DRIVERS = plugin.names("hardware")
LIBRARIES = ("smbus2", "serial", "pymodbus", "sense_hat", "picamera2", "libcamera", "numpy", "gpiozero")
ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "hardware" / "README.md").read_text(encoding="utf-8")
ROWS = {row[1].strip("` "): row for line in README.splitlines() if len(row := line.split("|")) == 7 and "`" in row[1]}
"""The cells of its list, by driver."""


def words_of(driver: str) -> str:
    """Return what the file says of itself."""
    return inspect.getdoc(plugin.load("hardware", driver)) or ""


def example_of(driver: str) -> str:
    """Return the first example of a device in the file's own words, as a part of an `edge.yaml`."""
    blocks = re.findall(r"(?:^ {4}.*\n?|^\n(?= {4}))+", words_of(driver), re.MULTILINE)
    examples = [textwrap.dedent(block) for block in blocks if f"driver: {driver}\n" in re.sub(r" +#.*", "", block)]
    assert examples, f"the docstring of hardware/{driver}.py has no example with `driver: {driver}`"
    return examples[0]


def device_of(driver: str, folder: Path) -> Device:
    """Return the device of the example, read from an app file. What it keeps under `/var/lib` is kept in `folder`."""
    path = folder / "edge.yaml"
    example = example_of(driver).replace("/var/lib/", f"{folder}/")
    path.write_text("thing: station\ndevices:\n" + textwrap.indent(example, "  "))
    device = next(device for device in edge_yaml.load(path).devices if device.driver == driver)
    assert device.name in example_of(driver)
    return device


def measured(device: Any) -> Any:  # noqa: ANN401 - whatever a driver measures
    """Return the value of a device; None when it has none yet."""
    try:
        return device.value
    except DeviceError:
        return None


def other(value: Any) -> Any:  # noqa: ANN401 - whatever a driver measures
    """Return a value of the same shape that is another one. For none, it is one with parts."""
    if isinstance(value, dict):
        return {part: other(item) for part, item in value.items()}
    if value is None:
        return {"part": 1}
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    return f"{value} and more"


def tell_another(device: Any, tell: Callable[[Any], object]) -> None:  # noqa: ANN401 - an object of any driver
    """Have a simulated device measure something else, and see that it does."""
    before = measured(device)
    if isinstance(before, dict) and "sha256" in before:  # a picture cannot be made up: it is told a file
        tell(before["path"])
        assert [measured(device)["sha256"] for _ in range(2)] == [before["sha256"]] * 2
    else:
        tell(other(before))
        assert measured(device) == other(before)


@pytest.fixture(params=DRIVERS, name="driver")
def each_driver(request: pytest.FixtureRequest) -> str:
    """Return the name of each driver in turn."""
    return str(request.param)


def test_there_are_drivers() -> None:
    assert {"ads1115", "bme280", "ds18b20", "i2c_register", "ina219", "sense_hat", "sht3x", "system"} <= set(DRIVERS)


def test_it_is_one_public_class_with_words_about_it(driver: str) -> None:
    cls = find(Device("one", driver))
    assert inspect.getdoc(cls)
    assert callable(cls.close)
    for name in arguments(cls).names:
        assert f"`{name}" in words_of(driver), f"hardware/{driver}.py does not say what {name} is"


def test_its_example_is_a_device_that_loads(driver: str, tmp_path: Path) -> None:
    assert isinstance(yaml.safe_load(example_of(driver)), dict)
    device = device_of(driver, tmp_path)
    check(device)
    kind = find(device)
    assert device.every_s > 0 or hasattr(kind, "when_read"), "nothing reads the device of the example"


def test_it_says_how_it_is_wired(driver: str) -> None:
    assert "wiring" in words_of(driver).lower() or driver == "folder"


def test_it_tells_what_it_takes_hold_of(driver: str, tmp_path: Path) -> None:
    device = device_of(driver, tmp_path)
    wires = find(device).wires(**device.options)
    assert isinstance(wires, list | tuple)
    assert all(isinstance(text, str) and text for text in wires)
    assert len(set(wires)) == len(wires)


def test_its_units_are_those_of_its_parts(driver: str, tmp_path: Path) -> None:
    device = device_of(driver, tmp_path)
    unit = getattr(find(device), "unit", "")
    if isinstance(unit, str):
        return
    assert all(isinstance(part, str) and isinstance(text, str) for part, text in unit.items())
    value = measured(find(device).simulated(**device.options))
    assert value is None or set(value) & set(unit), "its units are of other parts than it measures"


def test_it_can_be_simulated(driver: str, tmp_path: Path) -> None:
    device = device_of(driver, tmp_path)
    simulated = find(device).simulated(**device.options)
    value = measured(simulated)
    assert json.loads(json.dumps(value, allow_nan=False)) == value
    tell_another(simulated, simulated.simulate)
    simulated.close()
    simulated.close()


def test_it_runs_in_a_simulation(driver: str, tmp_path: Path) -> None:
    device = device_of(driver, tmp_path)
    opened = Opener(simulate=True).open(device)
    try:
        assert opened.simulated
        assert opened.is_output or opened.has_readings or device.every_s > 0
        tell_another(opened.device, partial(Simulated([opened]).set, device.name))
    finally:
        close([opened])
        close([opened])


@pytest.mark.parametrize("listed", ROWS)
def test_the_list_of_drivers_tells_the_arguments(listed: str) -> None:
    takes = arguments(find(Device("one", listed)))
    written = [f"**`{name}`**" if name in takes.needed else f"`{name}`" for name in takes.names]
    assert ROWS[listed][4].strip().split(", ") == written


def test_the_driver_that_the_list_shows_how_to_write(tmp_path: Path) -> None:
    program, example = (re.search(rf"```{kind}\n(.*?)```", README, re.DOTALL) for kind in ("python", "yaml"))
    assert program is not None
    assert example is not None
    (tmp_path / "hardware").mkdir()
    (tmp_path / "hardware" / "fan.py").write_text(program[1])
    (tmp_path / "edge.yaml").write_text("thing: station\ndevices:\n" + textwrap.indent(example[1], "  "))
    (device,) = edge_yaml.load(tmp_path / "edge.yaml").devices
    simulated = Opener(simulate=True, extra=tmp_path).open(device)
    real = Opener(extra=tmp_path).open(replace(device, options={"path": str(tmp_path / "fan1_input")}))
    assert simulated.device.value == 2400
    with pytest.raises(DeviceError, match="cannot be read: No such file or directory"):
        _ = real.device.value
    (tmp_path / "fan1_input").write_text("2112\n")
    assert real.device.value == 2112
    close([simulated, real])


def test_importing_a_driver_imports_no_library_of_hardware() -> None:
    """So an app can be checked on a machine that has none of them."""
    program = (
        "import sys\n"
        "from edge_runtime import plugin\n"
        "for name in plugin.names('hardware'):\n"
        "    plugin.load('hardware', name)\n"
        f"    found = [library for library in {LIBRARIES!r} if library in sys.modules]\n"
        "    if found:\n"
        "        sys.exit(f'{name} imports {found}')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
