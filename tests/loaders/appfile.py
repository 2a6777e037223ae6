"""Load an `edge.yaml` from its text."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_runtime.app import App
from edge_runtime.errors import ConfigError
from edge_runtime.loaders import edge_yaml


def load(folder: Path, text: str) -> App:
    """Return what the text declares as `edge.yaml` in a folder."""
    path = folder / "edge.yaml"
    path.write_text(text)
    return edge_yaml.load(path)


def wrong(folder: Path, text: str) -> list[str]:
    """Return what is said about a text with mistakes."""
    with pytest.raises(ConfigError) as caught:
        load(folder, text)
    return str(caught.value).splitlines()
