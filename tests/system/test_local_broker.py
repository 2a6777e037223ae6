"""The walk of docs/guides/local-broker.md, command by command: each says what the guide shows."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.brokers import mosquitto_path
from tests.system.guide import GUIDES, at_work, steps


@pytest.mark.long
@pytest.mark.skipif(
    mosquitto_path() is None or shutil.which("mosquitto_pub") is None,
    reason="needs mosquitto and its clients (apt-get install mosquitto mosquitto-clients)",
)
def test_the_guide_is_true(tmp_path: Path) -> None:
    done = list(steps((GUIDES / "local-broker.md").read_text(encoding="utf-8")))
    assert len(done) > 12
    with at_work(tmp_path, ("8883",)) as person:
        for step in done:
            person.do(step)
        assert person.leave() == [0]
