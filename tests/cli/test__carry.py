"""A plan is shown, or carried out and told of."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge_runtime.building.plan import Plan, Write
from edge_runtime.cli._carry import carry


def test_what_came_of_it_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x"
    plan = Plan("t", (Write(path, b"12345"),), (path, tmp_path))
    carry(plan, dry_run=True)
    assert capsys.readouterr().out == f"target t\nwrite {path} 644 5 bytes\nresult {path}\nresult {tmp_path}\n"
    assert not path.exists()
    carry(plan, dry_run=False)
    assert capsys.readouterr().out == f"{path}: 5 B\n{tmp_path}\n"
    carry(plan, dry_run=False, as_json=True)
    assert json.loads(capsys.readouterr().out) == [
        {"file": str(path), "bytes": 5},
        {"file": str(tmp_path), "bytes": None},
    ]
