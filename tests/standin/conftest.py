"""What tests of the stand-in share."""

from __future__ import annotations

import shutil

import pytest

from edge_runtime.standin.certs import Certificates, make


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Return one set of certificates for all."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    return make(tmp_path_factory.mktemp("certs"), client="edge-1")
