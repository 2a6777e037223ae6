"""YAML as plain data that knows its lines.

Only the parser of PyYAML is used, never a constructor, so nothing in a file can make an object. Words mean what they
look like: `on`, `off`, `yes` and `no` are texts, so are dates and numbers with a leading zero, and a key is always a
text (YAML 1.1 reads `on:` as true and `012` as ten). Aliases and `<<` work; their growth and the depth are bounded.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import yaml

from edge_runtime.errors import ConfigError

Where = tuple[str | int, ...]
"""The keys and indexes that lead from the top of a file to a value."""

MAX_BYTES = 1 << 18
MAX_DEPTH = 32
MAX_VALUES = 20_000

_NOWHERE = "\0"
"""The key, which no file can hold, of what is read and then left out."""
_WIDTH = 60
"""How much of a value is shown in a message."""
_CONSTANTS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
_HEX = re.compile(r"0x[0-9a-fA-F]{1,16}")
_EXPONENT = r"[eE][-+]?[0-9]{1,3}"
_FLOAT = re.compile(rf"[-+]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*(?:{_EXPONENT})?|{_EXPONENT})|\.[0-9]+(?:{_EXPONENT})?)")
_NO_TEXT = re.compile("[\\0\\ud800-\\udfff]")
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_$<-]+")


def dotted(where: Where) -> str:
    """Return a path as a person writes it: `functions.irrigate.events[0].device`."""
    text = ""
    for part in where:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            name = part if _PLAIN_KEY.fullmatch(part) else json.dumps(part)
            text += f".{name}" if text else name
    return text


def shown(value: object) -> str:
    """Return a value as it would be written in a file, cut to what fits into a message."""
    text = repr(value) if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 3]}..."


class Problem(NamedTuple):
    """One thing that is wrong with a file."""

    line: int
    text: str


@dataclass(slots=True)
class Document:
    """What a YAML file says: `data` is made of dict, list, str, int, float, bool and None."""

    name: str
    """The file's name as it stands in messages."""
    data: Any = None
    problems: list[Problem] = field(default_factory=list)
    written: dict[Where, str] = field(default_factory=dict)
    """The text of each scalar that has no quotes, by its path; not of what came through an alias."""
    lines: dict[Where, int] = field(default_factory=dict)

    def line(self, where: Where) -> int:
        """Return the line of a key or an item, or of the nearest thing around it that the file has."""
        while where and where not in self.lines:
            where = where[:-1]
        return self.lines.get(where, 1)

    def add(self, where: Where, text: str) -> None:
        """Note that something is wrong at a path."""
        self.note(self.line(where), f"{dotted(where)}: {text}" if where else text)

    def note(self, line: int, text: str) -> None:
        """Note that something is wrong on a line."""
        problem = Problem(line, text)
        if problem not in self.problems:
            self.problems.append(problem)

    def text(self, where: Where, value: object) -> str:
        """Return a scalar as it was written: `0.30` stays `0.30`."""
        if isinstance(value, str):
            return value
        return self.written.get(where) or json.dumps(value)

    def check(self) -> None:
        """Do nothing when the file is right.

        Raises: ConfigError with all that is wrong, one line of text each, in the order of the file.
        """
        if self.problems:
            lines = [f"{self.name}:{p.line}: {p.text}" for p in sorted(self.problems, key=lambda p: p.line)]
            raise ConfigError("\n".join(lines))


def read(text: bytes, name: str) -> Document:
    """Return what a YAML file says; mistakes that leave the rest readable are noted in `problems`.

    Raises: ConfigError when it is no YAML, too big, too deep or grows too much through its aliases.
    """
    if len(text) > MAX_BYTES:
        raise ConfigError(f"{name}:1: the file has {len(text)} bytes; at most {MAX_BYTES} are read")
    try:
        decoded = text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{name}:{line}: not UTF-8: byte 0x{text[error.start]:02x} ({error.reason})") from error
    document = Document(name)
    try:
        _Reader(document, yaml.parse(decoded, Loader=yaml.SafeLoader)).run()
    except yaml.reader.ReaderError as error:
        line = decoded.count("\n", 0, error.position) + 1
        raise ConfigError(f"{name}:{line}: the character U+{int(error.character):04X} may not stand here") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        words = ", ".join(part for part in (error.context, error.problem) if part)
        hint = "inside { } or [ ] put quotes around a text with {thing}" if "got '{'" in words else ""
        raise ConfigError(f"{name}:{line}: not valid YAML: {words}", hint=hint) from error
    return document


class _Anchor(NamedTuple):
    value: Any
    size: int


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


class _Reader:
    """Builds the data from the parser's events."""

    def __init__(self, document: Document, events: Iterator[yaml.Event]) -> None:
        self._document = document
        self._events = events
        self._anchors: dict[str, _Anchor] = {}
        self._count = 0

    def run(self) -> None:
        """Read the one document of the stream into `document.data`."""
        next(self._events)  # the start of the stream
        if isinstance(next(self._events), yaml.StreamEndEvent):
            return
        self._document.data = self._value(next(self._events), ())
        next(self._events)  # the end of the document
        further = next(self._events)
        if not isinstance(further, yaml.StreamEndEvent):
            self._document.note(_line(further), "a second document begins here; only one is read")

    def _value(self, event: yaml.Event, where: Where) -> Any:  # noqa: ANN401 - YAML holds anything
        line = _line(event)
        self._document.lines.setdefault(where, line)
        if len(where) > MAX_DEPTH:
            raise ConfigError(f"{self._document.name}:{line}: nested deeper than {MAX_DEPTH} levels")
        if isinstance(event, yaml.AliasEvent):
            return self._alias(str(event.anchor), line)
        before = self._count
        self._grow(1, line)
        value: Any
        if isinstance(event, yaml.ScalarEvent):
            value = self._scalar(event, where)
        elif isinstance(event, yaml.MappingStartEvent):
            self._no_tag(event, "tag:yaml.org,2002:map")
            value = self._mapping(where)
        else:
            self._no_tag(event, "tag:yaml.org,2002:seq")
            value = self._sequence(where)
        if isinstance(event, yaml.NodeEvent) and event.anchor:
            self._anchors[event.anchor] = _Anchor(value, self._count - before)
        return value

    def _grow(self, size: int, line: int) -> None:
        self._count += size
        if self._count > MAX_VALUES:
            raise ConfigError(f"{self._document.name}:{line}: more than {MAX_VALUES} values, aliases counted in full")

    def _alias(self, name: str, line: int) -> Any:  # noqa: ANN401 - YAML holds anything
        if name not in self._anchors:
            self._document.note(line, f"the alias *{name} has no anchor &{name} that ends before it")
            return None
        anchor = self._anchors[name]
        self._grow(anchor.size, line)
        return anchor.value

    def _no_tag(self, event: yaml.Event, allowed: str) -> None:
        tag = getattr(event, "tag", None)
        if tag not in {None, "!", allowed}:
            tag = str(tag).replace("tag:yaml.org,2002:", "!!")
            self._document.note(_line(event), f"the tag {tag} means nothing here; take it away")

    def _scalar(self, event: yaml.ScalarEvent, where: Where) -> str | int | float | bool | None:
        self._no_tag(event, "tag:yaml.org,2002:str")
        if not event.implicit[0]:
            return self._text(event)
        self._document.written[where] = event.value
        return plain(event.value)

    def _text(self, event: yaml.ScalarEvent) -> str:
        """Return a text without what neither a path, a topic nor a variable can hold; an escape may have made it."""
        bad = _NO_TEXT.search(event.value)
        if bad:
            self._document.note(_line(event), f"the character U+{ord(bad[0]):04X} may not stand in a text")
        return _NO_TEXT.sub("", event.value)

    def _sequence(self, where: Where) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            items.append(self._value(event, (*where, len(items))))
        return items

    def _mapping(self, where: Where) -> dict[str, Any]:
        items: dict[str, Any] = {}
        first: dict[str, int] = {}
        merged: dict[str, Any] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            line = _line(event)
            if not isinstance(event, yaml.ScalarEvent):
                self._document.note(line, f"{dotted(where) or 'the file'}: a key must be a plain word")
                self._value(event, (*where, _NOWHERE))
                self._value(next(self._events), (*where, _NOWHERE))
                continue
            key = self._text(event)
            here = (*where, key)
            twice = key in first
            if twice:
                self._document.note(line, f"{dotted(here)}: the key stands twice; first in line {first[key]}")
            else:
                first[key] = self._document.lines[here] = line
            value = self._value(next(self._events), (*where, _NOWHERE) if twice else here)
            if key == "<<" and event.implicit[0]:
                merged = self._merge(value, here)
            elif not twice:
                items[key] = value
        return {**merged, **items}

    def _merge(self, value: object, where: Where) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        for part in value if isinstance(value, list) else [value]:
            if not isinstance(part, Mapping):
                self._document.add(where, "takes an alias of a mapping, like `<<: *name`")
                continue
            merged = {**part, **merged}
        return merged


def plain(text: str) -> str | int | float | bool | None:
    """Return what a word without quotes means: null, true, false, a decimal or 0x integer, a number, else a text."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _HEX.fullmatch(text):
        return int(text, 16)
    if _FLOAT.fullmatch(text) and math.isfinite(number := float(text)):
        return number
    return text
