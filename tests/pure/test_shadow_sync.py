"""A shadow here and its twin in the cloud come together."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.pure import _shadow_tree as trees
from edge_runtime.pure.shadow import Accepted, Document, delete, update
from edge_runtime.pure.shadow_sync import Conflict, Reconciled, agreed, coalesce, reconcile

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


def test_what_the_cloud_knows_is_not_dirty() -> None:
    document = made({"reported": {"a": 1}})
    assert document.dirty
    known = agreed(document, 4)
    assert (known.dirty, known.cloud_version, known.base) == (False, 4, {"reported": {"a": 1}})
    assert change(known, 200, {"reported": {"a": 2}}).dirty
    assert not change(known, 200, {"reported": {"a": 1.0}}).dirty
    assert gone(known).dirty
    assert not agreed(gone(known), 4).dirty
    assert not gone(document).dirty


def test_many_updates_offline_become_one() -> None:
    document = agreed(made({"desired": {"x": 1}, "reported": {"a": 1, "b": {"c": 1, "d": 2}}}), 4)
    assert coalesce(document) is None
    for state in ({"a": 2}, {"b": {"c": None}}, {"a": 3, "e": [1]}, {"e": [2]}, {"f": 1}, {"f": None}, {"b": {"d": 2}}):
        document = change(document, 200, {"reported": state})
    assert json.loads(coalesce(document) or b"") == {
        "state": {"reported": {"a": 3, "b": {"c": None}, "e": [2]}},
        "version": 4,
    }
    assert json.loads(coalesce(made({"reported": {"a": 1}})) or b"") == {"state": {"reported": {"a": 1}}}
    assert coalesce(gone(document)) is None


@given(STATE, STATE)
def test_the_one_update_leads_from_the_base_to_here(base: State, state: State) -> None:
    document = replace(agreed(made(base), 1), state=state)
    request = coalesce(document)
    assert document.dirty == (request is not None)
    patch = json.loads(request)["state"] if request else {}
    assert trees.same(trees.merge(base, patch), state)


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
