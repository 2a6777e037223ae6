"""What is read from the signature of a constructor."""

from __future__ import annotations

import gpiozero

from edge_runtime.devices.constructors import arguments


def test_arguments_that_are_handed_on_are_found_at_the_base() -> None:
    takes = arguments(gpiozero.MCP3008)
    assert takes.names == (
        "channel", "differential", "max_voltage", "port", "device", "clock_pin", "mosi_pin", "miso_pin", "select_pin",
    )  # fmt: skip
    assert (takes.needed, takes.many, takes.open_ended, takes.takes_factory) == ((), "", False, True)
    assert takes.theirs == set(takes.names)


def test_pins_in_a_list_and_pins_with_names() -> None:
    board, bar, clock = (arguments(c) for c in (gpiozero.LEDBoard, gpiozero.LEDBarGraph, gpiozero.LEDMultiCharDisplay))
    assert (board.many, board.parts_of, board.open_ended, board.first) == ("pins", "LEDBoard", True, ())
    assert (bar.many, bar.parts_of, bar.open_ended) == ("pins", "", False)
    assert (clock.many, clock.first, clock.needed) == ("pins", ("char",), ("char",))
    assert arguments(gpiozero.CompositeOutputDevice).parts_of == "CompositeDevice"
    assert arguments(gpiozero.Robot).open_ended is False


def test_what_gpiozero_gives_a_default_and_then_refuses_is_needed() -> None:
    assert arguments(gpiozero.RGBLED).needed == ("red", "green", "blue")
    assert arguments(gpiozero.TrafficLights).needed == ("red", "green")
    assert arguments(gpiozero.Button).allowed == ["pin", "pull_up", "active_state", "hold_time", "hold_repeat"]


def test_a_class_of_ones_own() -> None:
    class Bare:
        value = 1

    class Gauge:
        def __init__(self, pin: int | None = None, *extra: int, _hidden: int = 1, red: str = "x") -> None:
            pass

    class Relay(gpiozero.LED):  # type: ignore[misc]  # gpiozero ships no types
        def __init__(self, name: str, **rest: object) -> None:
            self.name = name
            super().__init__(**rest)

    assert arguments(Bare).allowed == []
    takes = arguments(Gauge)
    assert (takes.names, takes.needed, takes.many, takes.first) == (("pin", "red"), (), "extra", ("pin",))
    assert (takes.hints["red"], takes.defaults["red"], takes.takes_factory) == (str, "x", False)
    assert not takes.theirs
    takes = arguments(Relay)
    assert (takes.names, takes.needed) == (("name", "pin", "active_high", "initial_value"), ("name", "pin"))
    assert takes.takes_factory
    assert takes.theirs == {"pin", "active_high", "initial_value", "pin_factory"}
