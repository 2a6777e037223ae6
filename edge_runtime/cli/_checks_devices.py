"""The wires: device files and the groups that may open them, and what drives the pins."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from edge_runtime.app import App
from edge_runtime.cli._accounts import READ_WRITE, Account, group_of, is_entered
from edge_runtime.cli._finding import Finding
from edge_runtime.devices import drivers, factories
from edge_runtime.errors import EdgeError

_BUSES = {
    "gpio": ("gpiochip*", "gpiomem*"),
    "i2c": ("i2c-*",),
    "spi": ("spidev*",),
    "dialout": ("ttyAMA*", "ttyUSB*", "ttyACM*", "serial[0-9]"),
    "video": ("video[0-9]*",),
}
"""The group that owns the device files in /dev, and their names (udev rules of Raspberry Pi OS)."""
_SHOWN = 4


def buses(dev: Path, service: Account | None = None) -> Iterator[Finding]:
    """Check that this user may use the devices in `dev`, and so may the one as whom the host runs."""
    for what, patterns in _BUSES.items():
        files = sorted(file for pattern in patterns for file in dev.glob(pattern))
        if not files:
            continue
        closed = [file for file in files if not os.access(file, os.R_OK | os.W_OK)]
        shut = [file for file in files if service is not None and not service.may(file, READ_WRITE)]
        if closed:
            yield _closed(what, closed[0])
        if shut and service is not None:
            text = f"{shut[0]} cannot be opened by {service.name}, as whom the host runs"
            again = f"sudo systemctl restart {service.unit}" if service.unit else "start the host again"
            fix = f"sudo usermod -aG {_group(what, shut[0])} {service.name}, then {again}"
            yield Finding(what, "warn", text, fix)
        if not closed and not shut:
            more = f" and {len(files) - _SHOWN} more" if len(files) > _SHOWN else ""
            yield Finding(what, "ok", ", ".join(str(file) for file in files[:_SHOWN]) + more)


def _closed(what: str, file: Path) -> Finding:
    group = _group(what, file)
    text = f"{file} cannot be opened by this user"
    if is_entered(group):
        return Finding(what, "warn", f"{text} yet, who has joined the group {group}", "log out and in again")
    return Finding(what, "warn", text, f"sudo usermod -aG {group} $USER, then log in again")


def _group(what: str, file: Path) -> str:
    """Return the group to join: the file's own, but never that of root."""
    found = group_of(file)
    return what if found in ("root", "0") else found


def pins(app: App, machine: factories.Machine | None = None) -> Iterator[Finding]:
    """Check that the pins can be driven, when the app has devices with pins."""
    if not app.devices:
        return
    import gpiozero  # noqa: PLC0415 - only where there are devices

    wired = [d.name for d in app.devices if _needs_pins(drivers.find(d, app.base), gpiozero.InternalDevice)]
    if not wired:
        return
    if factories.wants_mock():
        yield Finding("pins", "warn", "GPIOZERO_PIN_FACTORY=mock: every pin is simulated", "unset GPIOZERO_PIN_FACTORY")
        return
    who, told = ", ".join(wired), ""
    try:
        chosen = factories.choose(app.board, app.base, machine)
        told = (
            "" if chosen.name else f"the GPIO pins of this machine cannot be reached ({factories.told(chosen.refused)})"
        )
        factories.make(chosen, machine).close()
    except EdgeError as error:
        yield Finding("pins", "fail", f"{who}: {told or error}", error.hint)
        return
    title = chosen.board.title if chosen.board is not None else "this machine"
    text = f"{title}: driven by {factories.described(chosen)}"
    if chosen.refused or chosen.doubt:
        why = "; ".join(filter(None, (factories.told(chosen.refused), chosen.doubt)))
        fix = "apt install python3-lgpio, which also a Pi 5 can do with" if "lgpio" in chosen.refused else ""
        yield Finding("pins", "warn" if _matters(chosen) else "ok", f"{text} ({why})", fix if _matters(chosen) else "")
        return
    yield Finding("pins", "ok", text)


def _needs_pins(cls: type, internal: type) -> bool:
    """Tell whether a driver is of those that take a pin factory; buses and serial lines need none."""
    return drivers.arguments(cls).takes_factory and not issubclass(cls, internal)


def _matters(chosen: factories.Choice) -> bool:
    """Tell whether something better was refused, or another board is declared."""
    best = chosen.board.factories[0] if chosen.board is not None and chosen.board.factories else chosen.name
    return bool(chosen.doubt) or best in chosen.refused
