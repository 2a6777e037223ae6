"""invoke, against a host that answers as told, and without one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.control import pack, unpack
from edge_runtime.errors import NotFoundError
from tests.cli.fakehost import edge, running

ANSWER = {
    "payload": pack(b'{"water": true}'),
    "error": "",
    "log": "START RequestId: r Version: $LATEST\nhello \x1b[1m\tyou\nEND RequestId: r\nREPORT RequestId: r\tx\t\n",
    "duration_ms": 1.5,
    "init_ms": 20.0,
    "peak_kb": 9000,
}
FAULT = {
    "errorMessage": "no \x1b[1msoil",
    "errorType": "KeyError",
    "requestId": "r",
    "stackTrace": ['  File "/var/task/app.py", line 3, in handler\n    return event["soil"]\n'],
}
FAILED = {
    **ANSWER,
    "error": "KeyError",
    "payload": pack(json.dumps(FAULT).encode()),
    "log": "START RequestId: r\nhi\n[ERROR] KeyError: no soil\rTraceback (most recent call last):\r\u00a0 x\n",
}
HANDLER = """
def handler(event, context):
    print("called with", event)
    subject = context.client_context.custom["subject"] if context.client_context else None
    return {"got": event["n"], "subject": subject}
"""


def test_the_reply_goes_to_the_output_and_the_rest_apart(tmp_path: Path) -> None:
    (tmp_path / "event.json").write_text('{"a": 1}')
    with running(tmp_path, {"invoke": ANSWER}) as host:
        result = edge(["invoke", "irrigate", "--event", tmp_path / "event.json", "--state", tmp_path])
    assert (result.exit_code, result.stdout) == (0, '{"water": true}\n')
    assert result.stderr == "hello \\x1b[1m\tyou\nirrigate: 1.50 ms, init 20.00 ms, 9.2 MB of memory\n"
    [(_, args)] = host.asked
    assert (args["name"], unpack(args["payload"]), "topic" in args) == ("irrigate", b'{"a": 1}', False)


def test_a_warm_worker_has_no_init(tmp_path: Path) -> None:
    with running(tmp_path, {"invoke": {**ANSWER, "init_ms": 0, "peak_kb": 0, "log": ""}}):
        assert edge(["invoke", "f", "--state", tmp_path]).stderr == "f: 1.50 ms\n"


def test_quiet_and_whole_logs(tmp_path: Path) -> None:
    with running(tmp_path, {"invoke": ANSWER}):
        quiet = edge(["invoke", "f", "--state", tmp_path, "--quiet"])
        whole = edge(["invoke", "f", "--state", tmp_path, "--log"])
    assert (quiet.stdout, quiet.stderr) == ('{"water": true}\n', "")
    assert [line.split()[0] for line in whole.stderr.splitlines()] == ["START", "hello", "END", "REPORT", "f:"]


def test_the_event_comes_from_the_standard_input_or_is_empty(tmp_path: Path) -> None:
    with running(tmp_path, {"invoke": ANSWER}) as host:
        edge(["invoke", "f", "--event", "-", "--state", tmp_path, "--topic", "a/b"], stdin=b"[1]")
        edge(["invoke", "f", "--state", tmp_path])
    assert [unpack(args["payload"]) for _, args in host.asked] == [b"[1]", b"{}"]
    assert host.asked[0][1]["topic"] == "a/b"


def test_a_sample_event_is_taken_as_it_is_printed(tmp_path: Path) -> None:
    with running(tmp_path, {"invoke": ANSWER}) as host:
        sample = edge(["event", "s3", "put", "--bucket", "b"]).stdout
        edge(["invoke", "f", "--event", "-", "--state", tmp_path], stdin=sample.encode())
    assert json.loads(unpack(host.asked[0][1]["payload"]))["Records"][0]["s3"]["bucket"]["name"] == "b"


def test_as_json_it_is_all_in_one(tmp_path: Path) -> None:
    with running(tmp_path, {"invoke": ANSWER}):
        result = edge(["invoke", "f", "--state", tmp_path, "--json"])
    assert json.loads(result.stdout) == {**ANSWER, "payload": '{"water": true}'}
    assert result.stderr == ""


def test_a_handler_that_failed_shows_where(tmp_path: Path) -> None:
    with running(tmp_path, {"invoke": FAILED}):
        result = edge(["invoke", "f", "--state", tmp_path])
    assert (result.exit_code, json.loads(result.stdout)) == (1, FAULT)
    assert result.stderr.splitlines() == [
        "hi",
        "stack trace:",
        '  File "/var/task/app.py", line 3, in handler',
        '    return event["soil"]',
        "f: 1.50 ms, init 20.00 ms, 9.2 MB of memory",
        "error: function 'f' failed: KeyError: no \\x1b[1msoil",
    ]


def test_a_failure_in_the_way_of_node(tmp_path: Path) -> None:
    payload = pack(b'{"errorType":"E","errorMessage":"m","trace":["E: m","    at x.js:1"]}')
    with running(tmp_path, {"invoke": {**FAILED, "error": "E", "payload": payload}}):
        result = edge(["invoke", "f", "--state", tmp_path])
    assert "stack trace:\nE: m\n    at x.js:1\n" in result.stderr
    assert result.stderr.endswith("error: function 'f' failed: E: m\n")


@pytest.mark.parametrize("payload", [b"", b"[1]", b"\xff", b'{"stackTrace": 3}'])
def test_an_error_object_may_be_anything(tmp_path: Path, payload: bytes) -> None:
    with running(tmp_path, {"invoke": {**FAILED, "error": "E", "payload": pack(payload), "log": ""}}):
        result = edge(["invoke", "f", "--state", tmp_path, "--quiet"])
    assert (result.exit_code, result.stderr) == (1, "error: function 'f' failed: E\n")


def test_a_failure_as_json(tmp_path: Path) -> None:
    with running(tmp_path, {"invoke": FAILED}):
        result = edge(["invoke", "f", "--state", tmp_path, "--json"])
    assert (result.exit_code, json.loads(json.loads(result.stdout)["payload"])) == (1, FAULT)
    assert result.stderr == "error: function 'f' failed: KeyError: no \\x1b[1msoil\n"


def test_a_function_that_is_not_there(tmp_path: Path) -> None:
    missing = NotFoundError("there is no function 'g'; did you mean 'f'?", hint="known: f")
    with running(tmp_path, {"invoke": missing}):
        result = edge(["invoke", "g", "--state", tmp_path])
    assert (result.exit_code, result.stderr) == (1, f"error: {missing}\nhint: known: f\n")


@pytest.mark.parametrize(
    ("event", "words"),
    [(b"{", "error: the event is no JSON: "), (b"", "error: the event is no JSON: "), (b"x" * 7_000_000, "more than")],
)
def test_an_event_that_is_no_json_is_not_sent(tmp_path: Path, event: bytes, words: str) -> None:
    with running(tmp_path, {"invoke": ANSWER}) as host:
        result = edge(["invoke", "f", "--event", "-", "--state", tmp_path], stdin=event)
    assert result.exit_code == 1
    assert words in result.stderr
    assert host.asked == []


def test_an_event_file_that_is_not_there(tmp_path: Path) -> None:
    result = edge(["invoke", "f", "--event", tmp_path / "none", "--state", tmp_path])
    assert (result.exit_code, result.stderr) == (
        1,
        f"error: {tmp_path}/none cannot be read: No such file or directory\n",
    )


def test_later_means_into_the_queue(tmp_path: Path) -> None:
    with running(tmp_path, {"publish": {"id": "0190-7", "targets": ["function/f"]}}) as host:
        result = edge(["invoke", "f", "--async", "--event", "-", "--state", tmp_path], stdin=b"[1]")
    assert (result.exit_code, result.stdout) == (0, "0190-7\n")
    assert result.stderr.startswith("queued on topic function/f/invoke; ")
    [(_, args)] = host.asked
    assert (args["topic"], unpack(args["payload"])) == ("function/f/invoke", b"[1]")


def test_nothing_is_queued_for_a_function_that_is_not_there(tmp_path: Path) -> None:
    with running(tmp_path, {"publish": {"id": "0190-7", "targets": []}}):
        result = edge(["invoke", "g", "--async", "--state", tmp_path])
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "error: there is no function named 'g'\nhint: see what there is: edge status\n"


@pytest.mark.parametrize("other", [["--local"], ["--topic", "a"]])
def test_what_cannot_be_had_with_async(other: list[str]) -> None:
    result = edge(["invoke", "f", "--async", *other])
    assert result.exit_code == 2
    assert "--async cannot be had with" in result.stderr


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """Return the folder of an app that no host runs."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "app.py").write_text(HANDLER)
    (tmp_path / "edge.yaml").write_text("thing: a\nfunctions:\n  f: {code: code, handler: app.handler}\n")
    return tmp_path


def test_without_a_host_the_function_is_started_here(app: Path) -> None:
    result = edge(["invoke", "f", "--event", "-", "--app", app, "--topic", "x/y"], stdin=b'{"n": 7}')
    assert (result.exit_code, json.loads(result.stdout)) == (0, {"got": 7, "subject": "x/y"})
    first, second, third = result.stderr.splitlines()
    assert first == "note: no host is running; f is started here for this call"
    assert second == "called with {'n': 7}"
    assert third.startswith("f: ")
    assert " init " in third


def test_the_app_is_found_beside_the_state_folder(app: Path) -> None:
    result = edge(["invoke", "f", "--state", app / ".edge"])
    assert result.exit_code == 1
    assert result.stderr.endswith("error: function 'f' failed: KeyError: 'n'\n")
    assert 'line 5, in handler\n    return {"got": event["n"]' in result.stderr


def test_it_can_be_asked_for_while_a_host_runs(app: Path) -> None:
    with running(app / ".edge", {"invoke": ANSWER}) as host:
        result = edge(["invoke", "f", "--local", "--quiet", "--event", "-", "--app", app], stdin=b'{"n": 1}')
    assert (result.exit_code, json.loads(result.stdout)["got"], result.stderr) == (0, 1, "")
    assert host.asked == []


def test_without_a_host_and_an_app_it_says_how_to_start_one(tmp_path: Path) -> None:
    result = edge(["invoke", "f", "--state", tmp_path])
    assert result.exit_code == 1
    assert result.stderr == f"error: no host is running with the state folder {tmp_path}\nhint: start it: edge run\n"


def on_a_terminal(args: list[str], folder: Path) -> str:
    """Return what the command writes to a terminal."""
    master, slave = os.openpty()
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent.parent)}
    command = [sys.executable, "-m", "edge_runtime", *args]
    try:
        subprocess.run(command, stdout=slave, stderr=subprocess.DEVNULL, env=environment, cwd=folder, check=False)
        os.set_blocking(master, False)
        try:
            return os.read(master, 65_536).decode().replace("\r\n", "\n")
        except BlockingIOError:
            return ""
    finally:
        os.close(master)
        os.close(slave)


def answer(payload: bytes, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    return {"invoke": {**ANSWER, "payload": pack(payload), **more}}


@pytest.mark.parametrize(
    ("payload", "shown"),
    [
        ('{"a":["ä\u202e"]}'.encode(), '{\n  "a": [\n    "ä\\u202e"\n  ]\n}\n'),
        (b"\xff\x00", "<2 bytes 0xff00>\n"),
        (b"not \x1b[1m JSON", "not \\x1b[1m JSON\n"),
    ],
)
def test_on_a_terminal_the_reply_is_indented_and_harmless(tmp_path: Path, payload: bytes, shown: str) -> None:
    with running(tmp_path, answer(payload)):
        assert on_a_terminal(["invoke", "f", "--state", str(tmp_path)], tmp_path) == shown


def test_on_a_terminal_an_error_object_is_not_shown_twice(tmp_path: Path) -> None:
    with running(tmp_path, {"invoke": FAILED}):
        assert on_a_terminal(["invoke", "f", "--state", str(tmp_path)], tmp_path) == ""
