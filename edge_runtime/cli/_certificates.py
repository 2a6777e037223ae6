"""The check of a link's certificate files: they can be read, belong together and hold today."""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from edge_runtime.app import App

_SOON_S = 30 * 86_400


class Found(NamedTuple):
    """What was found about one file; see `Finding`."""

    what: str
    level: Literal["ok", "warn", "fail"]
    text: str
    fix: str = ""


def certificates(app: App, now: float) -> Iterator[Found]:
    """Yield what is found about the files that the app's link names, at the time `now` in seconds since the epoch."""
    options = app.link.options if app.link else {}
    files = {key: Path(str(options[key])) for key in ("certificate", "key", "ca") if options.get(key)}
    readable = True
    for name, path in files.items():
        found = _readable(name, path)
        if found is not None:
            readable = False
            yield found
    if not readable:
        return
    for name in ("certificate", "ca"):
        if name in files:
            yield _dates(name, files[name], now)
    if "key" in files:
        yield _key(files["key"], files.get("certificate"))


def _readable(name: str, path: Path) -> Found | None:
    if not path.is_file():
        return Found(name, "fail", f"{path} is not there", "correct the path under link:")
    if not os.access(path, os.R_OK):
        return Found(name, "fail", f"{path} cannot be read by this user", f"sudo chown $USER {path}")
    return None


def _key(path: Path, certificate: Path | None) -> Found:
    if certificate is not None:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, path, password=_no_password)
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", None) or str(error)
            return Found(
                "key", "fail", f"{path} does not fit {certificate}: {reason}", "download the pair again from AWS IoT"
            )
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        return Found("key", "warn", f"{path} is open to other users ({mode:03o})", f"chmod 600 {path}")
    return Found("key", "ok", f"{path} fits the certificate" if certificate else str(path))


def _no_password() -> str:
    """Keep OpenSSL from asking on the terminal."""
    raise ValueError("it is locked by a password, which a host cannot type")


def _dates(name: str, path: Path, now: float) -> Found:
    """Say until when a certificate holds. Python's own library cannot read the dates of a file."""
    program = shutil.which("openssl")
    if program is None:
        return Found(name, "ok", f"{path} (openssl is not installed: its dates were not checked)")
    ran = subprocess.run(
        [program, "x509", "-noout", "-startdate", "-enddate", "-in", str(path)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    dates = dict(line.split("=", 1) for line in ran.stdout.splitlines() if "=" in line)
    if ran.returncode or not {"notBefore", "notAfter"} <= dates.keys():
        return Found(name, "fail", f"{path} is no certificate in PEM form", "download it again from AWS IoT")
    begin, end = (ssl.cert_time_to_seconds(dates[name]) for name in ("notBefore", "notAfter"))
    if now < begin:
        return Found(name, "fail", f"{path} holds from {dates['notBefore']} on", "check the clock: timedatectl")
    if now > end:
        return Found(name, "fail", f"{path} has expired on {dates['notAfter']}", "make a new one in AWS IoT")
    if end - now < _SOON_S:
        return Found(name, "warn", f"{path} expires on {dates['notAfter']}", "make a new one in AWS IoT")
    return Found(name, "ok", f"{path} holds until {dates['notAfter']}")
