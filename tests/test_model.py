"""The nouns: frozen, small, free of everything but the standard library."""

from __future__ import annotations

import ast
import inspect
import pickle

from edge_runtime import model
from edge_runtime.model import NO_HEADERS, Event, Message, Reason, Stamp, Trigger

EVENT = Event("a/b", b"x", "cli", Stamp(1, 2, "boot"), "id")


def test_an_event_compares_by_what_it_says_and_survives_a_pickle() -> None:
    assert EVENT._replace() == EVENT
    assert EVENT._replace(id="other") != EVENT
    assert EVENT.headers is NO_HEADERS
    assert pickle.loads(pickle.dumps(EVENT)) == EVENT  # noqa: S301 - our own bytes


def test_a_message_is_an_event_in_a_place() -> None:
    message = Message(EVENT, "uplink", 5, 1)
    assert (message.target, message.seq, message.tries) == ("uplink", 1, 0)


def test_words_in_a_file_are_the_values() -> None:
    assert f"{Reason.EXPIRED}" == "expired"


def test_anything_that_runs_is_a_trigger() -> None:
    class Mine:
        async def run(self, emit: model.Emit) -> None:
            """Emit nothing."""

    assert isinstance(Mine(), Trigger)
    assert not isinstance(object(), Trigger)


def test_it_needs_the_standard_library_only() -> None:
    tree = ast.parse(inspect.getsource(model))
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert modules <= {
        "__future__",
        "collections.abc",
        "enum",
        "typing",
        "edge_runtime.errors",
    }
