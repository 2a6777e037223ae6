"""The pytest plug-in: the fixture `edge`. It is there as soon as the package is installed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from edge_runtime.testing.station import Edge


@pytest.fixture
def edge(request: pytest.FixtureRequest) -> Iterator[Edge]:
    """Give a field station that has not been started: `edge.start("edge.yaml")`. It ends with the test.

    A relative path of the app is looked for beside the test file, then in pytest's root folder.
    """
    # Tests that do not ask for it are not to wait for it.
    from edge_runtime.host.stage import scratch_folder  # noqa: PLC0415 - as said
    from edge_runtime.testing.station import Edge  # noqa: PLC0415 - as said

    with scratch_folder() as folder, Edge(folder, (request.path.parent, request.config.rootpath)) as station:
        yield station
