"""One tree of errors, each of which a reader would catch by its builtin."""

from __future__ import annotations

import pytest

from edge_runtime import errors
from edge_runtime.errors import EdgeError, FunctionError, LinkError, RefusedError

CLASSES = [v for v in vars(errors).values() if isinstance(v, type) and issubclass(v, EdgeError)]


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_keeps_its_words_and_its_hint(kind: type[EdgeError]) -> None:
    error = kind("the pump is stuck", hint="edge devices")
    assert isinstance(error, EdgeError)
    assert str(error) == "the pump is stuck"
    assert error.hint == "edge devices"
    assert kind("x").hint == ""


@pytest.mark.parametrize(
    ("name", "builtin"),
    [
        ("ConfigError", ValueError),
        ("NotFoundError", LookupError),
        ("LimitError", ValueError),
        ("QueueFullError", BlockingIOError),
        ("StoreError", OSError),
        ("HostError", ConnectionError),
        ("FunctionError", RuntimeError),
        ("DeniedError", PermissionError),
        ("DeviceError", OSError),
        ("LinkError", ConnectionError),
        ("RefusedError", PermissionError),
    ],
)
def test_every_error_is_also_the_builtin_that_one_would_catch(name: str, builtin: type[Exception]) -> None:
    assert issubclass(getattr(errors, name), builtin)


def test_the_list_above_is_whole() -> None:
    assert len(CLASSES) == 12


def test_every_error_is_in_the_tree_that_the_module_draws() -> None:
    for kind in CLASSES:
        assert f"{kind.__name__}" in (errors.__doc__ or "")


def test_a_refusal_ends_what_a_link_error_would_repeat() -> None:
    assert issubclass(RefusedError, LinkError)
    assert RefusedError("no", code=0x87).code == 0x87


def test_a_function_error_knows_the_error_type_of_lambda() -> None:
    assert FunctionError("no").kind == "Unhandled"
    assert FunctionError("no", kind="KeyError").kind == "KeyError"
