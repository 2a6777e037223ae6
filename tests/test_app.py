"""What is declared: frozen, nothing shared, free of everything but the standard library."""

from __future__ import annotations

import ast
import dataclasses
import inspect
from pathlib import Path

import pytest

from edge_runtime import app
from edge_runtime.app import App, Device, Overflow, Permissions, Rule
from edge_runtime.model import Feed

DATA = [v for v in vars(app).values() if dataclasses.is_dataclass(v) and isinstance(v, type)]


@pytest.mark.parametrize("kind", DATA)
def test_what_is_declared_cannot_change(kind: type) -> None:
    assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]  # what every dataclass has
    assert not hasattr(kind, "__dict__") or "__dict__" not in dir(kind)


def test_defaults_are_not_shared() -> None:
    one, other = App("a", Path("/")), App("b", Path("/"))
    assert one.queues is not other.queues
    assert Device("a", "LED").options is not Device("b", "LED").options


def test_the_usual_priority_is_the_same_everywhere() -> None:
    assert Feed("uplink").priority == Rule("#", ("uplink",)).priority == 5


def test_words_in_a_file_are_the_values() -> None:
    assert Overflow("drop_oldest") is Overflow.DROP_OLDEST
    assert Overflow("downsample") is Overflow.DOWNSAMPLE


def test_a_strict_app_grants_nothing_by_default() -> None:
    assert Permissions() == Permissions(None, None, None, None, credentials=True)
    assert dataclasses.astuple(app.NOTHING) == ((), (), (), (), False)


def test_it_needs_the_standard_library_only() -> None:
    tree = ast.parse(inspect.getsource(app))
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert modules <= {"__future__", "collections.abc", "dataclasses", "enum", "pathlib", "typing"}
