"""How the wires are driven: the choice of gpiozero's pin factory, and why the others were not taken.

On a Raspberry Pi it is lgpio wherever that works (on a Pi 5 it is the only one), else rpigpio; on other boards it is
`devices.gpiod_factory`. GPIOZERO_PIN_FACTORY names another. The chip is found by its label, never by its number.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_runtime.devices import _pin_libraries, boards, chips
from edge_runtime.devices.boards import Board
from edge_runtime.devices.chips import Chip
from edge_runtime.errors import ConfigError, EdgeError

_log = logging.getLogger(__name__)
_ENV = "GPIOZERO_PIN_FACTORY"
_HINT = "run `edge run --simulate` to try the app without hardware"


def _points() -> dict[str, importlib.metadata.EntryPoint]:
    return {point.name: point for point in importlib.metadata.entry_points(group="gpiozero_pin_factories")}


def _kind(name: str) -> Any:  # noqa: ANN401 - a class of a library without types
    return _points()[name].load()


@dataclass(frozen=True, slots=True)
class Machine:
    """What the choice looks at; a test has one of its own."""

    root: Path = Path("/")
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    find_chips: Callable[[], list[Chip]] = chips.chips
    version: Callable[[str], str] = importlib.metadata.version
    """Takes the name of a package. Raises: importlib.metadata.PackageNotFoundError."""
    load: Callable[[str], Any] = importlib.import_module
    kind: Callable[[str], Any] = _kind
    """Takes the name of a factory and returns its class."""
    holder: Callable[[Path, int], str | None] = chips.holder


@dataclass(frozen=True, slots=True)
class Choice:
    """What drives the pins of this machine."""

    board: Board | None
    """The board that it was taken for; None when none is known and none is declared."""
    name: str = ""
    """Of the factory: `lgpio`, `rpigpio`, `gpiod`, or what GPIOZERO_PIN_FACTORY names; empty: none can be."""
    chip: Chip | None = None
    refused: Mapping[str, str] = field(default_factory=dict)
    """Why not those that were looked at before it, by name."""
    doubt: str = ""
    """What speaks against the declared board."""


def wants_mock() -> bool:
    """Tell whether the environment asks for mock pins: then everything is simulated."""
    return os.environ.get(_ENV, "").lower() == "mock"


def described(chosen: Choice) -> str:
    """Return what drives the pins in a few words: `lgpio on gpiochip0 (pinctrl-rp1)`; empty when nothing does."""
    on = f" on {chosen.chip.path.name} ({chosen.chip.label})" if chosen.chip is not None else ""
    return f"{chosen.name}{on}" if chosen.name else ""


def told(refused: Mapping[str, str]) -> str:
    """Return reasons for a sentence; names with the same reason stand together."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in refused.items():
        by_reason.setdefault(reason, []).append(name)
    return "; ".join(f"{', '.join(names)}: {reason}" for reason, names in by_reason.items())


def choose(board: str = "", extra: Path | None = None, machine: Machine | None = None) -> Choice:
    """Return what is to drive the pins, and why not something else. Opens nothing but the chips, to ask their names.

    `board` is the declared one, or empty; `extra` is the user's folder that may hold a `hardware` folder.

    Raises: ConfigError when GPIOZERO_PIN_FACTORY names no factory, or a board file is wrong; NotFoundError.
    """
    machine = machine or Machine()
    here = boards.detect(machine.root, extra)
    known = boards.load(board, extra) if board else here
    doubt = ""
    if board and here is not None and known is not None and here.name != board and known.chips and here.chips:
        doubt = f"the app is for the board {board}, and this is {boards.model(machine.root) or here.title}"
        doubt = "" if set(known.chips) & set(here.chips) else doubt
    wanted = machine.environment.get(_ENV, "").lower()
    if wanted:
        return _wanted(wanted, known, machine, doubt)
    found = machine.find_chips()
    refused: dict[str, str] = {}
    if known is None:
        return Choice(None, refused=_unknown(found))
    for name in _order(known):
        reason, chip = _looked_at(name, known, found, machine)
        if not reason:
            return Choice(known, name, chip, refused, doubt)
        refused[name] = reason
    return Choice(known, refused=refused, doubt=doubt)


def _unknown(found: list[Chip]) -> dict[str, str]:
    """Return why nothing is taken on a machine that no board file knows and whose app names no board."""
    reasons = dict.fromkeys(("lgpio", "rpigpio"), "this is no Raspberry Pi")
    if not found:
        return {**reasons, "gpiod": "there is no /dev/gpiochip*"}
    # A PC has chips too, whose lines are the fan and the lid: to drive those by chance could harm it.
    labels = ", ".join(f"{chip.path.name} ({chip.label or chip.fault})" for chip in found)
    return {**reasons, "gpiod": f"to use the lines of {labels} write board: generic, or a board file of your own"}


def _order(board: Board) -> list[str]:
    """Return the factories in the order in which they are looked at: those of the board, then those that it refuses."""
    first = ["lgpio", *(name for name in board.factories if name != "lgpio")]
    return [*first, *(name for name in board.refused if name not in first)]


def _wanted(wanted: str, board: Board | None, machine: Machine, doubt: str) -> Choice:
    """Return the factory that the environment names."""
    known = {*_points(), "gpiod"}
    if wanted not in known:
        raise ConfigError(
            f"{_ENV} names {wanted!r}, which is no pin factory", hint=f"known: {', '.join(sorted(known))}"
        )
    if wanted not in ("lgpio", "rpigpio", "native", "gpiod"):
        return Choice(board, wanted, doubt=doubt)  # of another package, which knows for itself
    if wanted != "gpiod" and board is None:
        return Choice(board, refused={wanted: "this is no Raspberry Pi that is known"}, doubt=f"{_ENV} names {wanted}")
    board = board or boards.load("generic")
    reason, chip = _looked_at(wanted, board, machine.find_chips(), machine, asked=True)
    if not reason:
        return Choice(board, wanted, chip, doubt=doubt)
    return Choice(board, refused={wanted: reason}, doubt=f"unset {_ENV}: nothing but {wanted} was looked at")


def _looked_at(
    name: str, board: Board, found: list[Chip], machine: Machine, *, asked: bool = False
) -> tuple[str, Chip | None]:
    """Return why a factory cannot be taken, or an empty reason and the chip."""
    # What is never taken by itself and works: gpiod wherever there are chips, native where RPi.GPIO does.
    works = name == "gpiod" or (name == "native" and "rpigpio" in board.factories)
    if name not in board.factories and not (asked and works):
        return board.refused.get(name, f"not for {board.title}"), None
    if reason := _pin_libraries.wrong(name, machine.version, machine.load):
        return reason, None
    if name in ("rpigpio", "native"):
        return "", None  # they reach the pins through /dev/gpiomem
    chip = chips.with_label(found, board.chips) if board.chips else next(iter(found), None)
    if chip is not None and not chip.fault:
        return "", chip
    if faults := [chip.fault for chip in found if chip.fault]:
        hint = ": sudo usermod -aG gpio $USER, then log in again" if "may not" in faults[0] else ""
        return f"{faults[0]}{hint}", None
    there = ", ".join(f"{chip.label} ({chip.path.name})" for chip in found) or "none"
    label = f" with the label {' or '.join(board.chips)}" if board.chips else ""
    return f"there is no gpiochip{label} (found: {there})", None


def make(chosen: Choice, machine: Machine | None = None) -> Any:  # noqa: ANN401 - an object of a library without types
    """Return a new pin factory of the kind that was chosen.

    Raises: ConfigError with the reason of each factory that was refused, or of the library that fails.
    """
    machine = machine or Machine()
    hint = "; ".join(filter(None, (chosen.doubt, _HINT)))
    if chosen.name:
        _log.info("the pins of %s are driven by %s", chosen.board.title if chosen.board else "?", described(chosen))
    else:
        # What could have been taken; `edge doctor` tells of all.
        first = ("lgpio", *chosen.board.factories) if chosen.board is not None else tuple(chosen.refused)
        reasons = {name: reason for name, reason in chosen.refused.items() if name in first} or chosen.refused
        raise ConfigError(f"the GPIO pins of this machine cannot be reached ({told(reasons)})", hint=hint)
    try:
        if chosen.name == "gpiod" and chosen.board is not None:
            from edge_runtime.devices.gpiod_factory import GpiodFactory  # noqa: PLC0415 - it imports gpiozero

            return GpiodFactory(machine.load("gpiod"), chosen.board, machine.find_chips())
        kind = machine.kind(chosen.name)
        if chosen.name == "lgpio" and chosen.chip is not None:
            return telling(kind, chosen.chip, machine.holder)(chip=chosen.chip.number)
        return kind()
    except EdgeError:
        raise
    except Exception as error:
        why = told({**chosen.refused, chosen.name: str(error) or type(error).__name__})
        raise ConfigError(f"the GPIO pins of this machine cannot be reached ({why})", hint=hint) from error


def telling(kind: Any, chip: Chip, holder: Callable[[Path, int], str | None]) -> Any:  # noqa: ANN401 - classes without types
    """Return a kind of Pi factory that says who holds a line when that is busy.

    Its `pin` raises: ConfigError for a busy line.
    """

    class Telling(kind):  # type: ignore[misc]  # gpiozero ships no types
        """A factory whose errors name the line."""

        def pin(self, name: object) -> Any:  # noqa: ANN401 - an object without types
            try:
                return super().pin(name)
            except Exception as error:
                if "busy" not in str(error).lower():
                    raise
                line = self.board_info.to_gpio(name)
                raise busy(line, chip, holder(chip.path, int(line.removeprefix("GPIO")))) from error

    Telling.__name__ = Telling.__qualname__ = kind.__name__
    return Telling


def busy(line: str, chip: Chip, held_by: str | None) -> ConfigError:
    """Return the error for a line that somebody else holds; `held_by` is what that calls itself."""
    who = {None: "somebody else", "?": "a program or driver without a name"}.get(held_by, repr(held_by))
    return ConfigError(
        f"{line} (line of {chip.path.name}, {chip.label}) is busy: {who} holds it",
        hint="a line has one user: end the other script, or a second host; a bus that is enabled (dtparam=spi=on) "
        f"holds its pins too; `gpioinfo` lists who holds what, `sudo fuser -v {chip.path}` who has it open",
    )
