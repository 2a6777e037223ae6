"""Dates and ids of certificates, held against openssl."""

from __future__ import annotations

import base64
import contextlib
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.errors import ConfigError
from edge_runtime.pure.certificates import Certificate, parse


def made(folder: Path, *, kind: str = "ec", begin: str, end: str) -> Path:
    """Make a certificate with these dates, as `openssl ca -startdate` takes them."""
    (folder / "index").touch()
    (folder / "serial").write_text("01\n")
    (folder / "ca.cnf").write_text(
        "[ca]\ndefault_ca=d\n[d]\ndatabase=index\nserial=serial\nnew_certs_dir=.\ndefault_md=sha256\npolicy=p\n"
        "[p]\ncommonName=supplied\n"
    )
    new = {"ec": "-newkey ec -pkeyopt ec_paramgen_curve:P-256", "rsa": "-newkey rsa:2048"}[kind]
    sign = "openssl ca -batch -selfsign -config ca.cnf -keyfile k.pem -in r.csr -out c.pem"
    for command in (
        f"openssl req {new} -nodes -keyout k.pem -out r.csr -subj /CN=garden",
        f"{sign} -startdate {begin} -enddate {end}",
    ):
        subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    return folder / "c.pem"


@pytest.mark.parametrize("kind", ["ec", "rsa"])
@pytest.mark.parametrize(
    ("begin", "end", "years"),
    [
        ("20260102030405Z", "20491231235959Z", (2026, 2049)),
        ("20500101000000Z", "20991231235959Z", (2050, 2099)),
        ("500101000000Z", "700102000000Z", (1950, 1970)),
    ],
)
def test_dates_and_id_are_those_that_openssl_reads(
    tmp_path: Path, kind: str, begin: str, end: str, years: tuple[int, int]
) -> None:
    path = made(tmp_path, kind=kind, begin=begin, end=end)
    found = parse(path.read_bytes())
    asked = ["openssl", "x509", "-noout", "-fingerprint", "-sha256", "-in", str(path)]
    told = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    assert found.id == told.split("=")[1].strip().replace(":", "").lower()
    dates = [datetime.fromtimestamp(moment, UTC) for moment in (found.begin_s, found.end_s)]
    assert tuple(date.year for date in dates) == years
    assert dates[0].strftime("%m%d%H%M%SZ") == begin[-11:]
    assert dates[1].strftime("%m%d%H%M%SZ") == end[-11:]


def test_text_around_and_a_chain_below_do_not_matter(tmp_path: Path) -> None:
    pem = made(tmp_path, begin="20260102030405Z", end="20491231235959Z").read_bytes()
    block = pem[pem.index(b"-----BEGIN") :]
    assert pem != block
    key, torn = (
        b"-----BEGIN EC PRIVATE KEY-----\nAA\n-----END EC PRIVATE KEY-----\n",
        b"-----BEGIN CERTIFICATE-----\nAA",
    )
    assert parse(key + pem + torn) == parse(block) == parse(block.replace(b"\n", b"\r\n"))


@pytest.mark.parametrize(
    ("pem", "message"),
    [
        (b"", "there is no certificate in PEM form"),
        (b"\xff\x00", "there is no certificate in PEM form"),
        (b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----", "what is there is no X.509 certificate"),
        (b"-----BEGIN CERTIFICATE-----\nAAA\n-----END CERTIFICATE-----", "what is there is no X.509 certificate"),
        (b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----", "what is there is no X.509 certificate"),
    ],
)
def test_what_is_no_certificate_is_said_to_be_none(pem: bytes, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(pem)
    assert str(caught.value) == message


@given(st.binary(max_size=400))
def test_no_bytes_break_it(data: bytes) -> None:
    pem = b"-----BEGIN CERTIFICATE-----\n" + base64.b64encode(data) + b"\n-----END CERTIFICATE-----\n"
    with contextlib.suppress(ConfigError):
        assert isinstance(parse(pem), Certificate)
