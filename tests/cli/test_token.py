"""`edge token`, against a host that answers as told."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from tests.cli.fakehost import edge, running

VARIABLES = {"AWS_ENDPOINT_URL": "http://127.0.0.1:4711", "AWS_SESSION_TOKEN": "a b'c"}


def test_the_variables_are_for_a_shell(tmp_path: Path) -> None:
    with running(tmp_path, {"endpoint": {"variables": VARIABLES}}):
        result = edge(["token", "--state", tmp_path])
    assert result.exit_code == 0
    lines = [shlex.split(line) for line in result.stdout.splitlines()]
    assert lines == [["export", "AWS_ENDPOINT_URL=http://127.0.0.1:4711"], ["export", "AWS_SESSION_TOKEN=a b'c"]]


def test_the_variables_as_json(tmp_path: Path) -> None:
    with running(tmp_path, {"endpoint": {"variables": VARIABLES}}):
        assert json.loads(edge(["token", "--json", "--state", tmp_path]).stdout) == VARIABLES


def test_without_a_host_it_says_what_to_do(tmp_path: Path) -> None:
    result = edge(["token", "--state", tmp_path])
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == "hint: start it: edge run"
