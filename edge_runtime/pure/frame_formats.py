"""What a frame of a serial line says, and how what is to be said becomes a frame."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence

from edge_runtime.pure.framing import shown

FORMATS = ("text", "hex", "json", "csv", "regex")


class Format:
    """Reads frames of one format.

    `text`: the text. `hex`: the bytes in hex. `json`: whatever the JSON says. `csv`: fields between `separator`, as
    parts by `names`, or a list without names. `regex`: the named groups of the first match of `pattern`, as parts. A
    field of `csv` or `regex` that looks like a number is one; an empty one is left out, or null in a list.

    Raises: ValueError when this does not fit together.
    """

    def __init__(
        self,
        kind: str = "text",
        *,
        names: Sequence[str] = (),
        pattern: str = "",
        separator: str = ",",
        encoding: str = "utf-8",
    ) -> None:
        if kind not in FORMATS:
            raise ValueError(f"format {kind!r} is not known; known: {', '.join(FORMATS)}")
        if (kind == "regex") != bool(pattern):
            raise ValueError("a pattern belongs to format regex, and format regex needs one")
        if names and kind != "csv":
            raise ValueError("names belong to format csv")
        if not separator:
            raise ValueError("the separator may not be empty")
        try:
            self._pattern = re.compile(pattern)
            "".encode(encoding)
        except re.error as error:
            raise ValueError(f"pattern {pattern!r} is no regular expression: {error}") from error
        except LookupError as error:
            raise ValueError(str(error)) from error
        if kind == "regex" and not self._pattern.groupindex:
            raise ValueError("the pattern names no group; name each value, as in (?P<level>[0-9.]+)")
        self._kind = kind
        self._names = tuple(names)
        self._separator = separator
        self._encoding = encoding

    def read(self, data: bytes) -> object:
        """Return what a frame says, as JSON knows it. Raises: ValueError when it is not of this format."""
        if self._kind == "hex":
            return data.hex()
        try:
            text = data.decode(self._encoding)
        except UnicodeDecodeError as error:
            raise ValueError(f"{shown(data)} is no text in {self._encoding}") from error
        return self.read_text(text)

    def read_text(self, text: str) -> object:
        """Return what the text of a frame says. Raises: ValueError when it is not of this format."""
        if self._kind == "json":
            return _json(text)
        if self._kind == "csv":
            return self._csv(text)
        if self._kind == "regex":
            found = self._pattern.search(text)
            if found is None:
                raise ValueError(f"{_cut(text)} does not match {self._pattern.pattern!r}")
            return {name: _field(part) for name, part in found.groupdict().items() if part}
        return text

    def write(self, value: object) -> bytes:
        """Return the bytes that say a value: a text as it is, bytes in hex for `hex`, JSON for `json`.

        Raises: ValueError when the format cannot say it.
        """
        if self._kind == "hex":
            if not isinstance(value, str):
                raise ValueError(f"{value!r} is no text with bytes in hex")
            return bytes.fromhex(value)
        if self._kind == "json":
            text = json.dumps(value, separators=(",", ":"), allow_nan=False)
        elif isinstance(value, str):
            text = value
        elif isinstance(value, int | float) and not isinstance(value, bool):
            text = str(value)
        else:
            raise ValueError(f"{value!r} is no text")
        try:
            return text.encode(self._encoding)
        except UnicodeEncodeError as error:
            raise ValueError(f"{_cut(text)} cannot be written in {self._encoding}") from error

    def _csv(self, text: str) -> object:
        fields = [part.strip() for part in text.split(self._separator)]
        if not self._names:
            return [_field(part) if part else None for part in fields]
        if len(fields) != len(self._names):
            raise ValueError(f"{_cut(text)} has {len(fields)} fields; there are {len(self._names)} names")
        return {name: _field(part) for name, part in zip(self._names, fields, strict=True) if part}


def _json(text: str) -> object:
    def refuse(word: str) -> object:
        raise ValueError(f"{word} is no JSON")

    try:
        value: object = json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{_cut(text)} is no JSON: {error}") from error
    return value


def _field(text: str) -> object:
    """Return the number that a text is, or the text. Raises: ValueError for what is a number and yet none."""
    text = text.strip()
    if re.fullmatch(r"[+-]?[0-9]{1,15}", text, re.ASCII):
        return int(text)
    try:
        number = float(text) if "_" not in text else None
    except ValueError:
        number = None
    if number is not None and not math.isfinite(number):
        raise ValueError(f"{text!r} is no reading")
    return text if number is None else number


def _cut(text: str) -> str:
    return shown(text.encode(errors="replace"))
