"""What every loader does, whichever file it reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_runtime import plugin
from edge_runtime.errors import ConfigError

LOADERS = plugin.names("loaders")


@pytest.mark.parametrize("name", LOADERS)
def test_it_says_which_files_it_reads(name: str, tmp_path: Path) -> None:
    loader = plugin.load("loaders", name)
    assert loader.accepts(tmp_path / "no-such-ending.xyz") is False
    assert (loader.__doc__ or "").strip()


@pytest.mark.parametrize("name", LOADERS)
def test_a_file_that_cannot_be_read_is_a_config_error(name: str, tmp_path: Path) -> None:
    loader = plugin.load("loaders", name)
    with pytest.raises(ConfigError):
        loader.load(tmp_path / "missing")
    (tmp_path / "binary").write_bytes(b"\x00\xff" * 100)
    with pytest.raises(ConfigError):
        loader.load(tmp_path / "binary")
