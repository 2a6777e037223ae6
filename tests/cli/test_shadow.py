"""shadow, against a host that answers as told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge_runtime.control import pack, unpack
from tests.cli.fakehost import edge, running


def answer(status: int = 200, **body: object) -> dict[str, object]:
    return {"code": status, "payload": pack(json.dumps(body).encode())}


def test_ls(tmp_path: Path) -> None:
    with running(tmp_path, {"shadow.ls": {"names": ["", "door"]}}):
        assert edge(["shadow", "ls", "--state", tmp_path]).stdout.splitlines() == ["SHADOW", "classic", "door"]
        assert json.loads(edge(["shadow", "ls", "--json", "--state", tmp_path]).stdout) == ["classic", "door"]
    with running(tmp_path, {"shadow.ls": {"names": []}}):
        assert edge(["shadow", "ls", "--state", tmp_path]).stdout == "there are no shadows\n"


def test_get_and_delete(tmp_path: Path) -> None:
    with running(tmp_path, {"shadow": answer(version=3, state={"desired": {"a": 1}})}) as host:
        got = edge(["shadow", "get", "--state", tmp_path])
        asked = edge(["shadow", "delete", "door", "--state", tmp_path], stdin=b"n\n")
        deleted = edge(["shadow", "delete", "door", "--yes", "--state", tmp_path])
    assert json.loads(got.stdout) == {"version": 3, "state": {"desired": {"a": 1}}}
    assert asked.exit_code == 1
    assert deleted.stdout == "deleted at version 3\n"
    assert host.asked == [
        ("shadow", {"method": "get", "name": ""}),
        ("shadow", {"method": "delete", "name": "door"}),
    ]


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ('{"desired": {"pump": "on"}}', {"state": {"desired": {"pump": "on"}}}),
        ('{"state": {"reported": null}, "version": 2}', {"state": {"reported": None}, "version": 2}),
        ("[]", []),
    ],
)
def test_update_takes_a_state_or_a_whole_request(tmp_path: Path, written: str, sent: object) -> None:
    with running(tmp_path, {"shadow": answer(version=1)}) as host:
        edge(["shadow", "update", written, "door", "--state", tmp_path])
        edge(["shadow", "update", "-", "--state", tmp_path], stdin=written.encode())
    (_, named), (_, classic) = host.asked
    assert (named["method"], named["name"], classic["name"]) == ("update", "door", "")
    assert json.loads(unpack(named["payload"])) == json.loads(unpack(classic["payload"])) == sent


def test_what_is_no_json_is_not_sent(tmp_path: Path) -> None:
    result = edge(["shadow", "update", "{pump: on}", "--state", tmp_path])
    assert result.exit_code == 1
    assert result.stderr.startswith("error: the state is no JSON")


@pytest.mark.parametrize(
    ("code", "message", "hint"),
    [
        (404, "No shadow exists with name: x", "hint: edge shadow ls lists those that are there\n"),
        (409, "Version conflict", "hint: somebody was quicker: edge shadow get, and try again\n"),
        (403, "Forbidden", ""),
    ],
)
def test_a_refusal_is_told_in_the_words_of_aws(tmp_path: Path, code: int, message: str, hint: str) -> None:
    with running(tmp_path, {"shadow": answer(code, code=code, message=message)}):
        result = edge(["shadow", "get", "x", "--state", tmp_path])
    assert result.exit_code == 1
    assert result.stderr == f"error: {code} {message}\n{hint}"
