"""The JSON that devices and AWS's services send each other."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from edge_runtime.pure import _shadow_tree as trees
from edge_runtime.pure._shadow_tree import Tree
from edge_runtime.pure._shadow_tree import encode as write

__all__ = ["THING", "Tree", "is_count", "read", "write"]

THING: Final = re.compile(r"[a-zA-Z0-9:_-]{1,128}")
"""A name of a thing: AWS IoT API Reference, `CreateThing`."""


def read(payload: bytes) -> Tree:
    """Return the JSON object of UTF-8 bytes; no bytes at all are an empty object.

    Raises: ValueError that says what is wrong.
    """
    if not payload:
        return {}
    try:
        message = trees.parse(payload)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    except UnicodeError as error:
        raise ValueError(f"it is no UTF-8: {error}") from None
    if not isinstance(message, Mapping):
        raise ValueError("it is no JSON object")  # noqa: TRY004 - of a message, not of a program
    return message


def is_count(value: object) -> bool:
    """Tell whether a JSON value is a whole number; true and false are none."""
    return isinstance(value, int) and not isinstance(value, bool)
