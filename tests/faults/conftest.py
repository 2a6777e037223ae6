"""One subject for all fault tests: forking it is cheaper than starting it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.lab import Lab, library


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """Return the subject, with the fault injector where there is a compiler."""
    with Lab(library()) as lab:
        yield lab
