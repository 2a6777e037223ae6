"""Private keys, certificate signing requests and certificates, made with the `openssl` command.

A package that could do it would be a compiled one, and those have no wheel on every Pi. The command is on every Debian
and Raspberry Pi OS. What it prints is read from a pipe: where the key is written to, and with which mode, is ours.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from edge_runtime.errors import ConfigError

KINDS: Mapping[str, str] = {
    "ec": "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256",
    "rsa": "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048",
}
"""How a key of each kind is made. AWS IoT Core takes both (developer guide, "Create a client certificate")."""
_TIMEOUT_S = 300.0
"""An RSA key may take a Pi Zero a minute."""
_CONFIGURATION = "[req]\ndistinguished_name = name\nprompt = no\nstring_mask = utf8only\n[name]\nCN = {name}\n"
_NAME = re.compile(r"[a-zA-Z0-9:_.-]{1,64}")
_ISSUE = """[ca]
default_ca = issue
[issue]
database = {folder}/index.txt
new_certs_dir = {folder}
rand_serial = yes
default_md = sha256
policy = policy
unique_subject = no
email_in_dn = no
[policy]
commonName = supplied
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
"""
_VALID = ("-startdate", "20200101000000Z", "-enddate", "20491231235959Z")
"""Of what is made here for a network of one's own: devices without a clock, and hosts with a wrong one, take it."""


def make_key(kind: str) -> bytes:
    """Return a new private key as PEM. Raises: ConfigError."""
    return _run(KINDS[kind].split(), "the private key")


def make_request(key: Path, name: str) -> str:
    """Return a signing request for the key in a PEM file, as PEM; its common name is `name`. Raises: ConfigError."""
    return _request(["-key", str(key)], name)


def make_token_request(module: Path, uri: str, pin: str, name: str) -> str:
    """Return a signing request for a key in a token, by OpenSSL's PKCS#11 engine (package libengine-pkcs11-openssl).

    `uri` names the key (RFC 7512). The PIN is handed over in the environment, which other users cannot see.

    Raises: ConfigError.
    """
    settings = (
        "[engines]\npkcs11 = token\n"
        f"[token]\nengine_id = pkcs11\nMODULE_PATH = {module}\nPIN = ${{ENV::EDGE_PIN}}\ninit = 0\n"
    )
    return _request(
        ["-engine", "pkcs11", "-keyform", "engine", "-key", uri],
        name,
        head="openssl_conf = all\n[all]\nengines = engines\n",
        more=settings,
        pin=pin,
    )


def make_authority(key: Path, name: str) -> bytes:
    """Return the certificate of a new authority for the key in a PEM file, as PEM. Raises: ConfigError."""
    return _issue(make_request(key, name), "authority", ["-selfsign", "-keyfile", str(key)], ["DNS:localhost"])


def make_server(key: Path, name: str, authority: tuple[Path, Path], names: Sequence[str]) -> bytes:
    """Return a certificate of a server for the key in a PEM file, as PEM.

    `authority` are the certificate and the key of who signs it. `names` are what it holds for, as OpenSSL writes them:
    `DNS:broker.lan`, `IP:192.0.2.7`.

    Raises: ConfigError.
    """
    certificate, signer = authority
    return _issue(
        make_request(key, name), "server", ["-cert", str(certificate), "-keyfile", str(signer)], names
    )  # fmt: skip


def _issue(request: str, kind: str, signer: list[str], names: Sequence[str]) -> bytes:
    # `openssl x509` can give no dates before OpenSSL 3.4; `openssl ca` can, and wants a folder to keep its books in.
    with tempfile.TemporaryDirectory(prefix="edge-ca-") as folder:
        configuration = Path(folder, "ca.cnf")
        configuration.write_text(_ISSUE.format(folder=folder, names=",".join(names)), encoding="utf-8")
        Path(folder, "index.txt").touch()
        arguments = ["ca", "-batch", "-notext", "-config", str(configuration), *signer, "-in", "/dev/stdin", *_VALID]
        return _run([*arguments, "-extensions", kind], "the certificate", stdin=request.encode())


def _request(source: list[str], name: str, *, head: str = "", more: str = "", pin: str = "") -> str:
    # Nobody parses the name here, but AWS shows it, and policies may use it.
    if not _NAME.fullmatch(name):
        name = re.sub(r"[^a-zA-Z0-9:_.-]", "-", name)[:64] or "device"
    configuration = head + _CONFIGURATION.format(name=name) + more
    arguments = ["req", "-new", "-sha256", *source, "-config", "/dev/stdin"]
    return _run(arguments, "the signing request", stdin=configuration.encode(), pin=pin).decode("ascii")


def _run(arguments: list[str], what: str, *, stdin: bytes = b"", pin: str = "") -> bytes:
    program = shutil.which("openssl")
    if program is None:
        raise ConfigError(
            f"{what} is made with the openssl command, which is not installed", hint="run: sudo apt-get install openssl"
        )
    environment = {**os.environ, "OPENSSL_CONF": "/dev/null", "EDGE_PIN": pin}
    try:
        done = subprocess.run(
            [program, *arguments], input=stdin, capture_output=True, timeout=_TIMEOUT_S, env=environment, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(f"{what} could not be made: openssl {arguments[0]}: {error}") from error
    if done.returncode or not done.stdout.lstrip().startswith(b"-----BEGIN"):
        said = done.stderr.decode(errors="replace").strip().splitlines()
        reason = said[-1] if said else f"it ended with {done.returncode}"
        if pin:
            reason = reason.replace(pin, "***")
        raise ConfigError(f"{what} could not be made: openssl {arguments[0]}: {reason}")
    return done.stdout
