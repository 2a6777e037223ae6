"""Commands to output devices."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from edge_runtime.app import Device
from edge_runtime.devices import OpenDevice, apply, close, open_devices
from edge_runtime.errors import ConfigError, EdgeError

SPECS = [
    Device("led", "LED", {"pin": 5}),
    Device("lamp", "PWMLED", {"pin": 6}),
    Device("rgb", "RGBLED", {"red": 13, "green": 19, "blue": 26}),
    Device("arm", "Servo", {"pin": 12}),
    Device("tone", "TonalBuzzer", {"pin": 16}),
    Device("wheel", "Motor", {"forward": 20, "backward": 21}),
    Device("board", "LEDBoard", {"pins": [22, 23]}),
    Device("digit", "LEDCharDisplay", {"pins": [1, 2, 3, 4, 7, 8, 9]}),
    Device("door", "Button", {"pin": 17}),
]


@pytest.fixture
def devices() -> Iterator[dict[str, OpenDevice]]:
    opened = open_devices(SPECS, simulate=True)
    yield {device.name: device for device in opened}
    close(opened)


@pytest.mark.parametrize(
    ("name", "payload", "expected"),
    [
        ("led", b"on", 1),
        ("led", b" off\n", 0),
        ("led", b"toggle", 1),
        ("led", b'"on"', 1),
        ("led", b"true", 1),
        ("led", b"false", 0),
        ("led", b"1", 1),
        ("led", b'{"value": true}', 1),
        ("led", b'{"value": "on"}', 1),
        ("lamp", b"0.25", 0.25),
        ("lamp", b'{"value": 0.75}', 0.75),
        ("rgb", b"[1, 0, 0.5]", (1, 0, 0.5)),
        ("rgb", b'{"value": [0, 1, 0]}', (0, 1, 0)),
        ("rgb", b"on", (1, 1, 1)),
        ("arm", b"-1", -1),
        ("arm", b"null", None),
        ("tone", b'{"value": null}', None),
        ("wheel", b"-0.5", -0.5),
        ("board", b"[1, 0]", (1, 0)),
        ("digit", b'"7"', "7"),
    ],
)
def test_commands(devices: dict[str, OpenDevice], name: str, payload: bytes, expected: object) -> None:
    assert apply(devices[name], payload) == expected
    assert devices[name].device.value == expected


@pytest.mark.parametrize(
    ("name", "payload", "message"),
    [
        ("lamp", b"2", "device 'lamp' (PWMLED) does not take 2: PWM value must be between 0 and 1"),
        ("lamp", b"NaN", "device 'lamp' (PWMLED) does not take nan"),
        ("lamp", b"bright", "device 'lamp' (PWMLED) cannot read the command 'bright'"),
        ("lamp", b"", "device 'lamp' (PWMLED) cannot read the command ''"),
        ("lamp", b"\xff\xfe", "device 'lamp' (PWMLED) cannot read the command '��'"),
        ("lamp", b'{"level": 1}', "device 'lamp' (PWMLED) cannot read the command '{\"level\": 1}'"),
        ("lamp", b"[" * 100_000, f"device 'lamp' (PWMLED) cannot read the command '{'[' * 80}'"),
        ("lamp", b"null", "device 'lamp' (PWMLED) does not take null"),
        ("lamp", b"[1]", "device 'lamp' (PWMLED) does not take [1]"),
        ("led", b'"x"', "device 'led' (LED) does not take 'x'"),
        ("wheel", b"null", "device 'wheel' (Motor) does not take null"),
        ("arm", b"on", "device 'arm' (Servo) knows no 'on'"),
        ("rgb", b"1", "device 'rgb' (RGBLED) has 3 parts and does not take 1"),
        ("rgb", b"[1, 1]", "device 'rgb' (RGBLED) has 3 parts and does not take [1, 1]"),
        ("rgb", b'[1, 1, "x"]', "device 'rgb' (RGBLED) does not take 'x'"),
        ("board", b"[1, 0, 1]", "device 'board' (LEDBoard) has 2 parts and does not take [1, 0, 1]"),
        ("digit", b'"77"', "device 'digit' (LEDCharDisplay) does not take '77'"),
        ("door", b"on", "device 'door' (Button) is an input and takes no commands"),
    ],
)
def test_what_a_device_does_not_take(devices: dict[str, OpenDevice], name: str, payload: bytes, message: str) -> None:
    before = devices[name].device.value
    with pytest.raises(ConfigError) as error:
        apply(devices[name], payload)
    assert str(error.value).startswith(message)
    assert devices[name].device.value == before


def test_a_device_that_fails_is_no_mistake_of_the_sender(devices: dict[str, OpenDevice]) -> None:
    close([devices["led"]])
    with pytest.raises(EdgeError) as error:
        apply(devices["led"], b"on")
    assert not isinstance(error.value, ConfigError)
    assert str(error.value).startswith("device 'led' (LED) failed at the command 'on'")
