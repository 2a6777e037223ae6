"""What drivers are made of."""

from __future__ import annotations

import pytest

from edge_runtime.devices.driver import Driver, SimulatedDevice, SimulatedSource, Source, need
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


class Postbox(Source):
    """A source whose readings the test makes. `changes` is what it was told of who takes them."""

    def __init__(self) -> None:
        super().__init__("/srv/postbox", "no letter has come yet")
        self.changes: list[bool] = []

    def taken(self) -> None:
        """Note it."""
        self.changes.append(self.when_read is not None)

    def close(self) -> None:
        """Hold nothing."""


def test_a_source_has_the_value_that_it_handed_over_last() -> None:
    box, took = Postbox(), list[object]()
    driver: Driver = box
    with pytest.raises(DeviceError, match="/srv/postbox: no letter has come yet"):
        _ = driver.value
    assert not box.hand_over("nobody takes it")
    with pytest.raises(DeviceError, match="no letter has come yet"):
        _ = driver.value
    box.when_read = took.append
    assert box.hand_over("first")
    assert box.hand_over("second")
    box.when_read = None
    assert not box.hand_over("third")
    assert (took, driver.value, box.changes) == (["first", "second"], "second", [True, False])


def test_a_source_tells_once_why_it_has_no_value_and_whoever_comes_later_too() -> None:
    box, took, later = Postbox(), list[object](), list[object]()
    box.when_read = took.append
    box.hand_over("first")
    for reason in ("gone", "gone", "locked"):
        box.lost(reason)
    with pytest.raises(DeviceError, match="locked"):
        _ = box.value
    box.when_read = later.append
    assert [str(one) for one in took] == ["first", "gone", "locked"]
    assert [str(one) for one in later] == ["locked"]
    box.well()
    assert box.value == "first"
    box.lost("gone")
    box.hand_over("second")
    assert (box.value, [str(one) for one in later]) == ("second", ["locked", "gone", "second"])


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
