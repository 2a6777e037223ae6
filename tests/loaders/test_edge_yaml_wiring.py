"""`edge.yaml`: what is said about the wiring. It needs no hardware."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.loaders.appfile import load, wrong

FREE = "free: GPIO5 (pin 29), GPIO6 (pin 31), GPIO12 (pin 32), GPIO13 (pin 33)"


def test_a_board_is_declared(folder: Path) -> None:
    assert load(folder, "thing: a\nboard: pi-5\n").board == "pi-5"
    assert load(folder, "thing: a\n").board == ""


def test_an_unknown_board_gets_the_nearest_name(folder: Path) -> None:
    [problem] = wrong(folder, "thing: a\nboard: pi5\n")
    assert problem == (
        "edge.yaml:2: board: there is no board 'pi5'; did you mean 'pi-5'? known: generic, pi-1-plus, pi-2, pi-3, "
        "pi-4, pi-5, pi-zero, pi-zero-2-w, pi-zero-w"
    )


def test_a_wrong_board_file_of_ones_own(folder: Path) -> None:
    (folder / "hardware/boards").mkdir(parents=True)
    (folder / "hardware/boards/mine.toml").write_text("volt = 5", encoding="utf-8")
    [problem] = wrong(folder, "thing: a\nboard: mine\n")
    assert problem.startswith(f"edge.yaml:2: board: the board file {folder}/hardware/boards/mine.toml: unknown key")


def test_the_line_of_the_pin_is_named(folder: Path) -> None:
    text = """\
thing: a
board: pi-4
devices:
  door: {driver: Button, pin: 17}
  lamp:
    driver: LED
    pin: BOARD11
  bell: {driver: Buzzer, pin: 30}
  relay: {driver: OutputDevice, pin: 27, volts: 5}
"""
    assert wrong(folder, text) == [
        f"edge.yaml:7: devices.lamp.pin: GPIO17 (pin 11) is taken by 'door' (Button) and 'lamp' (LED); {FREE}",
        f"edge.yaml:8: devices.bell.pin: 30 is no pin of Raspberry Pi 4; its pins: GPIO0 to GPIO27; {FREE}",
        (
            "edge.yaml:9: devices.relay.volts: 'relay' (OutputDevice) works with 5 V, and the pins of Raspberry Pi 4 "
            "with 3.3 V; put a voltage divider or a level shifter between them, then write volts: 3.3"
        ),
    ]


def test_the_pins_of_a_device_within_a_device(folder: Path) -> None:
    text = """\
thing: a
devices:
  rover:
    driver: Robot
    left: {driver: Motor, forward: 4, backward: 14}
    right:
      driver: Motor
      forward: 4
      backward: 18
"""
    [problem] = wrong(folder, text)
    assert problem.startswith("edge.yaml:8: devices.rover.right.forward: 'rover' (Robot) takes GPIO4 (pin 7) twice; ")


def test_a_generic_board_takes_any_line(folder: Path) -> None:
    text = "thing: a\nboard: generic\ndevices: {x: {driver: LED, pin: 73}, y: {driver: LED, pin: 74}}\n"
    assert [device.name for device in load(folder, text).devices] == ["x", "y"]
    [problem] = wrong(folder, text.replace("74", "73"))
    assert problem.endswith("the line 73 is taken by 'x' (LED) and 'y' (LED); give each a line of its own")


@pytest.mark.parametrize(("volts", "count"), [("", 1), (", volts: 3.3", 0)])
def test_a_note_of_5_volts(folder: Path, volts: str, count: int) -> None:
    app = load(folder, f"thing: a\ndevices: {{far: {{driver: DistanceSensor, echo: 23, trigger: 24{volts}}}}}\n")
    assert len(app.notes) == count
    assert all("the echo of an HC-SR04 has 5 V" in note for note in app.notes)
