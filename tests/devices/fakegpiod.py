"""A stand-in for libgpiod's Python package, version 2, with lines that a test drives.

The settings, enums and events are the package's own; only what would need a /dev/gpiochip is made up here, as the
package documents it: a line has one holder, an input gives edges only when they were asked for.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import gpiod
from gpiod.line import Bias, Direction, Edge, Value


@dataclass
class Line:
    """One line, as the kernel keeps it."""

    name: str = ""
    consumer: str = ""
    level: int = 0
    """What is on the wire."""
    settings: gpiod.LineSettings | None = None
    request: Request | None = None
    history: list[int] = field(default_factory=list)
    """The levels that it was set to as an output."""


class Request:
    """What a holder of lines has."""

    def __init__(self, chip: Lines, offset: int) -> None:
        self.fd = os.eventfd(0, os.EFD_NONBLOCK)
        self._lines = chip
        self._line = chip.lines[offset]
        self._offset = offset
        self._events: list[gpiod.EdgeEvent] = []
        self.released = False

    def reconfigure_lines(self, config: dict[int, gpiod.LineSettings]) -> None:
        """Take other settings."""
        settings = config[self._offset]
        if settings.bias in (Bias.PULL_UP, Bias.PULL_DOWN, Bias.DISABLED) and not self._lines.has_bias:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        if settings.direction is Direction.OUTPUT:
            assert settings.bias is Bias.AS_IS
            assert settings.edge_detection is Edge.NONE
            self._put(settings.output_value)
        elif self._line.settings is None or settings.bias is not self._line.settings.bias:
            self._line.level = {Bias.PULL_UP: 1, Bias.PULL_DOWN: 0}.get(settings.bias, self._line.level)
        self._line.settings = settings

    def get_value(self, offset: int) -> Value:
        """Return the level."""
        assert offset == self._offset
        return Value.ACTIVE if self._line.level else Value.INACTIVE

    def set_value(self, offset: int, value: Value) -> None:
        """Set the level of an output."""
        assert offset == self._offset
        assert self._line.settings is not None
        assert self._line.settings.direction is Direction.OUTPUT
        self._put(value)

    def _put(self, value: Value) -> None:
        self._line.level = int(value is Value.ACTIVE)
        self._line.history.append(self._line.level)

    def edge(self, time_ns: int) -> None:
        """Note an edge and make the file ready."""
        kind = gpiod.EdgeEvent.Type.RISING_EDGE if self._line.level else gpiod.EdgeEvent.Type.FALLING_EDGE
        self._events.append(gpiod.EdgeEvent(kind.value, time_ns, self._offset, 1, 1))
        os.eventfd_write(self.fd, 1)

    def read_edge_events(self) -> list[gpiod.EdgeEvent]:
        """Return the edges that wait."""
        if self._lines.gone:
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
        os.eventfd_read(self.fd)
        events, self._events = self._events, []
        return events

    def release(self) -> None:
        """Give the line back."""
        assert not self.released
        self.released = True
        self._line.request, self._line.consumer = None, ""
        os.close(self.fd)


class Lines:
    """The lines of one chip."""

    def __init__(self, *names: str, has_bias: bool = True) -> None:
        self.lines = [Line(name) for name in names]
        self.has_bias = has_bias
        self.gone = False
        self.closed = False

    def drive(self, offset: int, level: int, time_ns: int = 0) -> None:
        """Put a level on the wire of an input."""
        line = self.lines[offset]
        if line.level == level:
            return
        line.level = level
        wanted = {1: (Edge.RISING, Edge.BOTH), 0: (Edge.FALLING, Edge.BOTH)}[level]
        if line.request is not None and line.settings is not None and line.settings.edge_detection in wanted:
            line.request.edge(time_ns)


class _Chip:
    def __init__(self, lines: Lines) -> None:
        self._lines = lines

    def get_line_info(self, offset: int) -> SimpleNamespace:
        line = self._lines.lines[offset]
        return SimpleNamespace(name=line.name, consumer=line.consumer)

    def line_offset_from_id(self, name: str) -> int:
        for offset, line in enumerate(self._lines.lines):
            if line.name == name:
                return offset
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))

    def request_lines(self, config: dict[int, gpiod.LineSettings], consumer: str) -> Request:
        [(offset, settings)] = config.items()
        line = self._lines.lines[offset]
        if line.consumer:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        line.consumer, line.settings, line.request = consumer, settings, Request(self._lines, offset)
        return line.request

    def close(self) -> None:
        self._lines.closed = True


def module(chips: dict[str, Lines]) -> Any:  # noqa: ANN401 - it stands for a module
    """Return what stands for the module; `chips` by their device files."""

    def chip(path: str) -> _Chip:
        if path not in chips:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return _Chip(chips[path])

    return SimpleNamespace(Chip=chip, LineSettings=gpiod.LineSettings, line=gpiod.line, EdgeEvent=gpiod.EdgeEvent)
