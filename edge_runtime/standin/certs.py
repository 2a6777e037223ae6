"""Certificates for a stand-in with TLS: a CA, a server and a client, made with the `openssl` command.

The runtime has no cryptography package on purpose: a compiled one has no wheel on every Pi. Debian and Raspberry
Pi OS bring `openssl` (package `ca-certificates` depends on it). For tests and the demo only: the key of the CA lies
beside the others.
"""

from __future__ import annotations

import ipaddress
import secrets
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.errors import ConfigError

DAYS = 3650
"""How long the certificates hold."""
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
    program = shutil.which("openssl")
    if program is None:
        raise ConfigError(
            "certificates are made with the openssl command, which is not installed",
            hint="apt-get install openssl",
        )
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    config = folder / "openssl.cnf"
    config.write_text(_configuration(hosts), encoding="utf-8")
    tool = _Tool(program, folder, config)
    tool.authority()
    tool.signed("server", "edge-runtime stand-in")
    tool.signed("client", client)
    ca = folder / "ca.pem"
    return Certificates(
        TlsFiles(ca, folder / "server.pem", folder / "server.key"),
        TlsFiles(ca, folder / "client.pem", folder / "client.key"),
    )


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _configuration(hosts: Sequence[str]) -> str:
    # Our own file: what the system's openssl.cnf adds differs between Debian releases.
    names = ",".join(f"{'IP' if _is_address(host) else 'DNS'}:{host}" for host in hosts)
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
        self._run(
            *f"req -x509 -new -sha256 -key ca.key -days {DAYS} -extensions authority -out ca.pem".split(),
            *("-config", str(self.config), "-subj", "/CN=edge-runtime stand-in CA"),
        )

    def signed(self, name: str, common_name: str) -> None:
        self._key(name)
        subject = "/CN=" + common_name.replace("\\", "\\\\").replace("/", "\\/")
        request = f"{name}.csr"
        self._run(
            *f"req -new -sha256 -key {name}.key -out {request}".split(),
            *("-config", str(self.config), "-subj", subject),
        )
        self._run(
            *f"x509 -req -sha256 -in {request} -CA ca.pem -CAkey ca.key -days {DAYS} -out {name}.pem".split(),
            *("-set_serial", str(secrets.randbits(120) + 1), "-extfile", str(self.config), "-extensions", name),
        )
        (self.folder / request).unlink()

    def _key(self, name: str) -> None:
        target = self.folder / f"{name}.key"
        target.unlink(missing_ok=True)  # an old file would keep its mode
        self._run(*f"genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out {name}.key".split())
        target.chmod(0o600)

    def _run(self, *arguments: str) -> None:
        # The umask keeps a key private from its first byte on.
        try:
            done = subprocess.run(
                [self.program, *arguments],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
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
