"""A device and its place in a shadow: what is desired of it, and in which words its value is reported."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from edge_runtime.app import ShadowKey
from edge_runtime.pure._shadow_tree import Tree, same

_WORDS = {"on": True, "off": False}
_GRAIN = 0.005
"""A PWM pin has steps: what a device reads back is seldom just what it was told."""


def refusal(desired: object) -> str:
    """Return why a value cannot be desired of any device, or an empty text."""
    if desired == "toggle":
        return "'toggle' is no state that a device could be in"
    if isinstance(desired, Mapping):
        return "it is an object; a device has one value"
    return ""


def fulfils(value: object, desired: object) -> bool:
    """Tell whether a device with this value is as desired: 1, true and `on` are the same, 0.5 and 0.502 as well."""
    if isinstance(desired, str) and desired in _WORDS and not isinstance(value, str):
        return _is_all(value, on=_WORDS[desired])
    if isinstance(desired, list) and isinstance(value, list | tuple):
        return len(desired) == len(value) and all(map(fulfils, value, desired))
    if isinstance(desired, int | float) and isinstance(value, int | float):
        return math.isclose(value, desired, rel_tol=0, abs_tol=_GRAIN)
    return same(value, desired)


def worded(value: object, like: object) -> object:
    """Return a value as it is to be reported: in the words of `like`, what is desired or was reported before.

    So a delta vanishes when a device does what is desired, whatever the words were.
    """
    if like is not None and fulfils(value, like):
        return like
    for on in (True, False):
        if isinstance(like, str) and like in _WORDS and _is_all(value, on=on):
            return "on" if on else "off"
        if isinstance(like, bool) and _is_all(value, on=on):
            return on
    return value


def usable(value: object) -> bool:
    """Tell whether a shadow can hold a value: an array may hold no null, and there is no NaN."""
    if isinstance(value, list | tuple):
        return all(map(usable, value))
    return value is not None and not (isinstance(value, float) and not math.isfinite(value))


def nested(path: Sequence[str], value: object) -> Tree:
    """Return the tree that has a value at a path."""
    tree = value
    for key in reversed(path):
        tree = {key: tree}
    if not isinstance(tree, Mapping):
        raise TypeError("a path has at least one key")
    return tree


def clash(one: ShadowKey, other: ShadowKey) -> bool:
    """Tell whether two places are one, or one lies within the other."""
    shorter = min(len(one.path), len(other.path))
    return one.name == other.name and one.path[:shorter] == other.path[:shorter]


def _is_all(value: object, *, on: bool) -> bool:
    if isinstance(value, list | tuple):
        return bool(value) and all(_is_all(part, on=on) for part in value)
    return isinstance(value, int | float) and value == on
