"""Events and replies: the JSON of AWS's Python runtime, made with the standard library."""

from __future__ import annotations

import json
import logging
import math
import os
import re
from decimal import Decimal
from json.decoder import JSONDecoder
from typing import cast

from .faults import MARSHAL, TOO_LARGE, UNMARSHAL, Fault, text_of
from .frames import LIMIT

_read = JSONDecoder().raw_decode

# A Decimal must become a bare number, which the C encoder has no door for: it goes through as a marked text.
_mark = os.urandom(8).hex()
_bare = re.compile(f'"{_mark}([^"]*)"')


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
    except (ValueError, RecursionError):
        pass  # json.loads says what is wrong, or reads what this short cut cannot
    try:
        return cast("object", json.loads(raw))
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
        except ValueError:
            raw = self._with_nan(value)
        except Exception as error:
            raise Fault(MARSHAL, f"Unable to marshal response: {text_of(error)}") from error
        if len(raw) > LIMIT:
            raise Fault(TOO_LARGE, f"Response payload size exceeded maximum allowed payload size ({LIMIT} bytes).")
        return raw

    def _with_nan(self, value: object) -> bytes:
        # AWS lets what is not a number pass. Anything else that is wrong with the value is wrong here too.
        try:
            raw = _bare.sub(r"\1", self._loose(value)).encode()
        except Exception as error:
            raise Fault(MARSHAL, f"Unable to marshal response: {text_of(error)}") from error
        finally:
            self._marked = False
        logging.getLogger().warning("the reply holds NaN or Infinity, which is not valid JSON")
        return raw

    def _other(self, value: object) -> object:
        if isinstance(value, Decimal):
            if value.is_nan():
                return math.nan
            self._marked = True
            return f"{_mark}{value}"
        if isinstance(value, bytes):
            return value.decode()
        raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def encode_error(fault: dict[str, object]) -> bytes:
    """Return the bytes of an error object, cut to what a reply may hold."""
    raw = json.dumps(fault, ensure_ascii=False).encode(errors="backslashreplace")
    if len(raw) <= LIMIT:
        return raw
    short = {**fault, "errorMessage": str(fault["errorMessage"])[: 64 * 1024], "stackTrace": []}
    return json.dumps(short).encode()
