"""Commands to output devices."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_runtime.app import Device
from edge_runtime.devices import OpenDevice, apply, close, open_devices
from edge_runtime.devices.commands import describe, is_active, put_safe, turns_on
from edge_runtime.devices.parts import off_of
from edge_runtime.errors import ConfigError, EdgeError

SPECS = [
    Device("led", "LED", {"pin": 5}),
    Device("lamp", "PWMLED", {"pin": 6}),
    Device("rgb", "RGBLED", {"red": 13, "green": 19, "blue": 26}),
    Device("arm", "AngularServo", {"pin": 12}),
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
        ("digit", b"7", "7"),
        ("rgb", b'{"value": {"green": 0.5}}', (0, 0.5, 0)),
        ("rgb", b'{"value": 1, "part": "blue"}', (0, 0, 1)),
        ("arm", b"max", 1),
        ("arm", b'{"do": "detach"}', None),
        ("arm", b'{"angle": -45}', -0.5),
        ("arm", b'{"angle": null}', None),
        ("tone", b'{"do": "play", "tone": "A4"}', 0),
        ("tone", b'{"do": "play", "tone": 220}', -1),
        ("tone", b'{"do": "stop"}', None),
        ("wheel", b"backward", -1),
        ("wheel", b'{"do": "forward", "speed": 0.25}', 0.25),
        ("wheel", b"stop", 0),
        ("board", b'{"do": "on", "part": 1}', (0, 1)),
        ("board", b'{"do": "toggle", "part": "0"}', (1, 0)),
        ("board", b'{"value": {"1": true}}', (0, 1)),
    ],
)
def test_commands(devices: dict[str, OpenDevice], name: str, payload: bytes, expected: object) -> None:
    assert apply(devices[name], payload) == expected
    assert devices[name].device.value == expected


@pytest.mark.parametrize(
    ("name", "payload", "message"),
    [
        ("lamp", b"2", "device 'lamp' (PWMLED) does not take 2"),
        ("lamp", b"NaN", "device 'lamp' (PWMLED) does not take nan"),
        ("lamp", b"bright", "device 'lamp' (PWMLED) knows no 'bright'"),
        ("lamp", b"1e999", "device 'lamp' (PWMLED) does not take inf"),
        ("lamp", b"1" + b"0" * 400, "device 'lamp' (PWMLED) does not take 1000000000"),
        ("lamp", b'{"value": 1, "do": "on"}', "device 'lamp' (PWMLED): 'on' takes no 'value'"),
        ("lamp", b'{"value": 1, "part": "red"}', "device 'lamp' (PWMLED) has no part 'red'"),
        ("lamp", b'{"do": ["on"]}', "device 'lamp' (PWMLED) knows no ['on']"),
        ("lamp", b'{"do": "close"}', "device 'lamp' (PWMLED) knows no 'close'"),
        ("lamp", b'{"do": "blnk"}', "device 'lamp' (PWMLED) knows no 'blnk'; did you mean 'blink'?"),
        (
            "lamp",
            b'{"do": "blink", "ontime": 1}',
            "device 'lamp' (PWMLED): 'blink' takes no 'ontime'; did you mean 'on_t",
        ),
        ("lamp", b'{"do": "blink", "background": false}', "device 'lamp' (PWMLED): 'blink' takes no 'background'"),
        ("lamp", b'{"do": "blink", "on_time": -1}', "device 'lamp' (PWMLED): 'blink' does not take on_time -1"),
        ("lamp", b'{"do": "blink", "on_time": 1e300}', "device 'lamp' (PWMLED): 'blink' does not take on_time 1e+300"),
        ("lamp", b'{"do": "blink", "n": 0}', "device 'lamp' (PWMLED): 'blink' does not take n 0"),
        (
            "lamp",
            b'{"do": "blink", "on_time": 0, "off_time": 0}',
            "device 'lamp' (PWMLED): 'blink' takes no time at all",
        ),
        ("led", b"pulse", "device 'led' (LED) knows no 'pulse'"),
        ("led", b"0.5", "device 'led' (LED) does not take 0.5"),
        ("led", b'{"source": 1}', "device 'led' (LED) cannot read the command '{\"source\": 1}'"),
        ("board", b'{"do": "on", "part": 2}', "device 'board' (LEDBoard) has no part 2"),
        ("board", b'{"do": "on", "part": {"a": 1}}', "device 'board' (LEDBoard) has no part {'a': 1}"),
        ("board", b'{"value": {"2": 1}}', "device 'board' (LEDBoard) has no part '2'"),
        ("board", b"pulse", "device 'board' (LEDBoard) knows no 'pulse'"),
        ("arm", b'{"angle": 91}', "device 'arm' (AngularServo) does not take the angle 91"),
        ("tone", b'{"do": "play"}', "device 'tone' (TonalBuzzer): 'play' needs 'tone'"),
        ("tone", b'{"do": "play", "tone": "H4"}', "device 'tone' (TonalBuzzer): 'play' does not take tone 'H4'"),
        (
            "tone",
            b'{"do": "play", "tone": "A9"}',
            "device 'tone' (TonalBuzzer) does not take {'do': 'play', 'tone': 'A9'}",
        ),
        ("wheel", b'{"do": "forward", "speed": 2}', "device 'wheel' (Motor): 'forward' does not take speed 2"),
        ("wheel", b'{"do": "on", "part": "forward_device"}', "device 'wheel' (Motor) has no part 'forward_device'"),
        ("lamp", b"[[" * 12 + b"]]" * 12, "device 'lamp' (PWMLED) cannot read the command '[["),
        ("lamp", b"", "device 'lamp' (PWMLED) cannot read the command ''"),
        ("lamp", b"\xff\xfe", "device 'lamp' (PWMLED) cannot read the command '��'"),
        ("lamp", b'{"level": 1}', "device 'lamp' (PWMLED) cannot read the command '{\"level\": 1}'"),
        ("lamp", b"[" * 100_000, f"device 'lamp' (PWMLED) cannot read the command '{'[' * 80}'"),
        ("lamp", b"null", "device 'lamp' (PWMLED) does not take null"),
        ("lamp", b"[1]", "device 'lamp' (PWMLED) does not take [1]"),
        ("led", b'"x"', "device 'led' (LED) knows no 'x'"),
        ("wheel", b"null", "device 'wheel' (Motor) does not take null"),
        ("arm", b"on", "device 'arm' (AngularServo) knows no 'on'"),
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


def test_a_hint_lists_what_a_verb_takes(devices: dict[str, OpenDevice]) -> None:
    for payload, hint in (
        (b'{"do": "blink", "x": 1}', "it takes: blink(on_time=1, off_time=1, fade_in_time=0, fade_out_time=0, n)"),
        (b'{"do": "blink", "n": 0}', "it must be a whole number from 1 to 1e+09, or null"),
        (b'{"do": "fly"}', 'send blink, off, on, pulse, toggle, a value, {"value": ...} or {"do": ...}'),
        (b"2", "send a number from 0 to 1"),
        (b'{"part": "red", "value": 1}', "it has none"),
    ):
        with pytest.raises(ConfigError) as error:
            apply(devices["lamp"], payload)
        assert error.value.hint == hint


def test_what_a_device_can_be_told(devices: dict[str, OpenDevice]) -> None:
    assert describe(devices["led"]) == [
        "blink(on_time=1, off_time=1, n)",
        "off",
        "on",
        "toggle",
        "value: true or false",
    ]
    assert describe(devices["board"])[-2:] == ["value: a list of 2, for 0, 1", "part: 0, 1"]
    assert describe(devices["arm"]) == [
        "detach",
        "max",
        "mid",
        "min",
        "angle: a number from -90 to 90, or null",
        "value: a number from -1 to 1, or null",
    ]
    assert describe(devices["door"]) == []


def test_a_blink_goes_on_until_the_next_command(devices: dict[str, OpenDevice]) -> None:
    for name in ("led", "lamp", "rgb", "board"):
        opened = devices[name]
        assert turns_on(opened, b"blink")
        apply(opened, b'{"do": "blink", "on_time": 3600, "off_time": 3600}')
        assert is_active(opened)
        assert apply(opened, b"off") == off_of(opened.device)
        assert not is_active(opened)


def test_one_part_leaves_the_blinking_of_its_board_and_the_last_one_ends_it(devices: dict[str, OpenDevice]) -> None:
    board, written = devices["board"], threading.Event()
    last = board.device[-1]
    write = last._write

    def written_last(value: float) -> None:
        write(value)
        written.set()

    last._write = written_last
    apply(board, b'{"do": "blink", "on_time": 0.01, "off_time": 3600}')
    thread = board.device._blink_thread
    assert written.wait(10)
    apply(board, b'{"do": "off", "part": 0}')
    assert thread.is_alive()
    assert is_active(board)
    apply(board, b'{"do": "off", "part": 1}')
    assert not thread.is_alive()
    assert not is_active(board)


@pytest.mark.parametrize(
    ("name", "payload", "before", "expected"),
    [
        ("led", b"on", b"off", True),
        ("led", b"0", b"on", False),
        ("led", b"toggle", b"on", False),
        ("led", b"toggle", b"off", True),
        ("lamp", b"toggle", b"0.5", True),
        ("arm", b"0", b"null", True),
        ("arm", b"null", b"0", False),
        ("arm", b"detach", b"0", False),
        ("wheel", b"stop", b"1", False),
        ("wheel", b"reverse", b"1", True),
        ("wheel", b"reverse", b"0", False),
        ("wheel", b'{"do": "forward", "speed": 0}', b"1", False),
        ("board", b"[0, 0]", b"on", False),
        ("board", b'{"do": "off", "part": 0}', b"[1, 0]", False),
        ("board", b'{"do": "off", "part": 0}', b"[1, 1]", True),
        ("board", b'{"value": {"0": 0}}', b"[0, 1]", True),
        ("digit", b'" "', b'"7"', False),
        ("tone", b'{"do": "play", "tone": "A4"}', b"null", True),
    ],
)
def test_what_a_command_will_do_is_known_before(
    devices: dict[str, OpenDevice], name: str, payload: bytes, before: bytes, expected: object
) -> None:
    value = apply(devices[name], before)
    assert turns_on(devices[name], payload) is expected
    assert devices[name].device.value == value  # nothing has moved
    apply(devices[name], payload)
    assert is_active(devices[name]) is expected


def test_the_safe_value(devices: dict[str, OpenDevice]) -> None:
    on = {"led": b"on", "lamp": b"pulse", "rgb": b"blink", "arm": b"1", "tone": b"0", "wheel": b"-1", "board": b"on"}
    for name, payload in {**on, "digit": b"8"}.items():
        apply(devices[name], payload)
        for off in (None, False, "off"):
            assert put_safe(devices[name], off) == off_of(devices[name].device)
        assert not is_active(devices[name])
    assert put_safe(devices["lamp"], 0.25) == 0.25
    assert put_safe(devices["board"], [1, 0]) == (1, 0)
    assert put_safe(devices["arm"], "mid") == 0
    assert put_safe(devices["led"], {"do": "on"}) == 1
    assert put_safe(devices["door"]) == 0  # an input is left as it is
    for bad in (2, "up", object()):
        with pytest.raises(ConfigError, match=r"device 'lamp' \(PWMLED\)"):
            put_safe(devices["lamp"], bad)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["on", "blink", "A4"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
COMMANDS = st.fixed_dictionaries(
    {},
    optional={
        "do": st.sampled_from(["on", "off", "toggle", "play", "forward", "reverse", "max", "nothing"]) | JSON,
        "part": st.sampled_from([0, 1, "0", "red", "a.b"]) | JSON,
        **dict.fromkeys(("value", "speed", "tone", "angle", "n"), JSON),
    },
)


@given(name=st.sampled_from([spec.name for spec in SPECS]), command=JSON | COMMANDS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_no_json_is_too_odd(devices: dict[str, OpenDevice], name: str, command: object) -> None:
    payload = json.dumps(command).encode()
    for act in (turns_on, apply):
        with contextlib.suppress(ConfigError):  # an EdgeError would be a device that fails: none does here
            act(devices[name], payload)


@given(name=st.sampled_from([spec.name for spec in SPECS]), payload=st.binary(max_size=20))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_no_payload_is_too_odd(devices: dict[str, OpenDevice], name: str, payload: bytes) -> None:
    with contextlib.suppress(ConfigError):
        apply(devices[name], payload)


VALVE = """
class Valve:
    value = property(lambda self: self._value, lambda self, value: setattr(self, "_value", value))
    example = 0

    def __init__(self):
        self._value = 0

    def on(self):
        self._value = 1

    def turn(self, degrees: float, *, slowly: bool = False):
        self._value = degrees if degrees < 360 else 1 / 0

    async def later(self):
        pass

    def off(self):
        raise OSError("it is stuck")

    def close(self):
        pass
"""


def test_the_verbs_of_a_driver_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "hardware").mkdir()
    (tmp_path / "hardware" / "valve_c.py").write_text(VALVE, encoding="utf-8")
    (valve,) = open_devices([Device("v", "valve_c")], extra=tmp_path)
    assert describe(valve) == ["off", "on", "turn(degrees, slowly=False)", "value: a value of its driver's"]
    assert apply(valve, b'{"do": "turn", "degrees": 90, "slowly": true}') == 90
    for payload in (b'{"do": "turn", "degrees": "90"}', b'{"do": "turn"}', b'"wide"', b"later", b"close", b"[1]"):
        with pytest.raises(ConfigError, match=r"device 'v' \(valve_c\)"):
            apply(valve, payload)
    acts: tuple[Callable[[], object], ...] = (
        lambda: apply(valve, b'{"do": "turn", "degrees": 400}'),
        lambda: put_safe(valve),
    )
    for act in acts:
        with pytest.raises(EdgeError, match=r"'v' \(valve_c\) failed at the command .*(division|stuck)") as error:
            act()
        assert not isinstance(error.value, ConfigError)
    (stand_in,) = open_devices([Device("v", "valve_c")], simulate=True, extra=tmp_path)
    assert describe(stand_in) == ["off", "on", "value: a value of its driver's"]  # what a stand-in can do of them
    assert (apply(stand_in, b"on"), apply(stand_in, b"0.5"), put_safe(stand_in)) == (1, 0.5, 0)
    close([stand_in])


TOLD = """
class Line:
    value = property(lambda self: {"weight": 72.5}, lambda self, value: self.send(value))

    def __init__(self):
        self.said = []

    def send(self, value):
        self.said.append(value)
"""


def test_a_device_that_is_told_things_has_no_off(tmp_path: Path) -> None:
    (tmp_path / "hardware").mkdir()
    (tmp_path / "hardware" / "line_c.py").write_text(TOLD, encoding="utf-8")
    (line,) = open_devices([Device("scale", "line_c")], extra=tmp_path)
    assert describe(line) == ["value: whatever is to be said"]
    assert [apply(line, payload) for payload in (b"on", b'{"value": "TARE"}', b'{"led": 1}')] == [
        "on",
        "TARE",
        {"led": 1},
    ]
    assert put_safe(line) is None
    assert put_safe(line, "STOP") == "STOP"
    assert line.device.said == ["on", "TARE", {"led": 1}, "STOP"]


def test_a_device_that_fails_is_no_mistake_of_the_sender(devices: dict[str, OpenDevice]) -> None:
    close([devices["led"]])
    with pytest.raises(EdgeError) as error:
        apply(devices["led"], b"on")
    assert not isinstance(error.value, ConfigError)
    assert str(error.value).startswith("device 'led' (LED) failed at the command 'on'")
