"""Certificates for a stand-in with TLS: a CA, a server and a client, made with the `openssl` command.

The runtime has no cryptography package on purpose: a compiled one has no wheel on every Pi. Debian and Raspberry
Pi OS bring `openssl` (package `ca-certificates` depends on it). For tests and the demo only: the key of the CA lies
beside the others.
"""

from __future__ import annotations

import ipaddress
import re
import secrets
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.errors import ConfigError

DAYS = 3650
"""How long the certificates hold."""
LEAST_RSA_BITS = 2048
CURVES = ("P-256", "P-384", "P-521")
"""What AWS IoT takes in a certificate signing request: AWS IoT API Reference, `CreateCertificateFromCsr`."""
_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Where one side of a TLS connection finds its PEM files. The other side is trusted when `ca` signed it."""

    ca: Path
    cert: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Certificates:
    """What `make` wrote: the files of both sides."""

    server: TlsFiles
    client: TlsFiles


def make(
    folder: Path, *, hosts: Sequence[str] = ("localhost", "127.0.0.1", "::1"), client: str = "edge"
) -> Certificates:
    """Write `ca`, `server` and `client` (`.pem` and `.key`) into `folder`, over what is there.

    The server's certificate holds for `hosts` (names or addresses); the client's common name is `client`. Keys
    are EC P-256, readable by their owner only (0600). The folder is made when it is missing.

    Raises: ConfigError when `openssl` is missing or fails.
    """
    tool = _tool(folder, hosts)
    tool.authority()
    tool.signed("server", "edge-runtime stand-in")
    tool.signed("client", client)
    ca = folder / "ca.pem"
    return Certificates(
        TlsFiles(ca, folder / "server.pem", folder / "server.key"),
        TlsFiles(ca, folder / "client.pem", folder / "client.key"),
    )


class Authority:
    """Signs certificates for clients with the CA of a folder that `make` has written; one is made when it has none.

    The methods take a tenth of a second or so, and may be called from several threads.

    Raises: ConfigError when `openssl` is missing or fails.
    """

    def __init__(self, folder: Path) -> None:
        certificate, key = folder / "ca.pem", folder / "ca.key"
        if certificate.is_file() and not key.is_file():
            raise ConfigError(f"{key} is missing: without the key of {certificate} no certificate can be signed")
        self._tool = _tool(folder, ())
        if not certificate.is_file():
            self._tool.authority()

    def sign(self, request: str) -> str:
        """Return a certificate (PEM) for a certificate signing request (PEM), with the subject it asks for.

        Raises: ConfigError for a request that is none, whose signature is wrong, or whose key AWS would not take.
        """
        _check_key(self._tool.run("req", "-noout", "-verify", "-text", given=request))
        return self._tool.sign(given=request)

    def issue(self, common_name: str = "AWS IoT Certificate") -> tuple[str, str]:
        """Return a certificate and its private key, both PEM. The key is RSA with 2,048 bits, as AWS makes them."""
        key = self._tool.run(*f"genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:{LEAST_RSA_BITS}".split())
        # The key is read from the standard input: it is in no file, and in no list of processes.
        request = self._tool.run(
            *("req", "-new", "-sha256", "-key", "/dev/stdin"),
            *("-config", self._tool.config.name, "-subj", _subject(common_name)),
            given=key,
        )
        return self._tool.sign(given=request), key


def _tool(folder: Path, hosts: Sequence[str]) -> _Tool:
    program = shutil.which("openssl")
    if program is None:
        raise ConfigError(
            "certificates are made with the openssl command, which is not installed",
            hint="apt-get install openssl",
        )
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    config = folder / ("openssl.cnf" if hosts else "openssl-clients.cnf")
    config.write_text(_configuration(hosts), encoding="utf-8")
    return _Tool(program, folder, config)


def _check_key(text: str) -> None:
    """Return if AWS takes the key in what `openssl req -text` shows."""
    rsa = re.search(r"Public Key Algorithm: rsaEncryption\s+(?:RSA )?Public-Key: \((\d+) bit", text)
    curve = re.search(r"NIST CURVE: (\S+)", text)
    if rsa is None and (curve is None or curve[1] not in CURVES):
        raise ConfigError(f"the key of the request must be RSA or on one of the curves {', '.join(CURVES)}")
    if rsa is not None and int(rsa[1]) < LEAST_RSA_BITS:
        raise ConfigError(f"the key of the request has {rsa[1]} bits; AWS IoT takes RSA from {LEAST_RSA_BITS} on")


def _subject(common_name: str) -> str:
    return "/CN=" + common_name.replace("\\", "\\\\").replace("/", "\\/")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _configuration(hosts: Sequence[str]) -> str:
    # Our own file: what the system's openssl.cnf adds differs between Debian releases.
    names = ",".join(f"{'IP' if _is_address(host) else 'DNS'}:{host}" for host in hosts or ("localhost",))
    return f"""[req]
distinguished_name = name
[name]
[authority]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = {names}
[client]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = clientAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""


@dataclass(frozen=True, slots=True)
class _Tool:
    """Runs `openssl` in the folder."""

    program: str
    folder: Path
    config: Path

    def authority(self) -> None:
        self._key("ca")
        self.run(
            *f"req -x509 -new -sha256 -key ca.key -days {DAYS} -extensions authority -out ca.pem".split(),
            *("-config", self.config.name, "-subj", "/CN=edge-runtime stand-in CA"),
        )

    def signed(self, name: str, common_name: str) -> None:
        self._key(name)
        request = self.run(
            *f"req -new -sha256 -key {name}.key".split(),
            *("-config", self.config.name, "-subj", _subject(common_name)),
        )
        (self.folder / f"{name}.pem").write_text(self.sign(name, given=request), encoding="utf-8")

    def sign(self, extensions: str = "client", *, given: str) -> str:
        """Return the certificate for a request."""
        return self.run(
            *f"x509 -req -sha256 -CA ca.pem -CAkey ca.key -days {DAYS}".split(),
            *("-set_serial", str(secrets.randbits(120) + 1)),
            *("-extfile", self.config.name, "-extensions", extensions),
            given=given,
        )

    def _key(self, name: str) -> None:
        target = self.folder / f"{name}.key"
        target.unlink(missing_ok=True)  # an old file would keep its mode
        self.run(*f"genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out {name}.key".split())
        target.chmod(0o600)

    def run(self, *arguments: str, given: str = "") -> str:
        """Run it with `given` as its standard input and return its standard output."""
        # The umask keeps a key private from its first byte on.
        try:
            done = subprocess.run(
                [self.program, *arguments],
                cwd=self.folder,
                input=given,
                capture_output=True,
                text=True,
                umask=0o077,
                timeout=_TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ConfigError(f"openssl {arguments[0]} in {self.folder} failed: {error}") from error
        if done.returncode:
            raise ConfigError(f"openssl {arguments[0]} in {self.folder} failed: {done.stderr.strip()}")
        return done.stdout
