"""A folder with the code that the files in these tests point at."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "irrigate").mkdir()
    (tmp_path / "irrigate" / "app.py").write_text("def handler(event, context): ...\n")
    return tmp_path
