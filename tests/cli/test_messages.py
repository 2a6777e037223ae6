"""publish and tail, against a host that answers as told."""

from __future__ import annotations

import json
from pathlib import Path

from edge_runtime.control import pack, unpack
from edge_runtime.errors import LimitError
from tests.cli.fakehost import edge, running

ITEM = {"topic": "device/soil", "source": "device/soil", "time": 1_700_000_000.5, "id": "i-1"}


def test_publish_sends_the_bytes_and_prints_the_id(tmp_path: Path) -> None:
    with running(tmp_path, {"publish": {"id": "0190-7"}}) as host:
        result = edge(["publish", "a/b", "näh", "--state", tmp_path])
    assert (result.exit_code, result.stdout, result.stderr) == (0, "0190-7\n", "")
    [(verb, args)] = host.asked
    assert (verb, args["topic"], unpack(args["payload"])) == ("publish", "a/b", "näh".encode())


def test_publish_reads_any_bytes_from_the_standard_input(tmp_path: Path) -> None:
    with running(tmp_path, {"publish": {"id": "x"}}) as host:
        result = edge(["publish", "a", "-", "--state", tmp_path, "--json"], stdin=b"\x00\xff\n")
    assert json.loads(result.stdout) == {"id": "x"}
    assert unpack(host.asked[0][1]["payload"]) == b"\x00\xff\n"


def test_publish_without_a_payload_sends_nothing(tmp_path: Path) -> None:
    with running(tmp_path, {"publish": {"id": "x"}}) as host:
        edge(["publish", "a", "--state", tmp_path])
    assert unpack(host.asked[0][1]["payload"]) == b""


def test_what_the_host_refuses_is_an_error_with_a_hint(tmp_path: Path) -> None:
    with running(tmp_path, {"publish": LimitError("topic 'a/+' holds '+'", hint="take it away")}):
        result = edge(["publish", "a/+", "--state", tmp_path])
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "error: topic 'a/+' holds '+'\nhint: take it away\n"


def test_without_a_host_the_hint_says_how_to_start_one(tmp_path: Path) -> None:
    result = edge(["publish", "a", "--state", tmp_path])
    assert result.exit_code == 1
    assert result.stderr == f"error: no host is running with the state folder {tmp_path}\nhint: start it: edge run\n"


def test_tail_shows_a_line_for_each_event(tmp_path: Path) -> None:
    items = [
        {**ITEM, "payload": pack(b'{"value": 1}'), "targets": ["function/f", "uplink"]},
        {**ITEM, "payload": pack(b"\x00\xff"), "targets": []},
    ]
    with running(tmp_path, {"tail": items}) as host:
        result = edge(["tail", "device/#", "--state", tmp_path])
    assert host.asked == [("tail", {"filter": "device/#"})]
    first, second = result.stdout.splitlines()
    assert first.endswith('  device/soil  device/soil > function/f,uplink  {"value": 1}')
    assert second.endswith("  device/soil  device/soil > nobody  <2 bytes 0x00ff>")


def test_tail_marks_a_time_that_is_an_estimate(tmp_path: Path) -> None:
    items = [
        {**ITEM, "payload": pack(b"1"), "targets": [], "clock": clock} for clock in ("unsynced", "corrected", "synced")
    ]
    with running(tmp_path, {"tail": items}):
        lines = edge(["tail", "--state", tmp_path]).stdout.splitlines()
    assert ["?  device/soil  device" in line for line in lines] == [True, False, False]


def test_tail_lets_nothing_through_that_a_terminal_obeys(tmp_path: Path) -> None:
    evil = {"topic": "a\x1b[2J\nb", "source": "x\u202ey", "time": 0.0, "id": "", "targets": ["\r"]}
    with running(tmp_path, {"tail": [{**evil, "payload": pack(b"\x1b]0;title\x07\n" + b"x" * 300)}]}):
        result = edge(["tail", "--state", tmp_path])
    [line] = result.stdout.splitlines()
    assert line.isprintable()
    assert r"a\x1b[2J\nb  x\u202ey > \r  \x1b]0;title\x07\nxxx" in line
    assert line.endswith("x...")


def test_tail_as_json_is_an_object_a_line(tmp_path: Path) -> None:
    items = [
        {**ITEM, "payload": pack("grün\n".encode()), "targets": ["uplink"]},
        {**ITEM, "payload": pack(b"\xff"), "targets": []},
    ]
    with running(tmp_path, {"tail": items}):
        result = edge(["tail", "--state", tmp_path, "--json"])
    assert result.stdout.isascii()
    assert [json.loads(line) for line in result.stdout.splitlines()] == [
        {**ITEM, "targets": ["uplink"], "payload": "grün\n"},
        {**ITEM, "targets": [], "payload_base64": "/w=="},
    ]
