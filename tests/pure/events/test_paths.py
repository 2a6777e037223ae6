"""One value deep inside an event."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.errors import ConfigError
from edge_runtime.pure.events.paths import put


def event() -> Any:  # noqa: ANN401 - JSON
    return {"Records": [{"s3": {"size": 1, "detail-type": "x"}}, []], "a": None}


@pytest.mark.parametrize(
    ("path", "text", "value"),
    [
        ("a", "2", {"Records": event()["Records"], "a": 2}),
        ("new", "text", {**event(), "new": "text"}),
        ("Records[0].s3.size", "1.5", {**event(), "Records": [{"s3": {"size": 1.5, "detail-type": "x"}}, []]}),
        ("Records[0].s3.detail-type", "null", {**event(), "Records": [{"s3": {"size": 1, "detail-type": None}}, []]}),
        ("Records[1][0]", '{"x": []}', {**event(), "Records": [event()["Records"][0], [{"x": []}]]}),
        ("Records[1]", "[1", {**event(), "Records": [event()["Records"][0], "[1"]}),
        ("Records[2]", "", {**event(), "Records": [*event()["Records"], ""]}),
    ],
)
def test_it_is_set(path: str, text: str, value: object) -> None:
    assert put(event(), path, text) == value


def test_a_list_can_be_the_event() -> None:
    assert put([1, [2]], "[1][0]", "3") == [1, [3]]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("", "'' is no path"),
        (".a", "'.a' is no path"),
        ("a.", "'a.' is no path"),
        ("a..b", "'a..b' is no path"),
        ("a[x]", "'a[x]' is no path"),
        ("a[0]b", "'a[0]b' is no path"),
        ("Records[0", "'Records[0' is no path"),
        ("records[0].x", "'records[0].x' leads nowhere: the event has no 'records'"),
        ("Records[0].s4.size", "'Records[0].s4.size' leads nowhere: Records[0] has no 's4'"),
        ("Records[3]", "'Records[3]' leads nowhere: Records has 2 items, counted from 0"),
        ("Records[3].x", "'Records[3].x' leads nowhere: Records has 2 items, counted from 0"),
        ("Records.x", "'Records.x' leads nowhere: Records is a list"),
        ("[0]", "'[0]' leads nowhere: the event is an object"),
        ("a.b", "'a.b' leads nowhere: a is no object and no list"),
    ],
)
def test_a_path_that_is_wrong(path: str, words: str) -> None:
    before = event()
    with pytest.raises(ConfigError) as caught:
        put(before, path, "1")
    assert str(caught.value) == words
    assert before == event()


@given(st.text(alphabet="a.[]0 9é", max_size=12), st.text(max_size=5))
def test_any_text_is_set_or_refused(path: str, text: str) -> None:
    try:
        made = put({"a": [0, {"0": 1}]}, path, text)
    except ConfigError:
        return
    json.dumps(made)
