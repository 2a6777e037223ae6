"""Opening and closing declared devices."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import gpiozero
import pytest
from gpiozero.pins.mock import MockFactory

from edge_runtime.app import Device
from edge_runtime.devices import Opener, close, open_devices
from edge_runtime.errors import ConfigError

PI = Path("/proc/device-tree/system/linux,revision").exists()
off_pi = pytest.mark.skipif(PI, reason="this is a Raspberry Pi: its pins can be reached")


@pytest.fixture(autouse=True)
def _no_global_factory(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("GPIOZERO_PIN_FACTORY", raising=False)
    yield
    assert gpiozero.Device.pin_factory is None


EVERYTHING = [
    (Device("door", "Button", {"pin": 17}), "GPIO17", False, True),
    (Device("soil", "MCP3008", {"channel": 3}), "SPI0.0 channel 3", False, False),
    (Device("air", "MCP3201", {"device": 1}), "SPI0.1 channel 0", False, False),
    (Device("lamp", "PWMLED", {"pin": "GPIO18"}), "GPIO18", True, False),
    (Device("rgb", "RGBLED", {"red": 5, "green": 6, "blue": 13}), "GPIO5,GPIO6,GPIO13", True, False),
    (Device("far", "DistanceSensor", {"echo": 23, "trigger": 24}), "GPIO23,GPIO24", False, True),
    (Device("knob", "RotaryEncoder", {"a": 20, "b": 21}), "GPIO20,GPIO21", False, True),
    (Device("motor", "Motor", {"forward": 1, "backward": 2}), "GPIO1,GPIO2", True, False),
    (Device("load", "LoadAverage"), "", False, True),
]


def test_everything_opens_simulated() -> None:
    opened = open_devices([spec for spec, *_ in EVERYTHING], simulate=True)
    try:
        found = [(d.spec, d.pin, d.is_output, d.has_events) for d in opened]
        assert found == EVERYTHING
        assert [d.name for d in opened if not d.simulated] == ["load"]  # it has no pins: this machine's own
        assert gpiozero.Device.pin_factory is None
    finally:
        close(opened)
    assert all(d.device.closed for d in opened)
    close(opened)


def test_the_environment_can_ask_for_simulation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPIOZERO_PIN_FACTORY", "mock")
    (opened,) = open_devices([Device("lamp", "PWMLED", {"pin": 18})])
    assert opened.simulated
    close([opened])


def test_devices_without_pins_are_real_everywhere() -> None:
    opened = open_devices([Device("load", "LoadAverage"), Device("disk", "DiskUsage", {"filesystem": "/"})])
    assert [d.simulated for d in opened] == [False, False]
    assert 0 <= opened[1].device.value <= 1
    close(opened)


@off_pi
def test_pins_off_a_pi_name_the_device_and_the_way_out() -> None:
    with pytest.raises(ConfigError) as error:
        open_devices([Device("load", "LoadAverage"), Device("door", "Button", {"pin": 17})])
    assert str(error.value).startswith("device 'door' (Button): the GPIO pins of this machine cannot be reached")
    assert "edge run --simulate" in error.value.hint


def test_a_missing_sensor_file_names_the_device_and_the_way_out(tmp_path: Path) -> None:
    spec = Device("cpu", "CPUTemperature", {"sensor_file": str(tmp_path / "temp")})
    with pytest.raises(ConfigError) as error:
        open_devices([spec])
    assert str(error.value).startswith("device 'cpu' (CPUTemperature) cannot be opened: [Errno 2] No such file")
    assert "edge run --simulate" in error.value.hint
    (opened,) = open_devices([spec], simulate=True)
    assert opened.device.value == 0
    close([opened])


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        (Device("b", "LED", {"pin": 17}), "device 'b' (LED) cannot be opened: pin GPIO17 is already in use by"),
        (Device("b", "LED", {"pin": 99}), "device 'b' (LED) cannot be opened: 99 is not a valid pin name"),
        (
            Device("b", "MCP3008", {"channel": 8}),
            "device 'b' (MCP3008): channel may not be 8",
        ),
        (Device("b", "LED", {"pni": 17}), "device 'b' (LED) takes no argument 'pni'; did you mean 'pin'?"),
        (
            Device("b", "MCP3008", {"select_pin": 17}),
            "device 'b' (MCP3008) cannot be opened: pin GPIO17 is already in use by",
        ),
    ],
)
def test_one_bad_device_closes_the_others(spec: Device, reason: str) -> None:
    specs = [Device("a", "Button", {"pin": 17}), spec]
    with pytest.raises(ConfigError) as error:
        open_devices(specs, simulate=True)
    assert reason in str(error.value)
    again = open_devices(specs[:1], simulate=True)  # and leaves no pin taken
    close(again)


LEFT = {"driver": "Motor", "forward": 4, "backward": 14}
RIGHT = {"driver": "PhaseEnableMotor", "phase": 5, "enable": 12}


def test_devices_within_a_device() -> None:
    (rover,) = open_devices([Device("rover", "Robot", {"left": LEFT, "right": RIGHT})], simulate=True)
    assert (rover.pin, rover.is_output) == ("GPIO4,GPIO14,GPIO5,GPIO12", True)
    assert type(rover.device.right_motor) is gpiozero.PhaseEnableMotor
    close([rover])
    assert rover.device.closed


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"right": {**RIGHT, "phase": 99}}, ": right (PhaseEnableMotor) cannot be opened: 99 is not a valid pin name"),
        (
            {"right": {**RIGHT, "enable": 4}},
            ": right (PhaseEnableMotor) cannot be opened: pin GPIO4 is already in use by",
        ),
        ({"right": {**RIGHT, "enable": "x"}}, ": right (PhaseEnableMotor): enable may not be 'x'"),
    ],
)
def test_a_faulty_device_within_a_device_is_named_and_leaves_nothing_open(
    options: dict[str, object], reason: str
) -> None:
    opener = Opener(simulate=True)
    with pytest.raises(ConfigError) as error:
        opener.open(Device("rover", "Robot", {"left": LEFT, **options}))
    assert str(error.value).startswith(f"device 'rover' (Robot){reason}")
    rover = opener.open(Device("rover", "Robot", {"left": LEFT, "right": RIGHT}))  # no pin is taken
    close([rover])


def test_a_part_of_a_part_is_named_by_its_path() -> None:
    arms = {"driver": "LEDBoard", "pins": [5, {"driver": "LEDBoard", "top": 99}]}
    with pytest.raises(ConfigError) as error:
        open_devices([Device("tree", "LEDBoard", {"arms": arms})], simulate=True)
    assert str(error.value) == (
        "device 'tree' (LEDBoard): arms (LEDBoard): pins[1] (LEDBoard) cannot be opened: 99 is not a valid pin name"
    )


def test_a_board_that_refuses_its_parts_closes_them() -> None:
    opener = Opener(simulate=True)
    display = {"driver": "LEDCharDisplay", "pins": [5, 6, 13, 19, 26, 16, 20]}
    spec = Device("clock", "LEDMultiCharDisplay", {"char": display, "pins": [2, 3], "initial_value": "123"})
    with pytest.raises(ConfigError, match="length of value must not exceed the number of characters"):
        opener.open(spec)
    led = opener.open(Device("led", "LED", {"pin": 5}))
    close([led])


def test_all_sockets_hang_on_the_same_pins() -> None:
    opened = open_devices(
        [Device(f"s{n}", "Energenie", {"socket": n, "initial_value": None}) for n in (1, 2)], simulate=True
    )
    assert [device.pin for device in opened] == ["GPIO17,GPIO22,GPIO23,GPIO27,GPIO24,GPIO25"] * 2
    close(opened)


def test_channels_of_one_chip_share_its_bus_and_keep_others_off() -> None:
    chip = [Device(f"ch{n}", "MCP3008", {"channel": n}) for n in range(8)]
    close(open_devices(chip, simulate=True))
    with pytest.raises(ConfigError, match="pin GPIO11 is already in use"):
        open_devices([*chip, Device("x", "LED", {"pin": 11})], simulate=True)


def test_active_high() -> None:
    specs = [
        Device("a", "Button", {"pin": 17}),
        Device("b", "Button", {"pin": 18, "pull_up": False}),
        Device("c", "Button", {"pin": 19, "pull_up": None, "active_state": True}),
        Device("d", "Button", {"pin": 20, "pull_up": None, "active_state": False}),
    ]
    opened = open_devices(specs, simulate=True)
    assert [d.active_high for d in opened] == [False, True, True, False]
    close(opened)


def test_what_gpiozero_warns_of_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    opened = open_devices([Device("load", "LoadAverage", {"threshold": 5})])
    close(opened)
    assert caplog.record_tuples == [
        (
            "edge_runtime.devices.opening",
            logging.WARNING,
            "device 'load' (LoadAverage): threshold is outside of the range (min_load_average, max_load_average)",
        )
    ]


OWN = """
import gpiozero

class Relay(gpiozero.DigitalOutputDevice):
    pass
"""
STUBBORN = """
class Stubborn:
    value = 1

    def __init__(self, fail=False):
        if fail:
            raise RuntimeError

    def close(self):
        raise OSError("stuck")
"""


def hardware(tmp_path: Path, name: str, text: str) -> Path:
    """Write a driver file and return the folder to look in."""
    folder = tmp_path / "hardware"
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.py").write_text(text, encoding="utf-8")
    return tmp_path


def test_a_driver_of_ones_own_that_builds_on_gpiozero(tmp_path: Path) -> None:
    (opened,) = open_devices(
        [Device("pump", "relay_x", {"pin": 5})], simulate=True, extra=hardware(tmp_path, "relay_x", OWN)
    )
    assert (opened.pin, opened.is_output, opened.simulated) == ("GPIO5", True, True)
    close([opened])


def test_a_driver_of_ones_own_that_fails(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    extra = hardware(tmp_path, "stubborn_x", STUBBORN)
    (opened,) = open_devices([Device("s", "stubborn_x")], extra=extra)
    assert (opened.device.value, opened.simulated, opened.is_output, opened.has_events) == (1, False, False, False)
    close([opened])
    assert "device 's' could not be closed" in caplog.text
    with pytest.raises(ConfigError, match=r"device 's' \(stubborn_x\) cannot be opened: RuntimeError"):
        open_devices([Device("s", "stubborn_x", {"fail": True})], extra=extra)


TOLD = """
class Told:
    value = 1
    wiring = "I2C1 0x76"

    def __init__(self, lamp=None):
        self.lamp = lamp
"""


def test_a_driver_of_ones_own_tells_its_wiring_and_may_hold_devices(tmp_path: Path) -> None:
    extra = hardware(tmp_path, "told_x", TOLD)
    with_lamp = Device("t", "told_x", {"lamp": {"driver": "LED", "pin": 5}})
    (real,) = open_devices([Device("t", "told_x")], extra=extra)
    assert real.pin == "I2C1 0x76"
    (opened,) = open_devices([with_lamp], simulate=True, extra=extra)
    assert (opened.simulated, opened.device.value) == (True, 0)
    close([opened, real])


FAKE_PINS = """
from gpiozero.pins.mock import MockFactory, MockPWMPin

class Factory(MockFactory):
    def __init__(self):
        super().__init__(pin_class=MockPWMPin)
"""


@pytest.fixture
def _fake_pins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a pin factory as any package would, and ask for it."""
    (tmp_path / "fake_pins.py").write_text(FAKE_PINS, encoding="utf-8")
    about = tmp_path / "fake_pins-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: fake-pins\nVersion: 1.0\n", encoding="utf-8")
    (about / "entry_points.txt").write_text("[gpiozero_pin_factories]\nfake = fake_pins:Factory\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("GPIOZERO_PIN_FACTORY", "fake")


@pytest.mark.usefixtures("_fake_pins")
def test_real_devices_share_one_factory_which_ends_with_them() -> None:
    specs = [
        Device("door", "Button", {"pin": 17}),
        Device("lamp", "PWMLED", {"pin": 18}),
        Device("soil", "MCP3008", {"channel": 1}),  # driven by software, for which gpiozero asks the global factory
    ]
    opened = open_devices(specs)
    try:
        assert [d.simulated for d in opened] == [False, False, False]
        (factory,) = {d.device.pin_factory for d in opened}
        assert type(factory).__name__ == "Factory"
        assert gpiozero.Device.pin_factory is factory
        assert opened[2].device.value == pytest.approx(0, abs=0.001)
    finally:
        close(opened)
    assert gpiozero.Device.pin_factory is None


@pytest.mark.usefixtures("_fake_pins")
def test_devices_within_real_devices_share_the_factory_too() -> None:
    display = {"driver": "LEDCharDisplay", "pins": [5, 6, 13, 19, 26, 16, 20]}
    opened = open_devices(
        [
            Device("rover", "Robot", {"left": LEFT, "right": {**RIGHT, "phase": 7}}),
            Device("clock", "LEDMultiCharDisplay", {"char": display, "pins": [2, 3], "initial_value": "42"}),
        ]
    )
    try:
        rover, clock = (device.device for device in opened)
        parts = [rover, *rover, *rover.left_motor, clock, clock.char, *clock.char, clock.plex, *clock.plex]
        assert {id(part.pin_factory) for part in parts} == {id(gpiozero.Device.pin_factory)}
        assert clock.value == ("4", "2")
    finally:
        close(opened)
    assert gpiozero.Device.pin_factory is None


def test_the_mock_factory_of_real_internal_devices_is_no_global() -> None:
    (opened,) = open_devices([Device("load", "LoadAverage")])
    assert isinstance(opened.device.pin_factory, MockFactory)
    close([opened])
