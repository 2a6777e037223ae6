"""Simulated pins of boards that are no Raspberry Pi: any name that the board knows is a pin."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from gpiozero.pins import PinInfo
from gpiozero.pins.mock import MockFactory, MockPWMPin

from edge_runtime.devices import boards
from edge_runtime.devices.boards import Board
from edge_runtime.devices.simulation import SimulatedFactory


class _Line(MockPWMPin):  # type: ignore[misc]  # gpiozero ships no types
    """A pin whose name is not `GPIO` and a number, which gpiozero's own must be."""

    def __init__(self, factory: MockFactory, info: PinInfo) -> None:
        super().__init__(factory, info._replace(name="GPIO0"))
        self._info = info


class _Names:
    """Stands where gpiozero keeps its map of a Raspberry Pi."""

    def __init__(self, board: Board) -> None:
        self._board = board

    def find_pin(self, name: object) -> Iterator[tuple[None, PinInfo]]:
        """Yield the pin of a name. Raises: ConfigError."""
        pin = self.to_gpio(name)
        yield None, PinInfo(0, pin, frozenset({pin}), "", 0, 0, frozenset({"gpio"}))

    def to_gpio(self, name: object) -> str:
        """Return the main name of a pin. Raises: ConfigError."""
        return self._board.resolve(name)


class _LineFactory(SimulatedFactory):
    """Mock pins by the names of a board."""

    def __init__(self, board: Board) -> None:
        super().__init__()
        self.pin_class = _Line
        self._names = _Names(board)

    def _get_board_info(self) -> _Names:
        return self._names


def simulated_factory(board: str = "", extra: Path | None = None) -> SimulatedFactory:
    """Return simulated pins of a board; without a name, and for a Raspberry Pi, they have the names that all Pis know.

    Raises: NotFoundError, ConfigError as `boards.load`.
    """
    known = boards.load(board, extra) if board else None
    return SimulatedFactory() if known is None or "lgpio" in known.factories else _LineFactory(known)
