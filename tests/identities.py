"""Certificates of one authority for tests: as many as are needed, with any dates, for any signing request.

authority = Authority(certs.make(tmp_path / "tls"), tmp_path / "ca")
pair = authority.issue("garden")
"""

from __future__ import annotations

import os
import secrets
import subprocess
from pathlib import Path
from typing import NamedTuple

from edge_runtime.standin.certs import Certificates

YEAR_AGO, YEAR_AHEAD = "20250101000000Z", "20991231235959Z"


class Pair(NamedTuple):
    """A certificate and its key, PEM."""

    certificate: bytes
    key: bytes


class Authority:
    """Signs with the key of the set's CA."""

    def __init__(self, made: Certificates, work: Path) -> None:
        self.tls = made
        self._work = work
        work.mkdir(parents=True, exist_ok=True)
        (work / "ca.cnf").write_text(
            "[ca]\ndefault_ca=d\n[d]\ndatabase=index\nserial=serial\nnew_certs_dir=.\ndefault_md=sha256\npolicy=p\n"
            "unique_subject=no\nx509_extensions=client\n[p]\ncommonName=supplied\n"
            "[client]\nextendedKeyUsage=clientAuth\n"
            "[server]\nextendedKeyUsage=serverAuth\nsubjectAltName=DNS:localhost,IP:127.0.0.1\n"
            "[other]\nextendedKeyUsage=serverAuth\nsubjectAltName=DNS:other.example\n"
        )

    def sign(self, request: bytes, *, begin: str = YEAR_AGO, end: str = YEAR_AHEAD, kind: str = "client") -> bytes:
        """Return the certificate for a signing request; `kind` is client, server (of this machine) or other (host)."""
        (self._work / "index").write_text("")
        (self._work / "serial").write_text(f"{secrets.token_hex(8)}\n")
        (self._work / "r.csr").write_bytes(request)
        ca = self.tls.server.ca
        command = f"openssl ca -batch -notext -config ca.cnf -in r.csr -out c.pem -startdate {begin} -enddate {end}"
        more = ["-extensions", kind, "-cert", str(ca), "-keyfile", str(ca.with_suffix(".key"))]
        subprocess.run([*command.split(), *more], cwd=self._work, check=True, capture_output=True)
        return (self._work / "c.pem").read_bytes()

    def issue(self, name: str, *, begin: str = YEAR_AGO, end: str = YEAR_AHEAD, kind: str = "client") -> Pair:
        """Return a new pair for that common name; `kind` as for `sign`."""
        new = (
            f"openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout k.pem -out n.csr -subj /CN={name}"
        )
        subprocess.run(new.split(), cwd=self._work, check=True, capture_output=True)
        request = (self._work / "n.csr").read_bytes()
        return Pair(self.sign(request, begin=begin, end=end, kind=kind), (self._work / "k.pem").read_bytes())


def replace(path: Path, content: bytes) -> None:
    """Put a new content in the place of a file at once."""
    new = path.with_name(f".{path.name}.new")
    new.write_bytes(content)
    new.chmod(0o600)
    os.replace(new, path)  # noqa: PTH105 - the call that is meant


def put(folder: Path, pair: Pair) -> tuple[Path, Path]:
    """Write a pair into a folder; return the two paths."""
    folder.mkdir(parents=True, exist_ok=True)
    files = folder / "device.pem.crt", folder / "private.pem.key"
    for path, content in zip(files, pair, strict=True):
        replace(path, content)
    return files
