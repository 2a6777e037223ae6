"""`edge.yaml`: outputs with a guard."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_runtime.app import Guard, Interlock
from edge_runtime.loaders import from_json, to_json
from tests.loaders.appfile import load, wrong

APP = """\
thing: a
devices:
  heater: {{driver: LED, pin: 4}}
  tank: {{driver: Button, pin: 5}}
  pump: {{driver: OutputDevice, pin: 27, guard: {guard}}}
"""


@pytest.mark.parametrize(
    ("written", "guard"),
    [
        ("{}", Guard()),
        ("{lease: 30s}", Guard(lease_s=30)),
        (
            "{safe: 1, lease: 30s, max_on: 10m, min_on: 5s, min_off: 10s, max_per_minute: 6}",
            Guard(1, 30, 600, 5, 10, 6),
        ),
        (
            "{interlock: [heater, {device: tank, is: active}]}",
            Guard(interlocks=(Interlock("heater"), Interlock("tank", active=True))),
        ),
        ("{safe: [0, 1]}", Guard(safe=[0, 1])),
    ],
)
def test_a_guard_is_read_and_can_be_kept(folder: Path, written: str, guard: Guard) -> None:
    app = load(folder, APP.format(guard=written))
    assert app.devices[2].guard == guard
    assert from_json(to_json(app)) == app


def test_a_text_and_a_switch_are_both_off(folder: Path) -> None:
    for written in ("off", '"off"', "false"):
        guard = load(folder, APP.format(guard=f"{{safe: {written}}}")).devices[2].guard
        assert guard is not None
        assert guard.safe in (False, "off")


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("{interlock: [heatr]}", "interlock[0]: there is no device 'heatr'; did you mean 'heater'?"),
        ("{interlock: [pump]}", "interlock[0]: an output cannot be interlocked with itself"),
        ("{interlock: [{device: tank, is: full}]}", "interlock[0].is: "),
        ("{lease: 30s, max_on: 10s}", "lease: a lease that is longer than max_on never ends anything"),
        ("{lease: 5s, min_on: 10s}", "min_on: is longer than lease, which ends it all the same"),
        ("{max_on: 5s, min_on: 10s}", "min_on: is longer than max_on, which ends it all the same"),
        ("{lease: 0}", "lease: "),
        ("{max_per_minute: 0}", "max_per_minute: "),
        ("{leese: 3s}", "leese: unknown key; did you mean 'lease'?"),
        ("30s", " "),
    ],
)
def test_mistakes_in_a_guard(folder: Path, written: str, problem: str) -> None:
    [said] = wrong(folder, APP.format(guard=written))
    assert said.startswith(f"edge.yaml:5: devices.pump.guard{'.' if problem != ' ' else ':'}{problem}")


@pytest.mark.parametrize("name", ["guard", "devices"])
def test_an_interlock_with_a_device_that_is_called_like_a_key(folder: Path, name: str) -> None:
    app = load(folder, APP.format(guard=f"{{interlock: [{name}]}}").replace("heater", name))
    assert app.devices[2].guard == Guard(interlocks=(Interlock(name),))


def test_an_input_has_no_guard(folder: Path) -> None:
    [said] = wrong(folder, "thing: a\ndevices:\n  tank: {driver: Button, pin: 5, guard: {lease: 3s}}\n")
    assert said == "edge.yaml:3: devices.tank.guard: is for outputs, and a Button takes no commands"
