"""Which pins, buses and addresses devices take hold of, and what does not fit together. Nothing is opened.

A pin has one user. The lines of a bus are shared by those who use that bus, a chip select by those who use that chip;
an address on a bus has one user. What a device takes hold of is known from the arguments of gpiozero's classes, and
from the `wires` of a driver of one's own (see `devices.driver`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edge_runtime.app import Device
from edge_runtime.devices import boards
from edge_runtime.devices._claims import Claims, Problem, Use
from edge_runtime.devices.boards import Board

__all__ = ["Problem", "Use", "Wiring", "board_for", "check", "rows"]

_LEAST, _MOST = 0.85, 1.1
"""Of the board's volts: what its pins take for a high level, and what they bear (3.3 V: 2.8 to 3.6 V)."""
_SHOWN = 4


@dataclass(frozen=True, slots=True)
class Wiring:
    """What all devices take hold of, and what is wrong with it."""

    board: Board
    uses: tuple[Use, ...] = ()
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
    """What may be wrong, for people."""


def board_for(name: str, extra: Path | None = None, root: Path = Path("/")) -> Board:
    """Return the board of that name; without a name this machine's, or else the common 40-pin header.

    Raises: NotFoundError, ConfigError as `boards.load`.
    """
    return boards.load(name, extra) if name else boards.detect(root, extra) or boards.load(boards.COMMON, extra)


def check(devices: Iterable[Device], board: Board, extra: Path | None = None) -> Wiring:
    """Return what the devices take hold of on a board. Those whose driver or arguments are wrong are left out.

    `extra` is the user's folder that may hold a `hardware` folder.
    """
    claims, volts, notes = Claims(board, extra), [], []
    for device in devices:
        before = len(claims.uses)
        claims.take(device)
        if any(use.pin for use in claims.uses[before:]):
            volts += _volts(device, board)
            notes += _notes(device, board)
    fit = _Fit(board, claims.uses)
    free = fit.free()
    misplaced = [replace(one, text=f"{one.text}; {free}{_other_board(board, one)}") for one in claims.misplaced]
    problems = [*claims.problems, *misplaced, *volts, *fit.clashes()]
    return Wiring(board, tuple(claims.uses), tuple(problems), tuple(notes))


def _other_board(board: Board, problem: Problem) -> str:
    """Tell of other boards when a name is wrong that this machine's or the common header has not."""
    if board.name != boards.COMMON or "is no pin" not in problem.text:
        return ""
    return "; if the board is no Raspberry Pi, write board: generic"


def _volts(device: Device, board: Board) -> list[Problem]:
    volts = device.volts
    if volts == 0 or board.volts * _LEAST <= volts <= board.volts * _MOST:
        return []
    how = "a voltage divider or a level shifter" if volts > board.volts else "a level shifter"
    text = (
        f"{device.name!r} ({device.driver}) works with {volts:g} V, and the pins of {board.title} with "
        f"{board.volts:g} V; put {how} between them, then write volts: {board.volts:g}"
    )
    return [Problem(device.name, ("volts",), text)]


def _notes(device: Device, board: Board) -> list[str]:
    if device.volts != 0 or device.driver != "DistanceSensor" or board.volts * _MOST >= 5:  # noqa: PLR2004 - volts of an HC-SR04
        return []
    text = (
        f"device {device.name!r} (DistanceSensor): the echo of an HC-SR04 has 5 V, and a pin of {board.title} bears "
        f"{board.volts:g} V; with a voltage divider before it, write volts: {board.volts:g}"
    )
    return [text]


class _Fit:
    """What of all uses cannot be together, and what would work."""

    def __init__(self, board: Board, uses: Sequence[Use]) -> None:
        self._board = board
        self._uses = uses

    def clashes(self) -> list[Problem]:
        """Return each pin and address that two cannot have together, at the later of them."""
        found: dict[Problem, None] = {}
        told: set[tuple[int, str]] = set()
        for n, later in enumerate(self._uses):
            for at, earlier in enumerate(self._uses[:n]):
                if not _clash(earlier, later):
                    continue
                if later.shared and (at, later.shared) in told:
                    break  # who is in the way of a bus is told once, not for each of its users
                told.add((at, later.shared))
                text = self._taken(earlier, later) if later.pin else _twice(earlier, later)
                found[Problem(later.device.name, later.where, text)] = None
                break
        return list(found)

    def free(self, bus: str = "") -> str:
        """Name pins that nobody uses, those first that are not of a bus; of a `bus`, its free chip selects."""
        used = {use.pin for use in self._uses}
        of_bus = self._board.buses[bus].lines if bus else {}
        chips = [role.removeprefix("CE") for role, pin in of_bus.items() if role[:2] == "CE" and pin not in used]
        if chips:
            return f"free: device: {' or '.join(chips)}"
        of_buses = {pin for each in self._board.buses.values() for pin in each.lines.values()}
        free = [pin for pin in self._board.pins if pin not in used and pin not in self._board.kept]
        free.sort(key=lambda pin: pin in of_buses)
        shown = [f"{pin} ({self._board.place(pin)})" for pin in free[:_SHOWN]]
        if not self._board.headers:
            return "give each a line of its own"
        return f"free: {', '.join(shown)}" if shown else "no pin of the board is free"

    def _taken(self, earlier: Use, later: Use) -> str:
        """Say that a pin has two users, and what would work."""
        place = self._board.place(later.pin)
        name = f"{later.pin} ({place})" if place else f"the line {later.pin}"
        if earlier.device.name == later.device.name:
            return f"{_who(later)} takes {name} twice; {self.free()}"
        text = f"{name} is taken by {_who(earlier)}{_as(earlier)} and {_who(later)}{_as(later)}"
        bus = later.thing.partition(" ")[0]
        if earlier.thing == later.thing and bus in self._board.buses:  # two chips on one chip select
            return f"{text}; {self.free(bus)}"
        plain = next((use for use in (earlier, later) if use.thing == use.pin), None)
        mover = f"move {plain.device.name!r}: " if plain is not None and earlier.thing != later.thing else ""
        return f"{text}; {mover}{self.free()}"


def _clash(earlier: Use, later: Use) -> bool:
    if earlier.pin or later.pin:
        return earlier.pin == later.pin and not (earlier.shared and earlier.shared == later.shared)
    one, other = sorted((earlier.thing, later.thing), key=len)
    return earlier.device is not later.device and (one == other or other.startswith(f"{one} "))


def _who(use: Use) -> str:
    return f"{use.device.name!r} ({use.device.driver})"


def _as(use: Use) -> str:
    return f" as {use.thing}" if use.thing != use.pin else ""


def _twice(earlier: Use, later: Use) -> str:
    thing = max(earlier.thing, later.thing, key=len)
    text = f"{thing} is taken by {_who(earlier)} and {_who(later)}"
    if thing.startswith("I2C"):
        return f"{text}; give one of the chips another address, by its address pin, or another bus"
    if thing.startswith("/dev/"):
        return f"{text}; one of them needs another line or adapter"
    return f"{text}; only one of them can have it"


def rows(wiring: Wiring, devices: Iterable[Device]) -> Iterator[dict[str, str]]:
    """Yield the wiring as a table: one row for each thing that a device takes hold of, in the order of the file."""
    for device in devices:
        uses = [use for use in wiring.uses if use.device is device]
        for use in uses:
            yield {
                "device": device.name,
                "driver": device.driver,
                "argument": ".".join(str(key) for key in use.where),
                "pin": use.pin,
                "header": wiring.board.place(use.pin) if use.pin else "",
                "as": use.thing if use.thing != use.pin else "",
            }
        if not uses:
            yield {"device": device.name, "driver": device.driver, "argument": "", "pin": "", "header": "", "as": ""}
