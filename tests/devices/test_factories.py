"""The choice of the pin factory. No test here may depend on the machine being a Raspberry Pi."""

from __future__ import annotations

from pathlib import Path

import gpiozero
import pytest
from gpiozero.pins.mock import MockFactory

from edge_runtime.devices.factories import real_factory, wants_mock
from edge_runtime.errors import ConfigError

PI = Path("/proc/device-tree/system/linux,revision").exists()
off_pi = pytest.mark.skipif(PI, reason="this is a Raspberry Pi: its pins can be reached")


@off_pi
def test_off_a_pi_the_reason_and_the_way_out_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GPIOZERO_PIN_FACTORY", raising=False)
    with pytest.raises(ConfigError) as error:
        real_factory()
    assert str(error.value) == (
        "the GPIO pins of this machine cannot be reached "
        "(lgpio: unable to locate Pi revision in /proc/device-tree or /proc/cpuinfo)"
    )
    assert "edge run --simulate" in error.value.hint


@off_pi
def test_only_the_factory_that_the_environment_names_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPIOZERO_PIN_FACTORY", "Native")
    with pytest.raises(ConfigError, match="native: unable to locate Pi revision"):
        real_factory()


def test_a_factory_that_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPIOZERO_PIN_FACTORY", "lgpoi")
    with pytest.raises(ConfigError) as error:
        real_factory()
    assert str(error.value) == "GPIOZERO_PIN_FACTORY names 'lgpoi', which is no pin factory"
    assert error.value.hint == "known: lgpio, mock, native, pigpio, rpigpio"


def test_mock_is_simulation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPIOZERO_PIN_FACTORY", "mock")
    assert wants_mock()
    assert isinstance(real_factory(), MockFactory)
    monkeypatch.delenv("GPIOZERO_PIN_FACTORY")
    assert not wants_mock()
    assert gpiozero.Device.pin_factory is None
