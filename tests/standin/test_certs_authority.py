"""A CA that signs what devices ask for."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

from edge_runtime.errors import ConfigError
from edge_runtime.standin.certs import Authority, make


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


def request(folder: Path, *key: str) -> str:
    """Make a key of a kind, and a request that it signs."""
    done = subprocess.run(
        [shutil.which("openssl") or "", "req", "-new", "-nodes", "-keyout", str(folder / "device.key"),
         "-subj", "/CN=device 7", *key],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout


@pytest.mark.parametrize(
    "key",
    [
        ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
        ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384"),
        ("-newkey", "rsa:2048"),
    ],
    ids=["P-256", "P-384", "RSA 2048"],
)
def test_a_request_is_signed_for_its_own_key(authority: Authority, tmp_path: Path, key: tuple[str, ...]) -> None:
    pem = authority.sign(request(tmp_path, *key))
    (tmp_path / "device.pem").write_text(pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_cert_chain(tmp_path / "device.pem", tmp_path / "device.key")  # raises when they are no pair
    assert ssl.PEM_cert_to_DER_cert(pem)


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (("-newkey", "rsa:1024"), "1024 bits; AWS IoT takes RSA from 2048 on"),
        (("-newkey", "ed25519"), "must be RSA or on one of the curves P-256, P-384, P-521"),
        (("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp256k1"), "must be RSA or on one of the curves"),
    ],
)
def test_keys_that_aws_would_not_take(authority: Authority, tmp_path: Path, key: tuple[str, ...], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        authority.sign(request(tmp_path, *key))


@pytest.mark.parametrize(
    "text", ["", "x", "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"]
)
def test_what_is_no_request(authority: Authority, text: str) -> None:
    with pytest.raises(ConfigError, match=r"openssl req in .* failed"):
        authority.sign(text)


def test_a_key_of_its_own(authority: Authority, tmp_path: Path) -> None:
    pem, key = authority.issue()
    (tmp_path / "device.pem").write_text(pem)
    (tmp_path / "device.key").write_text(key)
    ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(tmp_path / "device.pem", tmp_path / "device.key")


def test_it_signs_with_the_ca_that_is_there(tmp_path: Path) -> None:
    made = make(tmp_path)
    before = made.server.ca.read_bytes(), made.server.cert.read_bytes()
    pem, _ = Authority(tmp_path).issue()
    assert (made.server.ca.read_bytes(), made.server.cert.read_bytes()) == before
    (tmp_path / "new.pem").write_text(pem)
    done = subprocess.run(
        [shutil.which("openssl") or "", "verify", "-CAfile", str(made.server.ca), str(tmp_path / "new.pem")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_a_folder_without_its_key_signs_nothing(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("somebody's")
    with pytest.raises(ConfigError, match=r"ca\.key is missing"):
        Authority(tmp_path)
    assert (tmp_path / "ca.pem").read_text() == "somebody's"
