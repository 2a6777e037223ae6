"""The link's certificate files: they can be read by who needs them, belong together and hold today; and its token."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from edge_runtime.app import App
from edge_runtime.cli._accounts import READ, Account
from edge_runtime.cli._finding import Finding
from edge_runtime.cloud import identity as identities
from edge_runtime.cloud.identity import DAY_S
from edge_runtime.errors import ConfigError, EdgeError
from edge_runtime.links._token import Pkcs11, as_token
from edge_runtime.pure.certificates import Certificate, parse

_SOON_S = 30 * DAY_S
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
_AGAIN = "download it again from AWS IoT, or run: edge provision"
_NEW = "edge provision --rotate, or --force with a new claim"


def certificates(app: App, now_s: float, service: Account | None = None) -> Iterator[Finding]:
    """Yield what is found about the files that the app's link names, at the time `now_s` in seconds since the epoch.

    `service` is the user as whom the host runs, when that is another one.
    """
    options = app.link.options if app.link else {}
    files = {key: Path(str(options[key])) for key in ("certificate", "key", "ca") if options.get(key)}
    amiss = {name: found for name, path in files.items() if (found := _readable(name, path)) is not None}
    yield from amiss.values()
    for name in ("certificate", "ca"):
        if name in files and name not in amiss:
            yield from _dates(name, files[name], now_s)
    if "key" in files and "key" not in amiss:
        yield from _key(files["key"], files["certificate"] if "certificate" not in amiss else None)
    if service is not None:
        for name, path in files.items():
            if name not in amiss and not service.may(path, READ):
                text = f"{path} cannot be read by {service.name}, as whom the host runs"
                yield Finding(name, "fail", text, f"sudo chown {service.name} {path}, and let it pass the folders")


def token(options: Mapping[str, object], *, in_use: bool) -> Iterator[Finding]:
    """Look into the token that holds the key, if there is one and no host has it in use: a wrong PIN counts there."""
    try:
        found = as_token(options.get("pkcs11"))
        if found is None:
            return
        found.check_module()
        found.read_pin()
    except ConfigError as error:
        yield Finding("token", "fail", str(error), error.hint)
        return
    if in_use:
        yield Finding("token", "skip", f"the host has the token {found.token} in use", "edge status")
        return
    try:
        yield from _open(found, options)
    except ImportError:
        text = "only awscrt can use a key in a token, and it is not installed"
        yield Finding("token", "fail", text, "pip install awsiotsdk; on 32-bit ARM keep the key in a file")


def _open(found: Pkcs11, options: Mapping[str, object]) -> Iterator[Finding]:
    from edge_runtime.links import _crt  # noqa: PLC0415 - the library is heavy, and may be missing
    from edge_runtime.links._settings import Settings  # noqa: PLC0415 - as above

    certificate = str(options.get("certificate", ""))
    try:
        settings = Settings(endpoint="localhost", client_id="edge", certificate=certificate, pkcs11=found)
        _crt.tls_context(settings, identities.read(certificate, None))
    except EdgeError as error:
        text = str(error).replace(" for localhost:8883", "")
        yield Finding("token", "fail", text, f"{error.hint}; pkcs11-tool --module {found.module} --list-slots")
    else:
        yield Finding("token", "ok", f"the key {found.key or 'alone'} in the token {found.token} can be used")


def _readable(name: str, path: Path) -> Finding | None:
    if not path.is_file():
        fix = "edge provision makes it, or correct the path under link:"
        return Finding(name, "fail", f"{path} is not there", fix)
    if not os.access(path, os.R_OK):
        return Finding(name, "fail", f"{path} cannot be read by this user", f"sudo chown $USER {path}")
    return None


def _dates(name: str, path: Path, now_s: float) -> Iterator[Finding]:
    """Say until when the certificates in a file hold, and which it is. Of several CAs one that holds is enough."""
    try:
        found = [parse(pem) for pem in _PEM.findall(path.read_bytes())] or [parse(b"")]
    except ConfigError:
        yield Finding(name, "fail", f"{path} is no certificate in PEM form", _AGAIN)
        return
    which = found[0] if name == "certificate" else max(found, key=lambda one: _worth(one, now_s))
    begin, end = identities.day(which.begin_s), identities.day(which.end_s)
    shown = f"{path} ({which.id})" if name == "certificate" else str(path)
    if now_s < which.begin_s:
        text = f"{shown} holds from {begin} on, and this machine believes it is {identities.day(now_s)}"
        yield Finding(name, "fail", text, "set the clock: sudo timedatectl set-ntp true")
    elif now_s > which.end_s:
        yield Finding(name, "fail", f"{shown} has expired on {end}", _NEW if name == "certificate" else _AGAIN)
    elif which.end_s - now_s < _SOON_S:
        days = int((which.end_s - now_s) / DAY_S)
        text = f"{shown} expires on {end}, in {days} days"
        yield Finding(name, "warn", text, _NEW if name == "certificate" else _AGAIN)
    else:
        yield Finding(name, "ok", f"{shown} holds until {end}")


def _worth(one: Certificate, now_s: float) -> tuple[bool, float]:
    return one.begin_s <= now_s <= one.end_s, one.end_s


def _key(path: Path, certificate: Path | None) -> Iterator[Finding]:
    if certificate is not None:
        try:
            identities.read(certificate, path)
        except ConfigError as error:
            yield Finding("key", "fail", str(error), error.hint)
            return
    found = path.stat()
    mode = found.st_mode & 0o777
    if mode & 0o077:
        yield Finding("key", "warn", f"{path} is open to other users ({mode:03o})", f"chmod 600 {path}")
    elif found.st_uid not in (os.getuid(), 0):
        yield Finding("key", "warn", f"{path} belongs to another user ({found.st_uid})", f"sudo chown $USER {path}")
    else:
        yield Finding(
            "key", "ok", f"{path} ({mode:03o}) fits the certificate" if certificate else f"{path} ({mode:03o})"
        )
