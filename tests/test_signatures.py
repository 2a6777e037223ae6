"""Ed25519 by openssl: what proves, and what does not."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from edge_runtime.errors import ConfigError
from edge_runtime.pure.jobs import public_key
from edge_runtime.signatures import is_signed, sign
from tests.host.bundles import BUNDLE, Signer


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    return Signer(tmp_path_factory.mktemp("signer"))


def test_a_signature_counts_bit_by_bit(tmp_path: Path, signer: Signer) -> None:
    message = hashlib.sha256(BUNDLE).digest()
    signature = signer.sign(message)
    assert is_signed(message, signature, [bytes(32), signer.key], tmp_path)
    assert not is_signed(message, signature, [], tmp_path)
    for place in range(0, 64, 9):
        wrong = bytearray(signature)
        wrong[place] ^= 1 << place % 8
        assert not is_signed(message, bytes(wrong), [signer.key], tmp_path)
    assert not is_signed(message[::-1], signature, [signer.key], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_signature_of_rfc_8032(tmp_path: Path) -> None:
    """Section 7.1, test 2."""
    key = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
    signature = bytes.fromhex(
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )
    assert is_signed(b"\x72", signature, [key], tmp_path)
    assert not is_signed(b"\x73", signature, [key], tmp_path)


def test_without_openssl_nothing_is_proved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="which is not installed"):
        is_signed(b"", bytes(64), [bytes(32)], tmp_path)
    old = tmp_path / "openssl"
    old.write_text("#!/bin/sh\necho 'unknown option -rawin' >&2\nexit 1\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{Path(shutil.which('true', path='/bin:/usr/bin') or '').parent}")
    with pytest.raises(ConfigError, match="cannot be checked with openssl: unknown option"):
        is_signed(b"", bytes(64), [bytes(32)], tmp_path)


def test_what_is_signed_here_is_proved_here(tmp_path: Path, signer: Signer) -> None:
    key = signer.public.with_name("key.pem")
    signature = sign(b"manifest", key, tmp_path)
    assert is_signed(b"manifest", signature, [public_key(signer.public.read_text())], tmp_path)
    assert not is_signed(b"manifesto", signature, [signer.key], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_key_of_another_kind_or_none_cannot_sign(tmp_path: Path, signer: Signer) -> None:
    for wrong in (signer.public, tmp_path / "missing.pem"):
        with pytest.raises(ConfigError, match="cannot sign"):
            sign(b"manifest", wrong, tmp_path)
