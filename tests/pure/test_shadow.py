"""Shadow documents, against the pages of AWS."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.pure import _shadow_tree as trees
from edge_runtime.pure.shadow import (
    KEPT_S,
    MOST_STATE_BYTES,
    STATE_BYTES,
    Accepted,
    Document,
    Rejected,
    delete,
    delta_of,
    follow,
    from_text,
    get,
    to_text,
    update,
)

LEAF = st.booleans() | st.integers(-3, 3) | st.sampled_from([0.5, 1.0, "", "a", "ü"])
KEY = st.sampled_from(["a", "b", "c", "timestamp"])
VALUE = st.recursive(
    LEAF | st.lists(LEAF, max_size=2), lambda inner: st.dictionaries(KEY, inner, max_size=3), max_leaves=6
)
TREE = st.dictionaries(KEY, VALUE, max_size=3)
PATCH = st.dictionaries(KEY, st.none() | VALUE | st.dictionaries(KEY, st.none() | VALUE, max_size=2), max_size=3)
STATE = st.fixed_dictionaries({}, optional={"desired": TREE, "reported": TREE})
STATE_PATCH = st.fixed_dictionaries({}, optional={"desired": st.none() | PATCH, "reported": st.none() | PATCH})


def body(**fields: object) -> bytes:
    return json.dumps(fields).encode()


def ask(document: Document | None, now: int = 100, **fields: object) -> Accepted:
    """Update, which must be accepted."""
    answer = update(document, body(**fields), now)
    assert isinstance(answer, Accepted), answer
    return answer


def made(**state: object) -> Document:
    return ask(None, state=state).document


def read(payload: bytes | None) -> dict[str, Any]:
    assert payload is not None
    return cast("dict[str, Any]", json.loads(payload))


def test_what_the_cloud_has_granted_is_taken_without_bounds() -> None:
    answer = follow(None, {"desired": {"a": "x" * MOST_STATE_BYTES}}, 100)
    assert answer.document.version == 1
    assert read(answer.delta)["state"] == {"a": "x" * MOST_STATE_BYTES}
    assert answer.patch == {"desired": {"a": "x" * MOST_STATE_BYTES}}


def test_a_document_of_before_there_was_a_cloud_is_read() -> None:
    text = '{"state":{},"metadata":{},"version":3,"deleted_s":null,"cloud_version":0,"base":null}'
    assert from_text(text) == Document({}, {}, 3)
    sent = Document({}, {}, 3, None, 2, {}, {"desired": {"a": 1}})
    assert from_text(to_text(sent)) == sent
    with pytest.raises(ValueError, match="no stored shadow"):
        from_text(text.replace("}", ',"sent":1}').replace('{,"sent":1}', "{}"))


def test_two_patches_in_one() -> None:
    one = {"a": 1, "b": {"x": 1, "y": None}, "c": {"x": 1}, "d": None}
    other = {"a": None, "b": {"y": 2, "z": 3}, "c": 4, "e": 5}
    assert trees.overlay(one, other) == {"a": None, "b": {"x": 1, "y": 2, "z": 3}, "c": 4, "d": None, "e": 5}


def test_parts_of_trees() -> None:
    tree = {"a": {"b": 1, "c": [1]}, "d": True}
    assert trees.agreeing({"a": {"b": 1, "c": [2], "x": None}, "d": 1, "e": 0}, tree) == {"a": {"b": 1}}
    assert [trees.at(tree, path) for path in ((), ("a", "b"), ("a", "x"), ("d", "x"))] == [tree, 1, None, None]
    metadata = {"a": {"timestamp": 5}, "b": [{"timestamp": 3}]}
    assert [trees.oldest(value) for value in (metadata, {}, None)] == [3, None, None]


def test_the_first_update_makes_the_shadow() -> None:
    answer = ask(None, 100, state={"desired": {"on": True, "rgb": [1, 2]}, "reported": {"on": False}}, clientToken="t")
    stamped = {"timestamp": 100}
    state = {"desired": {"on": True, "rgb": [1, 2]}, "reported": {"on": False}}
    metadata = {"desired": {"on": stamped, "rgb": [stamped, stamped]}, "reported": {"on": stamped}}
    assert read(answer.payload) == {
        "state": state,
        "metadata": metadata,
        "version": 1,
        "timestamp": 100,
        "clientToken": "t",
    }
    assert read(answer.delta) == {
        "version": 1,
        "state": {"on": True, "rgb": [1, 2]},
        "metadata": {"on": stamped, "rgb": [stamped, stamped]},
        "timestamp": 100,
        "clientToken": "t",
    }
    assert read(answer.documents) == {
        "previous": None,
        "current": {"state": state, "metadata": metadata, "version": 1},
        "timestamp": 100,
        "clientToken": "t",
    }
    assert answer.levels == 2
    assert answer.document.dirty


def test_an_update_echoes_only_what_it_sent_and_leaves_the_other_timestamps() -> None:
    before = made(desired={"a": {"x": 1, "y": 2}})
    answer = ask(before, 200, state={"desired": {"a": {"x": 7}}})
    assert read(answer.payload) == {
        "state": {"desired": {"a": {"x": 7}}},
        "metadata": {"desired": {"a": {"x": {"timestamp": 200}}}},
        "version": 2,
        "timestamp": 200,
    }
    assert read(answer.documents)["previous"]["state"] == {"desired": {"a": {"x": 1, "y": 2}}}
    assert read(answer.documents)["current"]["state"] == {"desired": {"a": {"x": 7, "y": 2}}}
    assert answer.document.metadata == {"desired": {"a": {"x": {"timestamp": 200}, "y": {"timestamp": 100}}}}


def test_the_metadata_of_a_delta_is_that_of_what_is_desired() -> None:
    document = made(desired={"a": {"x": 1, "y": 2}})
    answer = ask(document, 200, state={"reported": {"a": {"x": 1}}})
    assert read(answer.delta)["state"] == {"a": {"y": 2}}
    assert read(answer.delta)["metadata"] == {"a": {"y": {"timestamp": 100}}}


@pytest.mark.parametrize(
    ("patch", "expected"),
    [
        ({"desired": {"a": None}}, {"desired": {"b": {"c": 2}}, "reported": {"a": 1}}),
        ({"desired": {"b": {"c": None}}}, {"desired": {"a": 1, "b": {}}, "reported": {"a": 1}}),
        ({"desired": None}, {"reported": {"a": 1}}),
        ({"desired": None, "reported": None}, {}),
        ({"desired": {"b": 5}}, {"desired": {"a": 1, "b": 5}, "reported": {"a": 1}}),
        ({"desired": {"a": {"x": None}}}, {"desired": {"b": {"c": 2}}, "reported": {"a": 1}}),
        (
            {"desired": {"new": {"x": None, "y": {}}}},
            {"desired": {"a": 1, "b": {"c": 2}, "new": {"y": {}}}, "reported": {"a": 1}},
        ),
        ({"desired": {"b": {}}}, {"desired": {"a": 1, "b": {"c": 2}}, "reported": {"a": 1}}),
        ({}, {"desired": {"a": 1, "b": {"c": 2}}, "reported": {"a": 1}}),
    ],
)
def test_merging(patch: dict[str, object], expected: dict[str, object]) -> None:
    before = made(desired={"a": 1, "b": {"c": 2}}, reported={"a": 1})
    answer = ask(before, state=patch)
    assert answer.document.state == expected
    assert read(answer.payload)["state"] == patch


def test_a_removed_key_is_echoed_with_its_time_and_gone_from_the_metadata() -> None:
    answer = ask(made(desired={"a": 1, "b": 2}), 200, state={"desired": {"a": None}})
    assert read(answer.payload)["metadata"] == {"desired": {"a": {"timestamp": 200}}}
    assert answer.document.metadata == {"desired": {"b": {"timestamp": 100}}}


def test_an_array_is_replaced_whole() -> None:
    answer = ask(made(desired={"a": [1, 2, 3]}), 200, state={"desired": {"a": [4]}})
    assert answer.document.state == {"desired": {"a": [4]}}
    assert answer.document.metadata == {"desired": {"a": [{"timestamp": 200}]}}


@pytest.mark.parametrize(
    ("desired", "reported", "expected"),
    [
        ({"a": 1}, {"a": 1}, {}),
        ({"a": 1}, {"a": 1.0}, {}),
        ({"a": 1}, {"a": True}, {"a": 1}),
        ({"a": 1}, {}, {"a": 1}),
        ({}, {"a": 1}, {}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1}}, {"a": {"c": 2}}),
        ({"a": [1, 2]}, {"a": [1]}, {"a": [1, 2]}),
        ({"a": [{"b": 1}]}, {"a": [{"b": 1}]}, {}),
        ({"a": {"b": 1}}, {"a": 5}, {"a": {"b": 1}}),
        ({"a": {}}, {"a": {"b": 1}}, {}),
    ],
)
def test_delta(desired: dict[str, object], reported: dict[str, object], expected: dict[str, object]) -> None:
    assert delta_of({"desired": desired, "reported": reported}) == expected


DEEP: dict[str, object] = {"1": {"2": {"3": {"4": {"5": {"6": {}}}}}}}
TOO_DEEP = "JSON contains too many levels of nesting; maximum is 6"


@pytest.mark.parametrize(
    ("request_body", "code", "message"),
    [
        (b"", 400, "Missing update payload"),
        (b"{", 400, "Invalid JSON: "),
        (b"[]", 400, "Invalid JSON: it is no object"),
        (b'{"state":{"desired":{"a":NaN}}}', 400, "Invalid JSON: NaN is no JSON"),
        (b'{"state":{"desired":{"a":1e999}}}', 400, "Invalid JSON: the number 1e999 is too large"),
        (b'{"state":{"desired":{"a":"\\ud800"}}}', 400, "Invalid JSON: a text holds a lone surrogate"),
        (b'{"state":{"desired":{"a":"\xff"}}}', 415, "Unsupported documented encoding; supported encoding is UTF-8"),
        (body(state={}).decode().encode("utf-16"), 415, "Unsupported documented encoding"),
        (b'{"state":' * 10_000 + b"1" + b"}" * 10_000, 400, TOO_DEEP),
        (b'{"state":{"desired":' + b'{"a":' * 200 + b"1" + b"}" * 202, 400, TOO_DEEP),
        (body(), 400, "Missing required node: state"),
        (body(state=None), 400, "State node must be an object"),
        (body(state=[]), 400, "State node must be an object"),
        (body(state={"desired": 5}), 400, "Desired node must be an object"),
        (body(state={"reported": "x"}), 400, "Reported node must be an object"),
        (body(state={"other": {}}), 400, "State contains an invalid node: 'other'"),
        (
            body(state={"desired": {"a": {"b": [1, {"c": None}]}}}),
            400,
            "State contains an invalid node: the array 'desired.a.b' holds null",
        ),
        (body(state={}, version="1"), 400, "Invalid version"),
        (body(state={}, version=True), 400, "Invalid version"),
        (body(state={}, version=-1), 400, "Invalid version"),
        (body(state={}, version=1.5), 400, "Invalid version"),
        (body(state={}, clientToken=5), 400, "Invalid clientToken"),
        (body(state={}, clientToken="é" * 33), 400, "Invalid clientToken"),
        (body(state={"desired": DEEP}), 400, TOO_DEEP),
        (body(state={}, version=2), 409, "Version conflict"),
        (b" " * (128 * 1024 + 1), 413, "The payload exceeds the maximum size allowed"),
    ],
)
def test_what_is_refused(request_body: bytes, code: int, message: str) -> None:
    answer = update(made(desired={"a": 1}), request_body, 100)
    assert isinstance(answer, Rejected)
    assert answer.message.startswith(message)
    assert read(answer.payload) == {"code": code, "message": answer.message, "timestamp": 100}
    assert answer.code == code


def test_a_refusal_carries_the_token() -> None:
    answer = update(None, body(clientToken="é" * 32), 7)
    expected = {"code": 400, "message": "Missing required node: state", "timestamp": 7, "clientToken": "é" * 32}
    assert read(answer.payload) == expected


def test_six_levels_are_the_most() -> None:
    assert ask(None, state={"desired": {"a": 1}}).levels == 1
    assert ask(None, state={"desired": {"1": {"2": {"3": {"4": {"5": {}}}}}}}).levels == 6  # AWS's own example
    assert ask(None, state={"reported": {"1": [[[[[1]]]]]}}).levels == 6


def test_the_size_is_that_of_both_sections_without_metadata() -> None:
    frame = len('{"a":""}{"b":""}')
    fits = {"desired": {"a": "x"}, "reported": {"b": "y" * (STATE_BYTES - frame - 1)}}
    document = ask(None, state=fits).document
    refused = update(document, body(state={"desired": {"a": "xx"}}), 100)
    assert isinstance(refused, Rejected)
    assert (refused.code, refused.message) == (413, "The payload exceeds the maximum size allowed")
    granted = update(document, body(state={"desired": {"a": "xx"}}), 100, most_bytes=MOST_STATE_BYTES)
    assert isinstance(granted, Accepted)
    assert isinstance(update(document, body(state={"reported": {"b": None}}), 100), Accepted)


@pytest.mark.parametrize(("version", "code"), [(None, 0), (0, 0), (1, 409)])
def test_the_version_of_a_shadow_that_was_never_there_is_0(version: int | None, code: int) -> None:
    answer = update(None, body(state={}, version=version), 100)
    assert (answer.code if isinstance(answer, Rejected) else 0) == code


def test_get() -> None:
    document = made(desired={"a": 1}, reported={"a": 2})
    answer = get(document, body(clientToken="t", state="ignored"), 300)
    assert isinstance(answer, Accepted)
    assert answer.document is document
    assert read(answer.payload) == {
        "state": {"desired": {"a": 1}, "reported": {"a": 2}, "delta": {"a": 1}},
        "metadata": {"desired": {"a": {"timestamp": 100}}, "reported": {"a": {"timestamp": 100}}},
        "version": 1,
        "timestamp": 300,
        "clientToken": "t",
    }
    assert "delta" not in read(get(made(desired={"a": 1}, reported={"a": 1}), b"", 300).payload)["state"]


@pytest.mark.parametrize("method", [get, delete])
@pytest.mark.parametrize("request_body", [b"", b"{", b"[]", b"\xff", b'{"clientToken":5}'])
def test_get_and_delete_ignore_what_they_are_sent(method: Any, request_body: bytes) -> None:  # noqa: ANN401 - either
    assert isinstance(method(made(), request_body, 100), Accepted)
    answer = method(None, request_body, 100, name="cfg")
    assert read(answer.payload) == {"code": 404, "message": "No shadow exists with name: cfg", "timestamp": 100}


def test_what_was_deleted_is_gone_and_goes_on_counting_for_two_days() -> None:
    answer = delete(replace(made(desired={"a": 1}), version=9), body(clientToken="t"), 1000)
    assert isinstance(answer, Accepted)
    assert read(answer.payload) == {"version": 9, "timestamp": 1000, "clientToken": "t"}
    mark = answer.document
    assert (mark.is_live, mark.state, mark.metadata) == (False, {}, {})
    for method in (get, delete):
        refused = method(mark, b"", 1001)
        assert isinstance(refused, Rejected)
        assert (refused.code, refused.message) == (404, "No shadow exists with name: Unnamed Shadow")
    again = ask(mark, 1001, state={"reported": {"b": 1}}, version=0)
    assert (again.document.version, again.document.state) == (10, {"reported": {"b": 1}})
    assert read(again.documents)["previous"] is None
    assert ask(mark, 1001, state={}, version=9).document.version == 10
    assert ask(mark, 1000 + KEPT_S, state={}).document.version == 1
    assert isinstance(update(mark, body(state={}, version=8), 1001), Rejected)


@given(TREE)
def test_what_is_reported_as_desired_leaves_no_delta(tree: dict[str, object]) -> None:
    assert delta_of({"desired": tree, "reported": tree}) == {}
    answer = ask(None, state={"desired": tree, "reported": tree})
    assert answer.delta is None


@given(TREE, TREE)
def test_reporting_the_delta_settles_it(desired: dict[str, object], reported: dict[str, object]) -> None:
    delta = delta_of({"desired": desired, "reported": reported})
    after = trees.merge(reported, delta)
    assert delta_of({"desired": desired, "reported": after}) == {}
    assert all(key in after for key in desired)
    assert all(trees.same(after[key], reported[key]) for key in reported if key not in desired)


@given(st.none() | STATE, STATE_PATCH, st.integers(0, 9))
def test_an_accepted_update(state: dict[str, object] | None, patch: dict[str, object], more: int) -> None:
    before = None if state is None else made(**state)
    answer = ask(before, 100 + more, state=patch, version=before.version if before else 0)
    after = answer.document
    assert after.version == (before.version if before else 0) + 1
    assert shape(after.state) == stamps(after.metadata)
    assert b"null" not in trees.encode(after.state)
    again = ask(after, state=patch)
    assert trees.same(again.document.state, after.state)
    assert isinstance(update(after, body(state=patch, version=after.version + 1), 100), Rejected)
    assert from_text(to_text(after)) == after


def shape(value: object) -> object:
    """Return a tree with every leaf replaced by True."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    return [shape(item) for item in value] if isinstance(value, list) else True


def stamps(value: object) -> object:
    """Return metadata with every timestamp replaced by True."""
    if isinstance(value, dict):
        if value.keys() == {"timestamp"} and isinstance(value["timestamp"], int):
            return True
        return {key: stamps(item) for key, item in value.items()}
    return [stamps(item) for item in value] if isinstance(value, list) else value


@given(TREE, TREE)
def test_a_patch_between_two_trees_leads_from_one_to_the_other(old: dict[str, object], new: dict[str, object]) -> None:
    patch = trees.patch_between(old, new)
    assert trees.same(trees.merge(old, patch), new)
    assert (patch == {}) == trees.same(old, new)


@given(
    st.binary(max_size=60)
    | st.recursive(
        st.none() | LEAF,
        lambda i: st.dictionaries(st.sampled_from(["state", "desired", "version", "clientToken"]), i) | st.lists(i),
        max_leaves=8,
    ).map(lambda v: json.dumps(v).encode())
)
def test_whatever_is_sent_is_answered(request_body: bytes) -> None:
    for method in (update, get, delete):
        answer = method(made(desired={"a": 1}), request_body, 100)
        assert read(answer.payload)["timestamp"] == 100


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"state":{}}', to_text(made()).replace("null", '"x"')])
def test_what_is_no_stored_shadow_is_told(text: str) -> None:
    with pytest.raises(ValueError, match=r"stored shadow|Expecting value"):
        from_text(text)
