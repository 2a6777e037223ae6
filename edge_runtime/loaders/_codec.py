"""An App as JSON and back, so that one process can check a file and another can run it."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge_runtime.app import App


def to_json(app: App) -> dict[str, Any]:
    """Return an app as what `json.dumps` takes."""
    return {field.name: _plain(getattr(app, field.name)) for field in dataclasses.fields(app)}


def from_json(data: object) -> App:
    """Return the app of `to_json`.

    Raises: ValueError when the data is not that of an app of this version.
    """
    from edge_runtime.app import App  # noqa: PLC0415 - its dataclasses take a while; the kept app can be looked at without

    return typing.cast("App", _build(App, data))


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(part) for part in value]
    if isinstance(value, Enum):
        return value.value
    return str(value) if isinstance(value, Path) else value


def _build(hint: Any, data: object) -> object:  # noqa: ANN401 - any type form
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:  # the model has only `X | None`
        return None if data is None else _build(inside[0], data)
    if origin is tuple:
        return tuple(_build(inside[0], part) for part in _is(data, list))
    if origin is Mapping:
        return {key: _build(inside[1], part) for key, part in _is(data, dict).items()}
    if dataclasses.is_dataclass(hint):
        return _dataclass(hint, _is(data, dict))
    return _scalar(hint, data)


def _scalar(hint: Any, data: object) -> object:  # noqa: ANN401 - any type form
    if hint is object:
        return data
    if hint is float and type(data) is int:
        return float(data)
    if hint is Path or issubclass(hint, Enum):
        return hint(_is(data, str))
    return _is(data, hint)


def _dataclass(kind: Any, data: dict[str, object]) -> object:  # noqa: ANN401 - any dataclass
    hints = typing.get_type_hints(kind)
    if data.keys() != hints.keys():
        raise ValueError(f"a {kind.__name__} has other fields than {sorted(data)}")
    return kind(**{name: _build(hint, data[name]) for name, hint in hints.items()})


def _is(data: object, kind: type) -> Any:  # noqa: ANN401 - of the kind that is asked for
    if type(data) is not kind:
        raise ValueError(f"{data!r:.60} is no {kind.__name__}")
    return data
