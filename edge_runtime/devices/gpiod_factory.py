"""A pin factory for boards that are no Raspberry Pi: gpiozero's devices on the lines of any Linux gpiochip.

It speaks libgpiod 2 through its own Python package (`gpiod` >= 2.1; 1.x is another interface). A pin is the offset of
a line, its name, `gpiochip1:17`, or what the board's file calls it. Edges carry the kernel's time stamps. Dimming is
done by a thread: good enough for an LED or a motor, not for a servo. SPI works by software on four named pins, not
through /dev/spidev.

Nothing here was ever run on real lines: it is tested against an object that behaves as the package documents itself.
"""

from __future__ import annotations

import errno
import logging
import re
import time
from collections.abc import Iterator, Sequence
from typing import Any

from gpiozero import PinSPIUnsupported
from gpiozero.pins import Factory, PinInfo
from gpiozero.pins.local import LocalPiSoftwareSPI, LocalPiSoftwareSPIShared

from edge_runtime.devices._gpiod_pin import GpiodPin
from edge_runtime.devices._gpiod_threads import EdgeReader
from edge_runtime.devices.boards import Board
from edge_runtime.devices.chips import Chip, with_label
from edge_runtime.devices.factories import busy
from edge_runtime.errors import ConfigError, NotFoundError

CONSUMER = "edge_runtime"
"""What `gpioinfo` shows as the holder of a line."""
_SPI_PINS = ("clock_pin", "mosi_pin", "miso_pin", "select_pin")
_log = logging.getLogger(__name__)


class Lines:
    """Which line a name means. It stands where gpiozero keeps its map of a Raspberry Pi."""

    def __init__(self, gpiod: Any, board: Board, found: Sequence[Chip]) -> None:  # noqa: ANN401 - a module
        main = with_label(found, board.chips) if board.chips else next((c for c in found if not c.fault), None)
        if main is None:
            labels = " or ".join(board.chips) or "any label"
            raise NotFoundError(f"there is no gpiochip with {labels}", hint="gpiodetect lists those that there are")
        self.model = board.title
        self.headers: dict[str, object] = {}
        """gpiozero looks here for what is fixed on a board; nothing is known."""
        self._gpiod = gpiod
        self._board = board
        self._chips = [main, *(chip for chip in found if chip is not main and not chip.fault)]
        self._open: dict[int, Any] = {}
        self._known: dict[object, tuple[PinInfo, Chip]] = {}

    @property
    def description(self) -> str:
        """What the board is called."""
        return self.model

    def find_pin(self, name: object) -> Iterator[tuple[None, PinInfo]]:
        """Yield the pin that a name means, as gpiozero asks for it. Raises: ConfigError, NotFoundError."""
        yield None, self.find(name)[0]

    def to_gpio(self, name: object) -> str:
        """Return the main name of a pin. Raises: ConfigError, NotFoundError."""
        return str(self.find(name)[0].name)

    def find(self, name: object) -> tuple[PinInfo, Chip]:
        """Return the pin that a name means, and the chip of its line.

        Raises: ConfigError for a name that the board's file does not have, NotFoundError when no chip has the line.
        """
        if name not in self._known:
            pin = self._board.resolve(name)
            chip, offset = self._line(str(self._board.lines.get(pin, pin)))
            own = str(self.chip(chip).get_line_info(offset).name or "")
            title = pin if self._board.headers else own or f"{chip.path.name}:{offset}"
            info = PinInfo(offset, title, frozenset({title}), "", 0, 0, frozenset({"gpio"}))
            self._known[name] = self._known.setdefault(title, (info, chip))
        return self._known[name]

    def _line(self, text: str) -> tuple[Chip, int]:
        where, _, number = text.rpartition(":")
        if re.fullmatch("[0-9]{1,6}", number):
            chips = (
                [chip for chip in self._chips if where in (chip.path.name, chip.label)] if where else self._chips[:1]
            )
            for chip in chips:
                if int(number) < chip.lines:
                    return chip, int(number)
            has = f"{chips[0].path.name} has {chips[0].lines} lines" if chips else f"there is no chip {where!r}"
            raise NotFoundError(f"there is no line {text}: {has}", hint="gpioinfo lists the lines and their names")
        for chip in self._chips:
            try:
                return chip, int(self.chip(chip).line_offset_from_id(text))
            except OSError as error:  # what libgpiod says when no line has that name
                if error.errno not in (errno.ENOENT, None):
                    raise ConfigError(f"{chip.path} cannot be asked for its lines: {error.strerror}") from error
        raise NotFoundError(
            f"no line is called {text!r}", hint="gpioinfo lists the lines; write a name, or an offset, as in pin: 17"
        )

    def chip(self, chip: Chip) -> Any:  # noqa: ANN401 - an object of the module
        """Return the open chip. Raises: ConfigError."""
        if chip.number not in self._open:
            try:
                self._open[chip.number] = self._gpiod.Chip(str(chip.path))
            except OSError as error:
                raise ConfigError(
                    f"{chip.path} cannot be opened: {error.strerror}",
                    hint="sudo usermod -aG gpio $USER, then log in again",
                ) from error
        return self._open[chip.number]

    def close(self) -> None:
        """Close the chips."""
        for opened in self._open.values():
            opened.close()
        self._open.clear()


class GpiodFactory(Factory):  # type: ignore[misc]  # gpiozero ships no types
    """Makes pins of lines. `gpiod` is the module; `found` are the chips of this machine.

    Raises: NotFoundError when no chip is the board's.
    """

    def __init__(self, gpiod: Any, board: Board, found: Sequence[Chip]) -> None:  # noqa: ANN401 - a module
        super().__init__()
        self.lines = Lines(gpiod, board, found)
        self.gpiod = gpiod
        self.edges = EdgeReader()
        self._pins: dict[str, GpiodPin] = {}

    def _get_board_info(self) -> Lines:
        return self.lines

    def pin(self, name: object) -> GpiodPin:
        """Return the pin of that name; the line is held from now on.

        Raises: ConfigError when it is busy or cannot be had, naming its holder; NotFoundError when there is none.
        """
        info, chip = self.lines.find(name)
        if info.name not in self._pins:
            self._pins[info.name] = GpiodPin(self, info, self._request(info, chip))
        return self._pins[info.name]

    def _request(self, info: PinInfo, chip: Chip) -> Any:  # noqa: ANN401 - an object of the module
        opened, line = self.lines.chip(chip), self.gpiod.line
        settings = self.gpiod.LineSettings(direction=line.Direction.INPUT)
        try:
            return opened.request_lines({info.number: settings}, consumer=CONSUMER)
        except OSError as error:
            if error.errno != errno.EBUSY:
                text = f"{info.name} (line {info.number} of {chip.path.name}) cannot be had: {error.strerror}"
                raise ConfigError(text) from error
            held_by = opened.get_line_info(info.number).consumer or "?"
            raise busy(str(info.name), chip, held_by) from error

    def spi(self, **arguments: Any) -> LocalPiSoftwareSPI:  # noqa: ANN401 - the arguments are gpiozero's
        """Return an SPI bus that is driven by software on the four pins.

        Raises: gpiozero.PinSPIUnsupported without them.
        """
        shared = bool(arguments.pop("shared", False))
        if set(arguments) != set(_SPI_PINS):
            raise PinSPIUnsupported(
                "on a board that is no Raspberry Pi, SPI needs its four pins: "
                "write clock_pin, mosi_pin, miso_pin and select_pin"
            )
        kind = LocalPiSoftwareSPIShared if shared else LocalPiSoftwareSPI
        return kind(pin_factory=self, **arguments)

    def ticks(self) -> float:
        """Return the time in seconds by the clock that edges are stamped with (CLOCK_MONOTONIC)."""
        return time.monotonic()

    def ticks_diff(self, later: float, earlier: float) -> float:
        """Return the seconds between two ticks."""
        return later - earlier

    def close(self) -> None:
        """Give all lines back. Safe to call twice."""
        for pin in self._pins.values():
            pin.close()
        self._pins.clear()
        self.edges.close()
        self.lines.close()
