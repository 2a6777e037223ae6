"""JSON trees as shadows treat them: objects merge, arrays and all else are replaced whole, null removes.

A tree is what `json` gives. None of these functions changes what it is handed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import NoReturn

Tree = Mapping[str, object]
"""A JSON object."""
EMPTY: Tree = {}
TIMESTAMP = "timestamp"


def parse(payload: bytes) -> object:
    """Return the JSON value of UTF-8 bytes, of which `encode` can make bytes again.

    Raises: UnicodeDecodeError, ValueError that says what is wrong, RecursionError when it is nested too deep to tell.
    """
    value: object = json.loads(payload.decode("utf-8"), parse_constant=_no_number, parse_float=_finite)
    try:
        encode(value)
    except UnicodeEncodeError:
        raise ValueError("a text holds a lone surrogate") from None
    return value


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"the number {text[:40]} is too large")
    return number


def encode(value: object) -> bytes:
    """Return compact JSON in UTF-8."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def null_in_array(value: object, path: str) -> str:
    """Return the path of the first array in `value` that holds null at any depth, or an empty text."""
    if isinstance(value, Mapping):
        inner = (null_in_array(item, f"{path}.{key}") for key, item in value.items())
        return next(filter(None, inner), "")
    return path if isinstance(value, list) and _holds_null(value) else ""


def _holds_null(value: object) -> bool:
    if isinstance(value, Mapping):
        return any(map(_holds_null, value.values()))
    return value is None or (isinstance(value, list) and any(map(_holds_null, value)))


def same(one: object, other: object) -> bool:
    """Tell whether two JSON values are equal: 1 and 1.0 are, 1 and true are not."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(item, other[key]) for key, item in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and one == other


def merge(tree: Tree, patch: Tree) -> dict[str, object]:
    """Return the tree after an update. What is new and holds nothing but nulls does not come into being."""
    merged = dict(tree)
    for key, item in patch.items():
        old = tree.get(key)
        if item is None:
            merged.pop(key, None)
        elif not isinstance(item, Mapping):
            merged[key] = item
        elif isinstance(old, Mapping):
            merged[key] = merge(old, item)
        elif (new := merge(EMPTY, item)) or not item:
            merged[key] = new
        else:
            merged.pop(key, None)
    return merged


def patch_between(old: Tree, new: Tree) -> dict[str, object]:
    """Return the smallest patch for which `merge(old, patch)` is `new`. Neither may hold null."""
    patch: dict[str, object] = {key: None for key in old if key not in new}
    for key, item in new.items():
        before = old.get(key)
        if isinstance(item, Mapping) and isinstance(before, Mapping):
            if inner := patch_between(before, item):
                patch[key] = inner
        elif key not in old or not same(before, item):
            patch[key] = item
    return patch


def overlay(tree: Tree, other: Tree) -> dict[str, object]:
    """Return two patches in one; where both set the same, `other` counts. Null stays.

    It does what both do, one after the other, unless `other` sets something below what `tree` removes.
    """
    both = dict(tree)
    for key, item in other.items():
        old = both.get(key)
        both[key] = overlay(old, item) if isinstance(old, Mapping) and isinstance(item, Mapping) else item
    return both


def agreeing(patch: Tree, tree: Tree) -> dict[str, object]:
    """Return what of a patch is so in `tree` already."""
    found: dict[str, object] = {}
    for key, item in patch.items():
        known = tree.get(key)
        if isinstance(item, Mapping) and isinstance(known, Mapping):
            if inner := agreeing(item, known):
                found[key] = inner
        elif item is not None and key in tree and same(item, known):
            found[key] = item
    return found


def at(value: object, path: Sequence[str]) -> object:
    """Return what lies at a path in a tree. Null, which no state holds, stands for nothing."""
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def difference(desired: Tree, reported: Tree) -> dict[str, object]:
    """Return what of `desired` is missing or other in `reported`, in its place. What only `reported` has is ignored."""
    delta: dict[str, object] = {}
    for key, item in desired.items():
        known = reported.get(key)
        if isinstance(item, Mapping) and isinstance(known, Mapping):
            if inner := difference(item, known):
                delta[key] = inner
        elif key not in reported or not same(item, known):
            delta[key] = item
    return delta


def stamp(value: object, now: int) -> object:
    """Return the metadata of a value that was set now: its shape with `{"timestamp": now}` for each leaf."""
    if isinstance(value, Mapping):
        return {key: stamp(item, now) for key, item in value.items()}
    if isinstance(value, list):
        return [stamp(item, now) for item in value]
    return {TIMESTAMP: now}


def restamp(value: object, patch: object, metadata: object, now: int) -> object:
    """Return the metadata of `value`, which `patch` has just made; `metadata` is that of the value before."""
    if not (isinstance(value, Mapping) and isinstance(patch, Mapping)):
        return stamp(value, now)
    old: Mapping[str, object] = metadata if isinstance(metadata, Mapping) else EMPTY
    return {
        key: restamp(item, patch[key], old.get(key), now) if key in patch else old.get(key, stamp(item, now))
        for key, item in value.items()
    }


def pick(metadata: object, shape: object) -> object:
    """Return the part of the metadata of a tree that belongs to `shape`, a part of that tree."""
    if isinstance(shape, Mapping) and isinstance(metadata, Mapping):
        return {key: pick(metadata[key], item) for key, item in shape.items() if key in metadata}
    return metadata


def newest(metadata: object) -> int:
    """Return the latest timestamp in a tree of metadata, 0 without one."""
    if isinstance(metadata, Mapping):
        return max(map(newest, metadata.values()), default=0)
    if isinstance(metadata, list):
        return max(map(newest, metadata), default=0)
    return metadata if isinstance(metadata, int) else 0


def oldest(metadata: object) -> int | None:
    """Return the first timestamp in a tree of metadata, None without one."""
    if isinstance(metadata, Mapping | list):
        inner = metadata.values() if isinstance(metadata, Mapping) else metadata
        return min((found for item in inner if (found := oldest(item)) is not None), default=None)
    return metadata if isinstance(metadata, int) else None
