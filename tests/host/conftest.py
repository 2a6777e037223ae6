"""What all tests of the host share."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _handlers_see_the_tests_files(monkeypatch: pytest.MonkeyPatch) -> None:
    # Handlers here tell through named pipes how far they are; what isolation does is tested with the workers.
    monkeypatch.setenv("EDGE_ISOLATION", "off")
