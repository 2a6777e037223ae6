"""One call of one function without a host."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest

from edge_runtime.errors import NotFoundError
from edge_runtime.host.once import invoke_once
from tests.host.hosting import app, function


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return where temporary folders are made."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_a_function_runs_once_and_leaves_nothing(tmp_path: Path, scratch: Path) -> None:
    one = app(tmp_path, function(tmp_path, pinned=True, concurrency=1))
    result = await invoke_once(one, "f", b'{"a": 1}', {"custom": {"subject": "in/x"}})
    assert (result.error, json.loads(result.payload)) == ("", {"got": {"a": 1}, "topic": "in/x"})
    assert result.init_ms > 0
    assert names(scratch) == []
    assert names(tmp_path) == ["code", "scratch"]


async def test_a_failure_is_a_result(tmp_path: Path, scratch: Path) -> None:
    result = await invoke_once(app(tmp_path, function(tmp_path, "fail")), "f", b"{}")
    assert (result.error, json.loads(result.payload)["errorMessage"]) == ("ValueError", "the soil is dry")
    assert names(scratch) == []


async def test_an_unknown_function(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="there is no function named 'ff'; did you mean 'f'") as caught:
        await invoke_once(app(tmp_path, function(tmp_path)), "ff", b"{}")
    assert caught.value.hint == "functions: f"
