"""Job documents: what is carried out, and why all else is refused."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.pure import jobs
from edge_runtime.pure.jobs import Deploy, Invoke, Order, RefusalError, Restart

INVOKE = {"version": "1.0", "operation": "edge.invoke", "function": "irrigate"}
BUNDLE = {
    "url": "https://s3.eu-west-1.amazonaws.com/bucket/app-1.4.0.zip?X-Amz-Signature=abc",
    "sha256": "AB" * 32,
    "size": 48213,
    "signature": base64.b64encode(b"s" * 64).decode(),
    "release": "1.4.0",
}
DEPLOY = {"version": "1.0", "operation": "edge.deploy", "bundle": BUNDLE, "rollback": {"healthCheckSeconds": 30}}


def test_a_function_is_run() -> None:
    assert jobs.read(INVOKE) == Order("edge.invoke", Invoke("irrigate", b"{}"))
    document = {**INVOKE, "payload": {"minutes": [3, None, "ü"]}, "timeout": 60, "stepTimeoutInMinutes": 5}
    assert jobs.read(document) == Order(
        "edge.invoke", Invoke("irrigate", b'{"minutes":[3,null,"\\u00fc"]}', 60.0), step_minutes=5
    )


def test_the_host_is_restarted() -> None:
    assert jobs.read({"version": "1.0", "operation": "edge.restart"}) == Order("edge.restart", Restart())


def test_a_bundle_is_deployed() -> None:
    assert jobs.read(DEPLOY).action == Deploy(BUNDLE["url"], "ab" * 32, 48213, b"s" * 64, "1.4.0", 30.0)  # type: ignore[arg-type]  # the values of BUNDLE are of several types
    without = {key: value for key, value in DEPLOY.items() if key != "rollback"}
    assert jobs.read(without).action.health_check_s == 60.0  # type: ignore[union-attr]  # it is a deployment
    assert jobs.read({**DEPLOY, "bundle": {**BUNDLE, "release": 7}}).action.release == "7"  # type: ignore[union-attr]  # same


def deep(levels: int) -> object:
    found: object = 1
    for _ in range(levels):
        found = [found]
    return found


def test_how_deep_a_document_may_be() -> None:
    payload = deep(jobs.MOST_LEVELS - 1)  # and the document around it
    assert jobs.read({**INVOKE, "payload": payload}).action == Invoke("irrigate", b"[" * 31 + b"1" + b"]" * 31)
    with pytest.raises(RefusalError, match="deeper than 32 levels"):
        jobs.read({**INVOKE, "payload": deep(jobs.MOST_LEVELS)})
    with pytest.raises(RefusalError, match="deeper than 32 levels"):
        jobs.read({**INVOKE, "payload": deep(100_000)})


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (None, "the job document is no JSON object"),
        ([], "the job document is no JSON object"),
        ("rm -rf /", "the job document is no JSON object"),
        ({}, "the version of the job document is missing; known: '1.0'"),
        ({"version": 1.0, "operation": "edge.restart"}, "the version of the job document is 1.0; known: '1.0'"),
        ({"version": "2.0", "operation": "edge.restart"}, "'2.0'; known: '1.0'"),
        ({"version": ["1.0"]}, "the version of the job document is a list"),
        ({"version": "1.0"}, "the operation is missing; known: edge.deploy, edge.invoke, edge.restart"),
        ({"version": "1.0", "operation": "reboot"}, "the operation is 'reboot'; known: edge.deploy,"),
        ({"version": "1.0", "operation": ["edge.restart"]}, "the operation is a list"),
        ({"version": "1.0", "operation": {"a": 1}}, "the operation is an object"),
        ({"version": "1.0", "operation": "x" * 100}, r"xxx\.\.\.; known"),
        (
            {"version": "1.0", "steps": [{"action": {"name": "x", "type": "runCommand", "input": {"command": "id"}}}]},
            r"steps \(runHandler, runCommand\) are never carried out here",
        ),
        ({"version": "1.0", "operation": "edge.restart", "steps": []}, "never carried out here"),
        ({"version": "1.0", "operation": "edge.restart", "command": "id"}, "unknown key 'command'; known: nothing but"),
        ({"version": "1.0", "operation": "edge.restart", "stepTimeoutInMinutes": 0}, "from 1 to 10080"),
        ({"version": "1.0", "operation": "edge.restart", "stepTimeoutInMinutes": True}, "stepTimeoutInMinutes is True"),
        ({"version": "1.0", "operation": "edge.restart", "stepTimeoutInMinutes": 10_081}, "is 10081; it must be"),
    ],
)
def test_what_is_no_document_of_ours(document: object, words: str) -> None:
    with pytest.raises(RefusalError, match=words):
        jobs.read(document)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"function": None}, "function is missing, which is no name"),
        ({"function": "a/b"}, "function is 'a/b', which is no name of a function"),
        ({"function": "../x"}, "no name of a function"),
        ({"function": "x" * 65}, "no name of a function"),
        ({"function": 7}, "function is 7"),
        ({"timeout": 0}, "timeout is 0; it must be seconds, more than 0 and at most 900"),
        ({"timeout": 901}, "timeout is 901"),
        ({"timeout": True}, "timeout is True"),
        ({"timeout": "60"}, "timeout is '60'"),
        ({"timeout": float("nan")}, "timeout is nan"),
        ({"payload": float("inf")}, "payload holds a number that is none"),
        ({"payload": {"a": object()}}, "payload holds a number that is none"),
        ({"Payload": {}}, "unknown key 'Payload'; known: function, payload, timeout"),
    ],
)
def test_what_is_wrong_with_a_call(change: dict[str, Any], words: str) -> None:
    with pytest.raises(RefusalError, match=words):
        jobs.read({**INVOKE, **change})


def test_a_call_needs_a_function() -> None:
    with pytest.raises(RefusalError, match="the job document has no 'function'"):
        jobs.read({"version": "1.0", "operation": "edge.invoke"})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"url": 7}, "url of the bundle is no address"),
        ({"url": ""}, "url of the bundle is no address"),
        ({"url": "https://" + "x" * 8192}, "url of the bundle is no address"),
        ({"url": "https://exämple.com/a"}, "url of the bundle is no address"),
        ({"url": "https://example.com/a\r\nHost: b"}, "url of the bundle is no address"),
        ({"url": "https://example.com/a b"}, "no https address"),
        ({"url": "http://example.com/a"}, "no https address"),
        ({"url": "file:///etc/shadow"}, "no https address"),
        ({"url": "https:///a"}, "no https address"),
        ({"url": "https://example.com:0/a"}, "no https address"),
        ({"url": "https://example.com:99999/a"}, "no address"),
        ({"url": "https://[::1/a"}, "no address"),
        ({"url": "https://me:secret@example.com/a"}, "holds a user name or a password"),
        ({"url": "${aws:iot:s3-presigned-url:https://s3.amazonaws.com/b/k}"}, "--presigned-url-config"),
        ({"sha256": "ab"}, "sha256 of the bundle is not 64 hex digits"),
        ({"sha256": "../" * 21 + "a"}, "sha256 of the bundle is not 64 hex digits"),
        ({"sha256": 5}, "sha256 of the bundle is not 64 hex digits"),
        ({"size": 0}, "size is 0; it must be a whole number from 1"),
        ({"size": 1.5}, "size is 1.5"),
        ({"size": True}, "size is True"),
        ({"size": (4 << 30) + 1}, "size is 4294967297"),
        ({"signature": "?"}, "signature of the bundle is not the base64 of 64 bytes"),
        ({"signature": base64.b64encode(b"s" * 63).decode()}, "signature of the bundle"),
        ({"signature": None}, "signature of the bundle"),
        ({"release": "1.4.0-rc1"}, "the release is '1.4.0-rc1'; write one to four numbers"),
        ({"release": "01"}, "the release is '01'"),
        ({"release": "1.2.3.4.5"}, "the release is '1.2.3.4.5'"),
        ({"release": "1.٢"}, "write one to four numbers"),
        ({"release": -1}, "the release is -1"),
        ({"release": 10**9}, "the release is 1000000000"),
        ({"release": True}, "the release is True"),
        ({"script": "id"}, "bundle has an unknown key 'script'"),
    ],
)
def test_what_is_wrong_with_a_bundle(change: dict[str, Any], words: str) -> None:
    with pytest.raises(RefusalError, match=words):
        jobs.read({**DEPLOY, "bundle": {**BUNDLE, **change}})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"bundle": "https://x/y"}, "bundle is no JSON object"),
        ({"bundle": {}}, "bundle has no 'release'"),
        ({"rollback": 60}, "rollback is no JSON object"),
        ({"rollback": {"healthCheckSeconds": 3601}}, "healthCheckSeconds is 3601"),
        ({"rollback": {"command": "id"}}, "rollback has an unknown key 'command'"),
    ],
)
def test_what_is_wrong_with_a_deployment(change: dict[str, Any], words: str) -> None:
    with pytest.raises(RefusalError, match=words):
        jobs.read({**DEPLOY, **change})


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    ["version", "operation", "function", "payload", "timeout", "bundle", "rollback", "stepTimeoutInMinutes", "steps"]
)


@given(
    base=st.sampled_from([INVOKE, DEPLOY, {"version": "1.0", "operation": "edge.restart"}]),
    change=st.dictionaries(FIELDS, VALUES, max_size=3),
    inner=st.dictionaries(st.sampled_from([*BUNDLE, "more"]), VALUES, max_size=2),
)
def test_any_document_is_valid_or_refused_with_a_reason(
    base: dict[str, Any], change: dict[str, Any], inner: dict[str, Any]
) -> None:
    document = {**base, **change}
    if isinstance(document.get("bundle"), dict):
        document["bundle"] = {**document["bundle"], **inner}
    try:
        order = jobs.read(document)
    except RefusalError as error:
        if not str(error):
            pytest.fail("there is no reason")
        return
    assert order.operation in {"edge.deploy", "edge.invoke", "edge.restart"}
    if isinstance(order.action, Invoke):
        assert json.loads(order.action.payload) == document.get("payload", {})


def test_a_fresh_copy_may_have_another_address_and_nothing_else() -> None:
    old = jobs.read(DEPLOY)
    fresh = jobs.read({**DEPLOY, "bundle": {**BUNDLE, "url": "https://other.example/app.zip"}})
    assert jobs.renewed(old, fresh) == fresh
    for change in ({"size": 1}, {"sha256": "cd" * 32}, {"release": "1.4.1"}):
        assert jobs.renewed(old, jobs.read({**DEPLOY, "bundle": {**BUNDLE, **change}})) is None
    assert jobs.renewed(old, jobs.read(INVOKE)) is None
    assert jobs.renewed(jobs.read(INVOKE), jobs.read(INVOKE)) == jobs.read(INVOKE)
    assert jobs.renewed(replace(old, step_minutes=3), fresh) is None


@pytest.mark.parametrize(
    ("older", "newer"),
    [("1.9", "1.10"), ("1.4.0", "1.4.1"), ("1.4", "1.4.0.1"), ("0", "1"), ("9", "10"), ("1.99.99", "2")],
)
def test_releases_are_ordered_by_their_numbers(older: str, newer: str) -> None:
    assert jobs.release_order(older) < jobs.release_order(newer)


def test_zeros_at_the_end_of_a_release_do_not_count() -> None:
    assert jobs.release_order("1.4") == jobs.release_order("1.4.0") == jobs.release_order("1.4.0.0")
    assert jobs.release_order("0.0") == ()


KEY = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
PEM = """-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=
-----END PUBLIC KEY-----
"""


def test_a_key_is_read_from_pem_and_from_base64() -> None:
    assert jobs.public_key(PEM) == KEY
    assert jobs.public_key(PEM.replace("\n", "\r\n")) == KEY
    assert jobs.public_key(base64.b64encode(KEY).decode()) == KEY
    assert jobs.key_file(KEY) == base64.b64decode(PEM.splitlines()[1])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "neither a PEM with a PUBLIC KEY nor the base64 of 32 bytes"),
        ("keys/release.pem", "neither a PEM"),
        (base64.b64encode(KEY[:31]).decode(), "neither a PEM"),
        (PEM.replace("MCow", "MCww"), "this is no Ed25519 key; make one with: openssl genpkey -algorithm ed25519"),
        (PEM.replace("MCow", "?"), "this is no Ed25519 key"),
        ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "this is a private key, which is to stay"),
    ],
)
def test_what_is_no_key(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        jobs.public_key(text)
