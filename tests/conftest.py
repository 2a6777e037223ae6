"""What tests of several folders share."""

from __future__ import annotations

import pytest
from hypothesis import settings

from edge_runtime.standin import certs
from tests.identities import Authority

# How long one example takes is what the machine does beside it; speed is measured in tests/benchmarks.
settings.register_profile("plain", deadline=None)
settings.load_profile("plain")


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Return an authority that signs the certificates of brokers and devices; one is enough for a whole run."""
    folder = tmp_path_factory.mktemp("authority")
    return Authority(certs.make(folder / "tls"), folder / "work")
