"""A certificate and its key, read as a pair."""

from __future__ import annotations

import os
import ssl
import subprocess
from pathlib import Path

import pytest

from edge_runtime.cloud import identity
from edge_runtime.errors import ConfigError
from tests.identities import Authority, Pair, put


@pytest.fixture(scope="module")
def pair(authority: Authority) -> Pair:
    return authority.issue("garden", begin="20260101000000Z", end="20270101000000Z")


def test_a_pair_is_read_and_can_be_used_when_the_files_are_gone(pair: Pair, tmp_path: Path) -> None:
    files = put(tmp_path, pair)
    found = identity.read(*files)
    assert (found.certificate, found.key) == pair
    for path in files:
        path.unlink()
    before = set(os.listdir("/proc/self/fd"))  # noqa: PTH208 - only compared
    found.load_into(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    assert set(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - same
    assert identity.Identity(*pair, found.id, found.begin_s, found.end_s) == found


def test_the_key_is_not_shown(pair: Pair, tmp_path: Path) -> None:
    assert pair.key.decode().splitlines()[1] not in repr(identity.read(*put(tmp_path, pair)))


def test_one_file_may_hold_both(pair: Pair, tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(pair.key + pair.certificate)
    assert identity.read(both, both).id == identity.read(*put(tmp_path, pair)).id


def test_a_certificate_whose_key_lies_in_a_token(pair: Pair, tmp_path: Path) -> None:
    certificate, key = put(tmp_path, pair)
    key.unlink()
    found = identity.read(certificate, None)
    assert found.key == b""
    found.load_into(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))  # and nothing is done


@pytest.mark.parametrize(
    ("moment_s", "shown"),
    [
        (2_524_607_999.0, "2049-12-31"),  # when AWS lets its certificates end
        (253_402_300_799.0, "9999-12-31"),
        (-62_135_596_800.0, "0001-01-01"),
    ],
)
def test_any_day_is_shown_also_where_the_system_has_no_time_for_it(moment_s: float, shown: str) -> None:
    assert identity.day(moment_s) == shown


def test_dates(pair: Pair, tmp_path: Path) -> None:
    found = identity.read(*put(tmp_path, pair))
    assert found.amiss(found.begin_s - 1) == "holds only from 2026-01-01 on"
    assert found.amiss(found.begin_s) == found.amiss(found.end_s) == ""
    assert found.amiss(found.end_s + 1) == "has expired on 2027-01-01"


def test_what_is_no_pair(authority: Authority, pair: Pair, tmp_path: Path) -> None:
    certificate, key = put(tmp_path, pair)
    key.write_bytes(authority.issue("other").key)
    with pytest.raises(ConfigError) as caught:
        identity.read(certificate, key)
    assert str(caught.value).startswith(f"the key {key} is not that of the certificate {certificate}: ")
    assert "edge provision" in caught.value.hint


def test_a_key_with_a_password_is_not_waited_for(pair: Pair, tmp_path: Path) -> None:
    certificate, key = put(tmp_path, pair)
    locked = tmp_path / "locked.key"
    command = f"openssl pkcs8 -topk8 -in {key} -out {locked} -passout pass:secret"
    subprocess.run(command.split(), check=True, capture_output=True)
    with pytest.raises(ConfigError, match="it is locked by a password"):
        identity.read(certificate, locked)


def test_files_that_are_not_there_or_nothing_of_the_kind(pair: Pair, tmp_path: Path) -> None:
    certificate, key = put(tmp_path, pair)
    with pytest.raises(ConfigError, match=r"none\.pem cannot be read: No such file"):
        identity.read(tmp_path / "none.pem", key)
    with pytest.raises(ConfigError, match="there is no certificate in PEM form"):
        identity.read(key, key)
    with pytest.raises(ConfigError, match="is not that of the certificate"):
        identity.read(certificate, certificate)
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        identity.read(tmp_path, key)
