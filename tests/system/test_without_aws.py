"""The walk of docs/guides/without-aws.md, command by command, as a person does it: each says what the guide shows."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.system.guide import GUIDES, at_work, is_shown, steps


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")
def test_the_guide_is_true(tmp_path: Path) -> None:
    pytest.importorskip("boto3")
    done = list(steps((GUIDES / "without-aws.md").read_text(encoding="utf-8")))
    assert len(done) > 30
    with at_work(tmp_path, ("8883", "8444")) as person:
        for step in done:
            person.do(step)
        assert person.leave() == [0, 0]


@pytest.mark.parametrize(
    ("said", "shown", "outcome"),
    [
        ("a\nb\nc\n", "a\n...\nc\n", True),
        ("a\nc\n", "a\n...\nc\n", True),
        ("a\nb\n", "a\n", False),
        ("a\nb\n", "a\n...\n", True),
        ("12:00 I x: up\nmore\n", "... up\n...\n", True),
        ("up for 2 min 3 s, 5 B\n", "up for 1 s, 77 B\n", True),
        ("up for 2 s, 1 left\n", "up for 1 s, 2 left\n", False),
    ],
)
def test_what_counts_as_shown(said: str, shown: str, outcome: bool) -> None:  # noqa: FBT001 - a row of the table
    assert is_shown(said, shown) is outcome
