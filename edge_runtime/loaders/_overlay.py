"""What is laid over an app file from elsewhere: the configuration of a Greengrass component."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge_runtime.errors import ConfigError
from edge_runtime.loaders._yaml import Document, Where, plain

NOTHING: Mapping[str, Any] = {}


def read_overlay(path: Path) -> Mapping[str, Any]:
    """Return what a file of JSON lays over. Raises: ConfigError when it holds no JSON object."""
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"the configuration {path} cannot be read: {error}", hint=f"remove it: rm {path}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"the configuration {path} is no JSON object", hint=f"remove it: rm {path}")
    return data


def lay_over(document: Document, overlay: Mapping[str, Any]) -> None:
    """Lay an overlay over what a document says: mappings are merged, all else is replaced, lists as a whole.

    That is how a deployment of Greengrass merges a configuration. Its nucleus may have made texts of numbers and
    switches, and 60.0 of 60: they are read as if they stood in the file without quotes.
    """
    if not overlay:
        return
    document.name += " with the component's configuration"
    document.data = _merged(document.data if isinstance(document.data, Mapping) else {}, overlay, (), document)


def _merged(base: Mapping[str, Any], over: Mapping[str, Any], where: Where, document: Document) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        here = (*where, key)
        if isinstance(value, Mapping):
            below = base.get(key)
            merged[key] = _merged(below if isinstance(below, Mapping) else {}, value, here, document)
        else:
            merged[key] = _read(value)
            document.written.pop(here, None)
            if isinstance(value, str):
                document.written[here] = value
    return merged


def _read(value: Any) -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {key: _read(part) for key, part in value.items()}
    return [_read(part) for part in value] if isinstance(value, list) else value
