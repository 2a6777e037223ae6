"""Events and replies: the JSON of AWS's Python runtime, made with the standard library.

AWS's runtime uses `simplejson`; where the two differ, what is done here is what that one does.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
from decimal import Decimal
from json.decoder import JSONDecodeError, JSONDecoder
from typing import cast

from .faults import MARSHAL, TOO_LARGE, UNMARSHAL, Fault, text_of
from .frames import LIMIT


class _NotJson(Exception):  # noqa: N818 - never leaves this file
    """An event holds NaN or Infinity."""


def _refuse(_name: str) -> object:
    raise _NotJson


_decoder = JSONDecoder(parse_constant=_refuse)
_read = _decoder.raw_decode
_word = re.compile(r'"(?:[^"\\]|\\.)*"|(-?Infinity|NaN)')

# A Decimal must become a bare number, which the C encoder has no door for: it goes through as a marked text.
_mark = os.urandom(8).hex()
_bare = re.compile(f'"{_mark}([^"]*)"')
_ARRAY = ord("[")  # of bytes, a number is found eight times as fast as bytes are
_plain_types = frozenset((str, int, float, bool, type(None))).issuperset


def decode_event(raw: bytes) -> object:
    """Return the event that JSON bytes hold.

    Raises: Fault (`Runtime.UnmarshalError`).
    """
    # json.loads looks for white space around the value with two regular expressions; an event rarely has any.
    try:
        text = raw.decode()
        value, end = _read(text)
        if end == len(text):
            return cast("object", value)
    except (ValueError, RecursionError, _NotJson):
        pass  # what follows says what is wrong, or reads what this short cut cannot
    try:
        text = raw.decode().removeprefix("\ufeff")
        return cast("object", _decoder.decode(text))
    except _NotJson:
        at = next((match.start() for match in _word.finditer(text) if match[1]), 0)
        raise Fault(UNMARSHAL, f"Unable to unmarshal input: {JSONDecodeError('Expecting value', text, at)}") from None
    except Exception as error:
        raise Fault(UNMARSHAL, f"Unable to unmarshal input: {text_of(error)}") from error


class Encoder:
    """Makes the JSON of replies.

    `escape`: write non-ASCII text as escapes, as Python runtimes before 3.12 do.
    """

    def __init__(self, *, escape: bool) -> None:
        self._marked = False
        self._strict = json.JSONEncoder(ensure_ascii=escape, allow_nan=False, default=self._other).encode
        self._loose = json.JSONEncoder(ensure_ascii=escape, default=self._other).encode

    def encode(self, value: object) -> bytes:
        """Return the reply's bytes; bytes pass through as they are.

        Raises: Fault (`Runtime.MarshalError`, `Function.ResponseSizeTooLarge`).
        """
        try:
            raw = value if isinstance(value, bytes) else self._strict(value).encode()
            if self._marked:
                self._marked = False
                raw = _bare.sub(r"\1", raw.decode()).encode()
            if _ARRAY in raw and raw is not value and _may_have_names(value):
                raw = self._with_care(value)
        except Fault:
            raise
        except RecursionError as error:
            raise Fault(MARSHAL, f"Unable to marshal response: {text_of(error)}") from error
        except Exception:  # noqa: BLE001 - the same is tried again, in a way that can do more
            raw = self._with_care(value)
        if len(raw) > LIMIT:
            raise Fault(TOO_LARGE, f"Response payload size exceeded maximum allowed payload size ({LIMIT} bytes).")
        return raw

    def _with_care(self, value: object) -> bytes:
        # AWS lets named tuples, keys of bytes, and what is not a number pass. What else is wrong is wrong here too.
        try:
            plain = _plain(value, set())
            try:
                text, odd = self._strict(plain), False
            except ValueError:
                text, odd = self._loose(plain), True
            raw = _bare.sub(r"\1", text).encode()
        except Exception as error:
            raise Fault(MARSHAL, f"Unable to marshal response: {text_of(error)}") from error
        finally:
            self._marked = False
        if odd:
            logging.getLogger().warning("the reply holds NaN or Infinity, which is not valid JSON")
        return raw

    def _other(self, value: object) -> object:
        if isinstance(value, bytes):
            return value.decode()
        names = getattr(value, "_asdict", None)
        if callable(names):
            return _plain(_named(names()), set())
        if isinstance(value, Decimal):
            if value.is_nan():
                return math.nan
            self._marked = True
            return f"{_mark}{value!s}"
        raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def _may_have_names(value: object) -> bool:
    """Whether a value holds a named tuple, or something that must be looked at more closely."""
    kind = type(value)
    if kind is dict:
        values = cast("dict[object, object]", value).values()
    elif kind is list or kind is tuple:
        values = cast("list[object]", value)  # type: ignore[assignment]  # only gone through
    else:
        return not _plain_types((kind,))
    return not _plain_types(map(type, values)) and any(map(_may_have_names, values))


def _plain(value: object, above: set[int]) -> object:
    """Return a value with its named tuples as objects and its keys as JSON may have them."""
    names = getattr(value, "_asdict", None) if isinstance(value, tuple) else None
    held = _named(names()) if callable(names) else value
    if not isinstance(held, dict | list | tuple):
        return held
    if id(value) in above:
        raise ValueError("Circular reference detected")
    above.add(id(value))
    made: object
    if isinstance(held, dict):
        made = {_key(key): _plain(inner, above) for key, inner in held.items()}
    else:
        made = [_plain(inner, above) for inner in held]
    above.remove(id(value))
    return made


def _named(value: object) -> dict[object, object]:
    if not isinstance(value, dict):
        raise TypeError(f"_asdict() must return a dict, not {type(value).__name__}")
    return value


def _key(key: object) -> object:
    if isinstance(key, bytes):
        return key.decode()
    if key is None or isinstance(key, str | int | float):
        return key
    raise TypeError(f"keys must be str, int, float, bool or None, not {type(key).__name__}")


def encode_error(fault: dict[str, object], *, escape: bool = False) -> bytes:
    """Return the bytes of an error object, cut to what a reply may hold. `escape` as for replies."""
    raw = json.dumps(fault, ensure_ascii=escape).encode(errors="backslashreplace")
    if len(raw) <= LIMIT:
        return raw
    short = {**fault, "errorMessage": str(fault["errorMessage"])[: 64 * 1024], "stackTrace": []}
    return json.dumps(short).encode()
