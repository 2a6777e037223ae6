"""One door of the endpoint: a TCP connection and a TLS handshake, looked at closely, and no word of MQTT."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from enum import Enum, auto
from http.client import HTTPConnection, HTTPException
from typing import NamedTuple

from edge_runtime.cli._names import families
from edge_runtime.cli._together import begin
from edge_runtime.cli._x509 import Names, names
from edge_runtime.cloud.identity import Identity
from edge_runtime.errors import LinkError
from edge_runtime.links._settings import Settings
from edge_runtime.links._tls import make_context
from edge_runtime.pure import certificates

_NO_CHECK_TIME = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME (OpenSSL, x509_vfy.h): all is checked but the dates."""
_LISTEN_S = 0.3
"""With TLS 1.3 a broker says only after the handshake that it does not take a certificate."""


class End(Enum):
    """How it ended."""

    OPEN = auto()
    """All is well."""
    REFUSED = auto()
    """Nobody listens."""
    SILENT = auto()
    """No answer: a firewall, or no network."""
    UNREACHABLE = auto()
    """The system knows no way there."""
    CLOSED = auto()
    """It was hung up during the handshake."""
    NO_TLS = auto()
    """Something else than TLS is spoken."""
    HTTP = auto()
    """Plain HTTP is spoken: a captive portal."""
    DISTRUSTED = auto()
    """Nobody that we trust has signed the certificate."""
    STRANGER = auto()
    """The certificate is that of another host."""
    OUT_OF_DATE = auto()
    """The certificate does not hold at the time that this machine believes it is; all else is right."""
    TURNED_AWAY = auto()
    """It does not take our certificate."""
    NO_MQTT = auto()
    """TLS stands, but MQTT is not offered."""
    BAD_FILES = auto()
    """The CA file cannot be used."""


_VERIFY = {9: End.OUT_OF_DATE, 10: End.OUT_OF_DATE, 62: End.STRANGER, 64: End.STRANGER}
"""X509_V_ERR_CERT_NOT_YET_VALID, _CERT_HAS_EXPIRED, _HOSTNAME_MISMATCH, _IP_ADDRESS_MISMATCH (x509_vfy.h)."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What was found at a door."""

    end: End
    detail: str = ""
    """Why, in the words of whoever knew."""
    tcp_s: float = 0.0
    tls_s: float = 0.0
    silent: tuple[str, ...] = ()
    """Families of addresses that did not answer, where another one did."""
    peer: Names = field(default_factory=Names)
    """What the certificate says, where it was not trusted."""
    holds: tuple[float, float] | None = None
    """From when until when the certificate holds, where that was the trouble; seconds since the epoch."""


class _Line(NamedTuple):
    """A TCP connection."""

    socket: socket.socket
    address: str
    seconds: float
    silent: tuple[str, ...]


def knock(settings: Settings, addresses: Sequence[str], identity: Identity | None, within_s: float) -> Answer:
    """Connect to the endpoint of `settings` at these addresses, shake hands if it is to be TLS, and hang up.

    Each step may take `within_s`. The identity is shown, if there is one whose key is in a file.
    """
    line = _dial(addresses, settings.use_port, within_s)
    if isinstance(line, Answer):
        return line
    with closing(line.socket):
        if not settings.use_tls:
            return Answer(End.OPEN, tcp_s=line.seconds, silent=line.silent)
        try:
            context = make_context(settings, identity)
        except LinkError as error:
            return Answer(End.BAD_FILES, str(error), tcp_s=line.seconds)
        answer = _shake(context, line, settings, within_s)
    return _look_closer(answer, settings, line.address, within_s)


def server_time(settings: Settings, address: str, within_s: float) -> float | None:
    """Return how far the clock of the endpoint is ahead of ours, in seconds; None when it does not say by HTTP.

    The chain and the name of its certificate are checked, the dates are not: they are what is in question.
    """
    try:
        context = _timeless(settings)
        context.set_alpn_protocols(["http/1.1"])
        with (
            socket.create_connection((address, settings.use_port), within_s) as plain,
            context.wrap_socket(plain, server_hostname=settings.endpoint) as line,
        ):
            asking = HTTPConnection(settings.endpoint)
            asking.sock = line
            before_s = time.time()
            asking.request("HEAD", "/")
            said = parsedate_to_datetime(asking.getresponse().getheader("date") or "")
            # The header has no fractions: it names a second that had begun.
            return said.timestamp() + 0.5 - (before_s + time.time()) / 2
    except (OSError, ValueError, HTTPException, LinkError):
        return None


def _dial(addresses: Sequence[str], port: int, within_s: float) -> _Line | Answer:
    """Connect to the first address of each family side by side; return the first connection in their order."""
    since_s = time.monotonic()
    calls = {
        family: begin(f"doctor.dial.{family}", lambda one=one: _connected(one, port, within_s))  # type: ignore[misc]  # bound here
        for family, one in families(addresses).items()
    }
    lines: list[_Line] = []
    failed: list[tuple[str, OSError]] = []
    for family, call in calls.items():
        try:
            lines.append(call.result(max(0.1, since_s + within_s + 1 - time.monotonic())))
        except OSError as error:
            failed.append((family, error))
    if lines:
        for other in lines[1:]:
            other.socket.close()
        return lines[0]._replace(silent=tuple(family for family, error in failed if isinstance(error, TimeoutError)))
    errors = [error for _, error in failed]
    refused = next((error for error in errors if isinstance(error, ConnectionRefusedError)), None)
    if refused is not None:
        return Answer(End.REFUSED)
    if any(isinstance(error, TimeoutError) for error in errors):
        return Answer(End.SILENT, f"{within_s:g} s")
    return Answer(End.UNREACHABLE, errors[0].strerror or str(errors[0]) if errors else "it has no address")


def _connected(address: str, port: int, within_s: float) -> _Line:
    since_s = time.monotonic()
    made = socket.create_connection((address, port), within_s)
    return _Line(made, address, time.monotonic() - since_s, ())


def _shake(context: ssl.SSLContext, line: _Line, settings: Settings, within_s: float) -> Answer:
    """Shake hands, and listen for a moment whether we are welcome."""
    since_s = time.monotonic()
    known = Answer(End.OPEN, tcp_s=line.seconds, silent=line.silent)
    line.socket.settimeout(within_s)
    try:
        with context.wrap_socket(line.socket, server_hostname=settings.endpoint) as tls:
            known = replace(known, tls_s=time.monotonic() - since_s)
            if settings.alpn and tls.selected_alpn_protocol() not in settings.alpn:
                return replace(known, end=End.NO_MQTT)
            tls.settimeout(_LISTEN_S + 2 * line.seconds)
            return known if tls.recv(1) else replace(known, end=End.TURNED_AWAY, detail="it hung up without a word")
    except OSError as error:
        return _failed(known, error, within_s)


def _failed(known: Answer, error: OSError, within_s: float) -> Answer:
    """Return what an error means; `known` has the time of the handshake if that was done."""
    after = known.tls_s > 0
    if isinstance(error, ssl.SSLCertVerificationError):
        end, detail = _VERIFY.get(error.verify_code, End.DISTRUSTED), error.verify_message
    elif isinstance(error, TimeoutError):
        end, detail = (End.OPEN, "") if after else (End.SILENT, f"{within_s:g} s")
    elif isinstance(error, ssl.SSLEOFError | ConnectionError):
        end, detail = End.TURNED_AWAY if after else End.CLOSED, "it hung up without a word"
    elif isinstance(error, ssl.SSLError):
        detail = (error.reason or str(error)).replace("_", " ").lower()
        end = End.TURNED_AWAY if "alert" in detail else End.NO_TLS
    else:
        end, detail = End.UNREACHABLE, error.strerror or str(error)
    return replace(known, end=end, detail=detail)


def _look_closer(answer: Answer, settings: Settings, address: str, within_s: float) -> Answer:
    """Find out more about a door at which something else answers than what was expected."""
    if answer.end is End.NO_TLS:
        said = _http(settings, address, within_s)
        return replace(answer, end=End.HTTP, detail=said) if said else answer
    if answer.end not in (End.DISTRUSTED, End.STRANGER, End.OUT_OF_DATE):
        return answer
    blind = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    blind.check_hostname = False
    blind.verify_mode = ssl.CERT_NONE  # nothing is believed of it and nothing sent: it is only read
    der = _certificate(blind, settings, address, within_s)
    answer = replace(answer, peer=names(der))
    if answer.end is not End.OUT_OF_DATE:
        return answer
    try:
        timeless = _certificate(_timeless(settings), settings, address, within_s)
    except LinkError:
        timeless = b""
    if not timeless:  # with the right time, it would not be trusted either
        return replace(answer, end=End.DISTRUSTED)
    found = certificates.parse(ssl.DER_cert_to_PEM_cert(timeless).encode())
    return replace(answer, holds=(found.begin_s, found.end_s))


def _timeless(settings: Settings) -> ssl.SSLContext:
    """Return a context that checks all but the dates. Raises: LinkError."""
    context = make_context(settings, None)
    context.verify_flags |= _NO_CHECK_TIME
    return context


def _certificate(context: ssl.SSLContext, settings: Settings, address: str, within_s: float) -> bytes:
    """Return the certificate that is shown there, empty when the handshake fails."""
    if settings.alpn:
        context.set_alpn_protocols(settings.alpn)
    try:
        with (
            socket.create_connection((address, settings.use_port), within_s) as plain,
            context.wrap_socket(plain, server_hostname=settings.endpoint) as line,
        ):
            return line.getpeercert(binary_form=True) or b""
    except OSError:
        return b""


def _http(settings: Settings, address: str, within_s: float) -> str:
    """Return the first words of an answer to plain HTTP, and where it leads; empty when there is none."""
    try:
        with socket.create_connection((address, settings.use_port), within_s) as line:
            line.sendall(f"HEAD / HTTP/1.1\r\nHost: {settings.endpoint}\r\nConnection: close\r\n\r\n".encode())
            with line.makefile("rb") as lines:
                answer = [lines.readline(1000).decode("latin-1").strip() for _ in range(20)]
    except OSError:
        return ""
    if not answer[0].startswith("HTTP/"):
        return ""
    led = next((one.partition(":")[2].strip() for one in answer if one.lower().startswith("location:")), "")
    return f"{answer[0]}{f', which leads to {led}' if led else ''}"
