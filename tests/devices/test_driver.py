"""What drivers are made of."""

from __future__ import annotations

import pytest

from edge_runtime.devices.driver import Driver, SimulatedDevice, SimulatedSource, need
from edge_runtime.errors import ConfigError, DeviceError


def test_a_simulated_device_measures_what_it_is_told() -> None:
    device = SimulatedDevice({"humidity": 51.0}, wiring="I2C1 0x76")
    driver: Driver = device
    assert (driver.value, device.wiring) == ({"humidity": 51.0}, "I2C1 0x76")
    device.simulate(7)
    assert (driver.value, device.wiring) == (7, "I2C1 0x76")
    device.close()
    device.close()


def test_a_simulated_device_fails_as_it_is_told_and_works_again() -> None:
    device = SimulatedDevice(1)
    device.simulate(DeviceError("no answer"))
    for _ in range(2):
        with pytest.raises(DeviceError, match="no answer"):
            _ = device.value
    device.simulate(2)
    assert device.value == 2


def test_a_simulated_source_hands_over_what_it_is_told() -> None:
    source = SimulatedSource("")
    source.simulate("before anybody listens")
    took: list[object] = []
    source.when_read = took.append
    why = DeviceError("unplugged")
    source.simulate("line")
    source.simulate(why)
    source.when_read = None
    source.simulate("after")
    assert took == ["line", why]
    assert source.value == "after"


def test_a_library_that_is_there() -> None:
    assert need("json", "i2c").loads("1") == 1


@pytest.mark.parametrize(
    ("extra", "hint"),
    [
        ("i2c", "pip install 'edge-runtime[i2c]'"),
        ("apt:sense-hat", "apt install sense-hat, in a venv made with --system-site-packages"),
    ],
)
def test_a_library_that_is_missing(extra: str, hint: str) -> None:
    with pytest.raises(ConfigError) as error:
        need("no_such_library", extra)
    assert str(error.value) == "the library no_such_library is missing (No module named 'no_such_library')"
    assert error.value.hint == hint
