"""DS18B20 against a tree of files like that of the kernel's 1-Wire bus."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.app import Device
from edge_runtime.devices.driver import Driver
from edge_runtime.devices.drivers import find
from edge_runtime.errors import ConfigError, DeviceError
from edge_runtime.loaders import edge_yaml

Ds18b20 = find(Device("tank", "ds18b20"))
ONE, OTHER = "28-0316a2795c9f", "28-00000b1f2a30"
TRUE_23 = "72 01 4b 46 7f ff 0e 10 57"
POWER_ON = "50 05 4b 46 7f ff 0c 10 1c"
TRUE_85 = "50 05 4b 46 7f ff 10 10 c1"


class _Bus:
    """A 1-Wire bus."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "devices"
        (self.root / "w1_bus_master1").mkdir(parents=True)

    def says(self, name: str, memory: str, milli: int, *, crc: str = "YES") -> None:
        """Let a sensor say this in the file `w1_slave`."""
        (self.root / name).mkdir(exist_ok=True)
        text = f"{memory} : crc={memory[-2:]} {crc}\n{memory} t={milli}\n"
        (self.root / name / "w1_slave").write_text(text)

    def sensor(self, name: str | None = None) -> Driver:
        sensor: Driver = Ds18b20(id=name, root=str(self.root))
        return sensor


@pytest.fixture(name="bus")
def a_bus(tmp_path: Path) -> _Bus:
    return _Bus(tmp_path)


def fault(sensor: Driver) -> str:
    with pytest.raises(DeviceError) as error:
        _ = sensor.value
    return str(error.value)


def test_the_only_sensor_and_one_by_its_name(bus: _Bus) -> None:
    bus.says(ONE, TRUE_23, 23125)
    assert bus.sensor().value == 23.125
    bus.says(OTHER, "5e ff 4b 46 7f ff 02 10 2b", -10125)
    assert (bus.sensor(ONE).value, bus.sensor(OTHER).value) == (23.125, -10.125)
    assert fault(bus.sensor()) == (f"there are several sensors on the 1-Wire bus: name one by id: {OTHER}, {ONE}")


def test_a_kernel_without_the_old_file(bus: _Bus) -> None:
    (bus.root / ONE).mkdir()
    (bus.root / ONE / "temperature").write_text("23125\n")
    assert bus.sensor().value == 23.125
    (bus.root / ONE / "temperature").write_text("\n")
    assert fault(bus.sensor()) == f"1-Wire {ONE} says '\\n', which is no temperature; check its wiring"


def test_a_wrong_checksum(bus: _Bus) -> None:
    bus.says(ONE, "72 01 4b 46 7f ff 0e 10 57", 23125, crc="NO")
    assert fault(bus.sensor()).startswith(f"the checksum of 1-Wire {ONE} is wrong")


def test_85_degrees_after_its_power_came_are_no_reading(bus: _Bus) -> None:
    bus.says(ONE, POWER_ON, 85000)
    sensor = bus.sensor()
    assert fault(sensor) == f"1-Wire {ONE} says 85 degrees, as it does when it has lost its power for a moment"
    bus.says(ONE, TRUE_23, 23125)
    assert sensor.value == 23.125
    bus.says(ONE, POWER_ON, 85000)
    assert "says 85 degrees" in fault(sensor)


def test_85_degrees_that_were_measured(bus: _Bus) -> None:
    bus.says(ONE, TRUE_85, 85000)
    assert bus.sensor().value == 85.0
    sensor = bus.sensor()
    bus.says(ONE, "58 05 4b 46 7f ff 08 10 55", 85500)
    assert sensor.value == 85.5
    bus.says(ONE, POWER_ON, 85000)  # a copy of the chip may leave the mark where it is
    assert sensor.value == 85.0


def test_85_degrees_where_the_memory_cannot_be_seen(bus: _Bus) -> None:
    (bus.root / ONE).mkdir()
    number = bus.root / ONE / "temperature"
    sensor = bus.sensor()
    number.write_text("85000\n")
    assert "says 85 degrees" in fault(sensor)
    number.write_text("84937\n")
    assert sensor.value == 84.937
    number.write_text("85000\n")
    assert sensor.value == 85.0


@pytest.mark.parametrize(
    ("memory", "milli", "words"),
    [
        ("00 00 00 00 00 00 00 00 00", 0, "says nothing but zeros: its data line is at ground"),
        ("ff 07 4b 46 7f ff 0c 10 00", 127937, "says 127.937 degrees, which it cannot measure; check its power"),
        ("10 f8 4b 46 7f ff 0c 10 00", -127000, "says -127 degrees, which it cannot measure"),
    ],
)
def test_what_a_broken_wire_looks_like(bus: _Bus, memory: str, milli: int, words: str) -> None:
    bus.says(ONE, memory, milli)
    assert words in fault(bus.sensor())


def test_zero_degrees_are_a_reading(bus: _Bus) -> None:
    bus.says(ONE, "00 00 4b 46 7f ff 10 10 e2", 0)
    assert bus.sensor().value == 0.0


def test_a_sensor_that_comes_and_goes(bus: _Bus) -> None:
    sensor = bus.sensor(ONE)
    assert fault(sensor) == (
        f"1-Wire {ONE}: no such sensor answers, there is none; check wiring and the resistor of 4.7 k"
    )
    bus.says(OTHER, TRUE_23, 23125)
    assert f"there are {OTHER};" in fault(sensor)
    bus.says(ONE, TRUE_23, 23125)
    assert sensor.value == 23.125
    (bus.root / ONE / "w1_slave").unlink()
    assert fault(sensor) == f"1-Wire {ONE} cannot be read: No such file or directory; check its wiring"
    (bus.root / ONE / "w1_slave").write_text("")
    assert "which is no temperature" in fault(sensor)
    sensor.close()
    sensor.close()


def test_a_bus_that_is_off(tmp_path: Path) -> None:
    sensor = Ds18b20(root=str(tmp_path / "none"))
    assert fault(sensor) == (
        f"{tmp_path}/none is missing: the 1-Wire bus is off; "
        "write dtoverlay=w1-gpio in /boot/firmware/config.txt and restart"
    )


@pytest.mark.parametrize("name", ["", "28", "28-xyz", 280316, "29-0316a2795c9f", "28-0316a2795c9f/../x"])
def test_a_name_that_is_none(name: object) -> None:
    for call in (Ds18b20.wires, Ds18b20.simulated, Ds18b20):
        with pytest.raises(ConfigError, match="is none of a sensor"):
            call(id=name)


def test_what_it_takes_hold_of() -> None:
    assert Ds18b20.wires(id=ONE) == [f"1-Wire {ONE}"]
    assert Ds18b20.wires(id=ONE, pin=17) == ["GPIO17", f"1-Wire {ONE}"]
    assert Ds18b20.wires(pin="BOARD11") == ["BOARD11", "1-Wire"]
    assert Ds18b20.simulated(pin=17).wiring == "1-Wire"


TWO_ON_ANOTHER_PIN = """
thing: station
board: pi-4
devices:
  tank: {driver: ds18b20, id: 28-0316a2795c9f, pin: 17, every: 60s}
  room: {driver: ds18b20, id: 28-00000b1f2a30, pin: 17, every: 60s}
  door: {driver: Button, pin: 4}
"""


def test_sensors_share_the_pin_that_is_said(tmp_path: Path) -> None:
    path = tmp_path / "edge.yaml"
    path.write_text(TWO_ON_ANOTHER_PIN)
    assert len(edge_yaml.load(path).devices) == 3
    path.write_text(TWO_ON_ANOTHER_PIN.replace("pin: 4", "pin: 17"))
    with pytest.raises(ConfigError, match="GPIO17"):
        edge_yaml.load(path)


@given(st.text(alphabet="0123456789abcdef: crc=YESNO\nt-", max_size=80) | st.text(max_size=20))
def test_whatever_the_file_says_it_is_a_temperature_or_a_fault(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        bus = _Bus(Path(folder))
        (bus.root / ONE).mkdir()
        (bus.root / ONE / "w1_slave").write_text(text, encoding="utf-8")
        with contextlib.suppress(DeviceError):
            assert isinstance(bus.sensor().value, float)
