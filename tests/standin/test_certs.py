"""Certificates for tests and the demo."""

from __future__ import annotations

import shutil
import stat
from pathlib import Path

import pytest

from edge_runtime.errors import ConfigError
from edge_runtime.standin.certs import Certificates, make
from edge_runtime.standin.server import server_context

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")


@needs_openssl
def test_keys_are_private_and_the_server_can_use_its_files(tmp_path: Path) -> None:
    made = make(tmp_path / "certs", client="a/thing")
    assert made == Certificates(made.server, made.client)
    assert sorted(path.name for path in (tmp_path / "certs").glob("*.key")) == ["ca.key", "client.key", "server.key"]
    for path in (tmp_path / "certs").glob("*.key"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "certs").stat().st_mode) == 0o700
    server_context(made.server)


@needs_openssl
def test_making_them_again_replaces_them(tmp_path: Path) -> None:
    first = make(tmp_path).client.cert.read_bytes()
    (tmp_path / "client.key").chmod(0o644)
    again = make(tmp_path)
    assert again.client.cert.read_bytes() != first
    assert stat.S_IMODE(again.client.key.stat().st_mode) == 0o600


def test_without_openssl_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(ConfigError, match="openssl command, which is not installed") as caught:
        make(tmp_path)
    assert caught.value.hint == "apt-get install openssl"


@needs_openssl
def test_a_name_that_openssl_refuses(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"openssl req in .* failed"):
        make(tmp_path, client="x" * 65)


@needs_openssl
def test_files_that_are_missing_or_do_not_fit(tmp_path: Path) -> None:
    made, other = make(tmp_path / "a"), make(tmp_path / "b")
    with pytest.raises(ConfigError, match="cannot be used"):
        server_context(type(made.server)(made.server.ca, made.server.cert, other.server.key))
    with pytest.raises(ConfigError, match="cannot be used"):
        server_context(type(made.server)(made.server.ca, made.server.cert, tmp_path / "missing"))
