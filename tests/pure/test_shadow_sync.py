"""A shadow here and its twin in the cloud come together."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.pure import _shadow_tree as trees
from edge_runtime.pure.shadow import Accepted, Document, delete, update
from edge_runtime.pure.shadow_sync import (
    Conflict,
    Met,
    News,
    Outgoing,
    Reconciled,
    after,
    is_old,
    meet,
    news_of,
    outgoing,
    reconcile,
    since,
    twin_of,
)

LEAF = st.booleans() | st.integers(-2, 2) | st.sampled_from([0.5, "a"]) | st.lists(st.integers(0, 1), max_size=2)
KEY = st.sampled_from(["a", "b", "c"])
VALUE = st.recursive(LEAF, lambda inner: st.dictionaries(KEY, inner, max_size=2), max_leaves=5)
TREE = st.dictionaries(KEY, VALUE, max_size=3)
STATE = st.fixed_dictionaries({}, optional={"desired": TREE, "reported": TREE})

State = dict[str, object]


def change(document: Document | None, now: int, state: trees.Tree) -> Document:
    answer = update(document, trees.encode({"state": state}), now)
    assert isinstance(answer, Accepted)
    return answer.document


def made(state: trees.Tree, now: int = 100) -> Document:
    return change(None, now, state)


def gone(document: Document) -> Document:
    answer = delete(document, b"", 200)
    assert isinstance(answer, Accepted)
    return answer.document


def agreed(document: Document, version: int) -> Document:
    """Return the document after it has met a twin that holds the same."""
    met = meet(document, replace(document, version=version), 150)
    assert met.document is not None
    return met.document


def test_what_the_cloud_knows_is_not_dirty() -> None:
    document = made({"reported": {"a": 1}})
    assert document.dirty
    known = agreed(document, 4)
    assert (known.dirty, known.cloud_version, known.base) == (False, 4, {"reported": {"a": 1}})
    assert change(known, 200, {"reported": {"a": 2}}).dirty
    assert not change(known, 200, {"reported": {"a": 1.0}}).dirty
    assert gone(known).dirty
    assert not gone(document).dirty
    forgotten = meet(gone(known), None, 200).document
    assert forgotten is not None
    assert not forgotten.dirty


def test_many_updates_offline_become_one() -> None:
    document = agreed(made({"desired": {"x": 1}, "reported": {"a": 1, "b": {"c": 1, "d": 2}}}), 4)
    assert outgoing(document) is None
    for state in ({"a": 2}, {"b": {"c": None}}, {"a": 3, "e": [1]}, {"e": [2]}, {"f": 1}, {"f": None}, {"b": {"d": 2}}):
        document = change(document, 200, {"reported": state})
    assert outgoing(document) == Outgoing(False, {"reported": {"a": 3, "b": {"c": None}, "e": [2]}}, 4)
    assert outgoing(made({"reported": {"a": 1}})) == Outgoing(False, {"reported": {"a": 1}}, 0)
    assert outgoing(gone(document)) == Outgoing(True, {}, 0)
    assert outgoing(None) is None


@given(STATE, STATE)
def test_the_one_update_leads_from_the_base_to_here(base: State, state: State) -> None:
    document = replace(agreed(made(base), 1), state=state)
    out = outgoing(document)
    assert document.dirty == (out is not None)
    assert trees.same(trees.merge(base, out.patch if out else {}), state)


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"state": {}},
        {"state": [], "version": 1},
        {"state": {"desired": 1}, "version": 1},
        {"state": {"reported": []}, "version": 1},
        {"state": {}, "version": "1"},
    ],
)
def test_an_answer_that_is_none(answer: State) -> None:
    assert news_of(answer) is None
    assert twin_of(answer) is None


def test_updates_are_followed_one_by_one() -> None:
    assert after(None, News({"desired": {"a": 1}}, {}, 1)) == Document({"desired": {"a": 1}}, {}, 1)
    document = change(agreed(made({"desired": {"a": 1}, "reported": {"b": 1}}), 4), 200, {"desired": {"c": 1}})
    news = news_of({"state": {"desired": {"a": 2}, "reported": None, "delta": {"x": 1}}, "version": 5, "metadata": {}})
    assert news == News({"desired": {"a": 2}, "reported": None}, {}, 5)
    assert after(document, news) == Document({"desired": {"a": 2}}, {}, 5)
    assert after(document, replace(news, version=6)) is None
    assert [is_old(document, replace(news, version=version)) for version in (3, 4, 5)] == [True, True, False]
    assert not is_old(None, news)


def test_what_was_sent_and_arrived_is_no_change_of_somebody_else() -> None:
    start = agreed(made({"desired": {"a": 0, "b": 0, "c": {"x": 0}}}), 1)
    patch = {"desired": {"a": 1, "b": None, "c": {"x": 1}}}
    back = replace(change(start, 200, {"desired": {"a": 0, "b": 0, "c": {"x": 0}}}), sent=patch)
    arrived = replace(start, state=trees.merge(start.state, patch), version=2)
    found = meet(back, arrived, 300)
    assert found.document is not None
    assert found.document.state == start.state
    assert found.document.sent is None
    assert outgoing(found.document) == Outgoing(False, {"desired": {"a": 0, "b": 0, "c": {"x": 0}}}, 2)
    lost = meet(back, start, 300)
    assert lost.document is not None
    assert outgoing(lost.document) is None


def test_who_made_a_shadow_deleted_it_and_cannot_know_whether_it_is_there() -> None:
    mine = replace(gone(made({"reported": {"a": 1}})), sent={"reported": {"a": 1}})
    assert outgoing(meet(mine, made({"reported": {"a": 1}}), 300).document) == Outgoing(True, {}, 0)
    other = meet(mine, made({"reported": {"b": 1}}), 300)
    assert other.document is not None
    assert other.document.state == {"reported": {"b": 1}}


def test_what_is_said_here_of_what_the_cloud_has() -> None:
    start = agreed(made({"desired": {"a": 1, "b": 1}}), 1)
    same = meet(start, replace(start, version=2), 300, touched={"desired": {"a": 1, "c": 1, "d": None}})
    assert same.answer is not None
    assert (same.answer.patch, same.answer.document.version) == ({"desired": {"a": 1}}, 2)
    assert meet(start, replace(start, version=2), 300).answer is None
    deleted = meet(start, None, 300)
    assert (deleted.deleted, deleted.document and deleted.document.is_live) == (True, False)
    fresh = meet(None, Document({}, {}, 3), 300)
    assert fresh.document is not None
    assert (fresh.document.is_live, fresh.document.dirty, fresh.document.cloud_version) == (True, False, 3)
    assert meet(None, None, 300) == Met(None, None)


def test_since_when_the_cloud_does_not_know() -> None:
    assert since(None) is None
    known = agreed(made({"reported": {"a": 1, "b": [1]}}, 100), 1)
    assert since(known) is None
    assert since(change(change(known, 200, {"reported": {"b": [2]}}), 300, {"reported": {"a": 2}})) == 200
    assert since(change(known, 200, {"reported": {"a": None}})) is None
    assert since(gone(known)) == 200


@pytest.mark.parametrize(
    ("base", "local", "cloud", "merged"),
    [
        ({"a": 1}, {"a": 1}, {"a": 1}, ({"a": 1}, {"a": 1})),
        ({"a": 1}, {"a": 2}, {"a": 1}, ({"a": 2}, {"a": 2})),  # only here
        ({"a": 1}, {"a": 1}, {"a": 3}, ({"a": 3}, {"a": 3})),  # only there
        ({"a": 1}, {"a": 2}, {"a": 3}, ({"a": 3}, {"a": 2})),  # desired: the cloud's; reported: the device's
        ({"a": 1}, {}, {"a": 3}, ({"a": 3}, {})),
        ({"a": 1}, {"a": 2}, {}, ({}, {"a": 2})),
        ({"a": 1}, {}, {"a": 1}, ({}, {})),
        ({}, {"a": 2}, {"b": 3}, ({"a": 2, "b": 3}, {"a": 2, "b": 3})),
        ({"a": {"x": 1, "y": 1}}, {"a": {"x": 2, "y": 1}}, {"a": {"x": 1, "y": 3}}, ({"a": {"x": 2, "y": 3}},) * 2),
        ({"a": [1]}, {"a": [1, 2]}, {"a": [1, 3]}, ({"a": [1, 3]}, {"a": [1, 2]})),
        ({"a": 1}, {"a": {"x": 1}}, {"a": 3}, ({"a": 3}, {"a": {"x": 1}})),
    ],
)
def test_who_wins(base: State, local: State, cloud: State, merged: tuple[State, State]) -> None:
    start = agreed(made({"desired": base, "reported": base}), 1)
    here = replace(start, state={"desired": local, "reported": local})
    found = reconcile(here, made({"desired": cloud, "reported": cloud}))
    assert found.state == {"desired": merged[0], "reported": merged[1]}


def test_the_patches_are_no_larger_than_needed() -> None:
    start = agreed(made({"reported": {"a": 1, "b": 1, "c": 1}}), 1)
    found = reconcile(change(start, 200, {"reported": {"a": 2}}), made({"reported": {"a": 1, "b": 3}}))
    assert found == Reconciled(
        {"reported": {"a": 2, "b": 3}},
        local={"reported": {"b": 3, "c": None}},
        cloud={"reported": {"a": 2}},
    )


@pytest.mark.parametrize("section", ["desired", "reported"])
@pytest.mark.parametrize(("here", "there", "expected"), [(300, 200, 2), (200, 300, 3)])
def test_the_latest_wins_on_request(section: str, here: int, there: int, expected: int) -> None:
    start = agreed(made({section: {"a": 1}}), 1)
    local = change(start, here, {section: {"a": 2}})
    cloud = change(start, there, {section: {"a": 3}})
    assert reconcile(local, cloud, Conflict.LATEST_TIMESTAMP).state == {section: {"a": expected}}


def test_when_even_the_section_decides_and_what_was_deleted_loses() -> None:
    start = agreed(made({"desired": {"a": 1, "b": 1}, "reported": {"a": 1}}), 1)
    local = change(start, 200, {"desired": {"a": 2, "b": 5}, "reported": {"a": 2}})
    cloud = change(start, 200, {"desired": {"a": 3, "b": None}, "reported": {"a": 3}})
    found = reconcile(local, cloud, Conflict.LATEST_TIMESTAMP)
    assert found.state == {"desired": {"a": 3, "b": 5}, "reported": {"a": 2}}


def test_when_only_one_side_has_it() -> None:
    state = {"reported": {"a": 1}}
    document = made(state)
    known = agreed(document, 3)
    nothing = Reconciled(None, {}, {})
    assert reconcile(None, None) == nothing
    assert reconcile(gone(document), None) == nothing
    assert reconcile(document, None) == Reconciled(state, {}, state)
    assert reconcile(None, document) == Reconciled(state, state, {})
    assert reconcile(gone(document), made(state)) == Reconciled(state, state, {})
    assert reconcile(known, None) == Reconciled(None, {}, {}, delete_local=True)
    assert reconcile(gone(known), made(state)) == Reconciled(None, {}, {}, delete_cloud=True)
    assert reconcile(gone(known), None) == nothing


@given(st.none() | STATE, STATE, STATE, st.sampled_from(Conflict), st.integers(99, 101))
def test_once_is_enough(base: State | None, local: State, cloud: State, how: Conflict, when: int) -> None:
    here = replace(made(local), base=base)
    there = made(cloud, when)
    found = reconcile(here, there, how)
    assert found.state is not None
    assert trees.same(trees.merge(local, found.local), found.state)
    assert trees.same(trees.merge(cloud, found.cloud), found.state)
    after = agreed(change(here, 300, found.local), there.version + 1)
    assert not after.dirty
    again = reconcile(after, change(there, 300, found.cloud), how)
    assert trees.same(again.state, found.state)
    assert (again.local, again.cloud) == ({}, {})


@given(STATE, STATE, st.sampled_from(Conflict))
def test_a_side_that_did_not_change_takes_all_from_the_other(base: State, other: State, how: Conflict) -> None:
    still = agreed(made(base), 1)
    assert trees.same(reconcile(still, made(other), how).state, other)
    assert trees.same(reconcile(replace(still, state=other), made(base), how).state, other)
