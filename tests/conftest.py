"""What tests of several folders share."""

from __future__ import annotations

import pytest

from edge_runtime.standin import certs
from tests.identities import Authority


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Return an authority that signs the certificates of brokers and devices; one is enough for a whole run."""
    folder = tmp_path_factory.mktemp("authority")
    return Authority(certs.make(folder / "tls"), folder / "work")
