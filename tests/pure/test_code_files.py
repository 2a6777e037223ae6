"""Which files are code, by their names."""

from __future__ import annotations

import pytest

from edge_runtime.pure.code_files import is_code


@pytest.mark.parametrize("name", ["app.py", "data.json", "a.so", "x", "node_modules", "4914", "a.b.py"])
def test_what_may_be_code(name: str) -> None:
    assert is_code(name)


@pytest.mark.parametrize(
    "name",
    ["app.pyc", "app.pyo", "app.py~", ".app.py.swp", "x.tmp", "x.part", ".git", "#app.py#", "__pycache__", "4913"],
)
def test_what_editors_and_python_leave_is_none(name: str) -> None:
    assert not is_code(name)
