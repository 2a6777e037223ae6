"""The platform's own lines, as the runtime itself writes them, and a handler's that look alike."""

from __future__ import annotations

import pytest

from edge_runtime.pure.platform_lines import is_platform
from edge_runtime.workers._report import Usage, whole_log


@pytest.mark.parametrize("as_json", [False, True])
def test_all_that_the_runtime_writes_is_known(*, as_json: bool) -> None:
    lines = whole_log("r-1", "", Usage(1.5, 128, 2048, 3.0), as_json=as_json).splitlines()
    assert len(lines) >= 2
    assert [line for line in lines if not is_platform(line)] == []


@pytest.mark.parametrize(
    "line", ["", "START", '{"time": "now", "type": "mine"}', '{"type": "platform.start"}', " END RequestId: x"]
)
def test_what_a_handler_prints_is_not(line: str) -> None:
    assert not is_platform(line)
