"""Fetch a file of a known size and SHA-256 over https, going on where an earlier try broke off.

Everything here blocks: call it on a thread.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import http.client
import os
import ssl
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from edge_runtime import disk
from edge_runtime.errors import LinkError, RefusedError
from edge_runtime.pure.jobs import RefusalError, https

_TIMEOUT_S = 30.0
_CHUNK = 64 * 1024
_PARTIAL, _FORBIDDEN, _TOO_MANY, _BAD_RANGE, _SERVER = 206, 403, 429, 416, 500
_LATER = frozenset({408, 425, _TOO_MANY})


class ExpiredError(LinkError):
    """The address is no longer good: a presigned one lasts an hour. With a fresh one it goes on."""


@dataclass(frozen=True, slots=True)
class File:
    """What is to be fetched. Its SHA-256 is its name in `folder`; so no name that came from outside is one on disk."""

    folder: Path
    size: int
    sha256: str
    """Lower case hex."""

    @property
    def path(self) -> Path:
        """Where it is when it is whole and right."""
        return self.folder / f"{self.sha256}.bundle"

    @property
    def part(self) -> Path:
        """Where it grows."""
        return self.folder / f"{self.sha256}.part"

    def have(self) -> int:
        """Return how many bytes are there, right or wrong."""
        for path in (self.path, self.part):
            with contextlib.suppress(FileNotFoundError):
                return path.stat().st_size
        return 0


def fetch(file: File, url: str, stop: threading.Event, context: ssl.SSLContext | None = None) -> None:
    """Return when the whole file is at `file.path`, proved by its SHA-256. Safe to call when it is there already.

    Once `stop` is set it raises LinkError soon. `context` replaces the authorities that the system trusts.

    Raises: ExpiredError, RefusedError when it makes no sense to try again, else LinkError; OSError of the disk.
    """
    file.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if file.path.exists() and _is_right(file):
        return
    handle = os.open(file.part, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "r+b") as part:
        try:
            fcntl.flock(part, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LinkError("an earlier try to fetch the bundle has not ended yet") from None
        _fill(file, part, url, stop, context)
        part.flush()
        os.fsync(part.fileno())
        file.part.replace(file.path)
    disk.sync(file.folder)


def _is_right(file: File) -> bool:
    """Tell whether the file that was once whole still is; else remove it."""
    with file.path.open("rb") as whole:
        right = hashlib.file_digest(whole, "sha256").hexdigest() == file.sha256
    if not right:
        file.path.unlink()
    return right


def _fill(file: File, part: IO[bytes], url: str, stop: threading.Event, context: ssl.SSLContext | None) -> None:
    digest = hashlib.sha256()
    begun = _read(part, digest)
    if begun > file.size:
        begun, digest = _empty(part), hashlib.sha256()
    have = begun
    if have < file.size:
        with _ask(url, have, context) as answer:
            if have and not _goes_on(answer, have, file.size):
                begun, have, digest = 0, _empty(part), hashlib.sha256()
            for chunk in _chunks(answer, stop):
                have += len(chunk)
                if have > file.size:
                    _empty(part)
                    raise RefusedError(f"the bundle has more than the {file.size} bytes that the job says")
                part.write(chunk)
                digest.update(chunk)
    if have < file.size:
        raise LinkError(f"the bundle broke off after {have} of {file.size} bytes")
    if digest.hexdigest() != file.sha256:
        _empty(part)
        if begun:  # of an earlier try: it may have been another file then, or a power cut may have spoilt it
            raise LinkError("what was fetched earlier does not fit; the bundle is fetched anew")
        raise RefusedError("the bundle does not have the SHA-256 that the job says")


def _read(part: IO[bytes], digest: hashlib._Hash) -> int:
    size = 0
    while chunk := part.read(_CHUNK):
        digest.update(chunk)
        size += len(chunk)
    return size


def _empty(part: IO[bytes]) -> int:
    part.seek(0)
    part.truncate()
    return 0


class _Careful(urllib.request.HTTPRedirectHandler):
    """Follows a redirection to https only."""

    max_redirections = 3
    max_repeats = 2

    def redirect_request(  # noqa: PLR0917 - the signature of the base class
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """Return the request for the new address."""
        try:
            https(newurl)
        except RefusalError:
            raise RefusedError(f"{_host(req.full_url)} redirects to an address that is not https") from None
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _ask(url: str, have: int, context: ssl.SSLContext | None) -> http.client.HTTPResponse:
    """Ask for the bytes from `have` on."""
    headers = {"Accept-Encoding": "identity", "User-Agent": "edge-runtime"}
    if have:
        headers["Range"] = f"bytes={have}-"
    opener = urllib.request.build_opener(
        urllib.request.HTTPSHandler(context=context or ssl.create_default_context()), _Careful()
    )
    request = urllib.request.Request(https(url), headers=headers)  # noqa: S310 - checked to be https
    try:
        answer: http.client.HTTPResponse = opener.open(request, timeout=_TIMEOUT_S)
    except LinkError:
        raise
    except HTTPError as error:
        with error:
            raise _refusal(_host(url), error.code) from None
    except URLError as error:
        raise LinkError(f"{_host(url)} cannot be reached: {error.reason}", hint="edge doctor") from error
    except (http.client.HTTPException, OSError) as error:
        raise LinkError(f"{_host(url)} cannot be reached: {error!r}", hint="edge doctor") from error
    return answer


def _refusal(host: str, status: int) -> LinkError:
    if status == _FORBIDDEN:
        return ExpiredError(f"{host} answers 403: the address of the bundle has expired, or was never good")
    if status == _BAD_RANGE:
        return RefusedError(f"{host} has a bundle that is smaller than the job says")
    if status in _LATER or status >= _SERVER:
        return LinkError(f"{host} answers {status}")
    return RefusedError(f"{host} answers {status} instead of the bundle")


def _goes_on(answer: http.client.HTTPResponse, have: int, size: int) -> bool:
    """Tell whether an answer holds the rest; False when it holds the whole. Raises: RefusedError."""
    if answer.status != _PARTIAL:
        return False
    found = answer.headers.get("Content-Range", "")
    if not found.startswith(f"bytes {have}-"):
        raise RefusedError(f"the answer is of other bytes than were asked for: {found[:60]!r}")
    if not found.endswith((f"/{size}", "/*")):
        raise RefusedError(f"the bundle is not of the {size} bytes that the job says: {found[:60]!r}")
    return True


def _chunks(answer: http.client.HTTPResponse, stop: threading.Event) -> Iterator[bytes]:
    while True:
        try:
            chunk = answer.read(_CHUNK)
        except (http.client.HTTPException, OSError) as error:
            raise LinkError(f"the bundle broke off: {error!r}") from error
        if stop.is_set():
            raise LinkError("nobody waits for the bundle any more")
        if not chunk:
            return
        yield chunk


def _host(url: str) -> str:
    # Never more of it: the rest of a presigned address is as good as a password.
    return urlsplit(url).hostname or "the host"
