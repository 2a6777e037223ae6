"""The way to the broker: its name, its doors, and what time it is there."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from edge_runtime.app import App, LinkSpec
from edge_runtime.cli import _names
from edge_runtime.cli._common import when
from edge_runtime.cli._finding import Finding
from edge_runtime.cli._knock import Answer, End, knock, server_time
from edge_runtime.cli._together import begin
from edge_runtime.cloud import identity as identities
from edge_runtime.cloud.identity import Identity
from edge_runtime.errors import ConfigError
from edge_runtime.links._settings import Settings

SECURE, HTTPS = 8883, 443
"""The ports of MQTT with a client certificate at AWS IoT Core (developer guide, "Device communication protocols")."""
_MQTT = ("awscrt", "paho")
_ATS = "https://www.amazontrust.com/repository/AmazonRootCA1.pem"
_NEAR_S, _FAR_S = 10.0, 300.0
"""Signatures of AWS requests tolerate five minutes."""


class Doors(NamedTuple):
    """Where the link connects, and where it could as well."""

    main: Settings
    other: Settings | None = None
    https: Settings | None = None
    """Where the endpoint answers HTTP, too, and so tells what time it is."""


def is_aws(host: str) -> bool:
    """Tell whether a host is an endpoint of AWS."""
    return host.lower().rstrip(".").endswith((".amazonaws.com", ".amazonaws.com.cn"))


def doors_of(link: LinkSpec) -> Doors | None:
    """Return the doors of a link; None for one without a broker that it dials itself.

    Raises: ConfigError when its options are wrong.
    """
    options = link.options
    if link.driver not in _MQTT or not options.get("endpoint"):
        return None
    fields = {field.name for field in dataclasses.fields(Settings)} - {"certificate", "key", "pkcs11"}
    given = {name: value for name, value in options.items() if name in fields}
    if options.get("certificate") and given.get("tls") is None:
        given["tls"] = True  # the pair is looked at elsewhere, and need not be right for this
    main = Settings(**given)  # type: ignore[arg-type]  # the loader has checked what there is
    if not is_aws(main.endpoint) or main.use_port not in (SECURE, HTTPS):
        return Doors(main)
    other = Settings(**{**given, "port": HTTPS if main.use_port == SECURE else SECURE})  # type: ignore[arg-type]  # same
    return Doors(main, other, main if main.use_port == HTTPS else other)


def identity_of(options: Mapping[str, object]) -> Identity | None:
    """Return the pair that the link shows; None without one, or when it is not right."""
    if not options.get("certificate") or not options.get("key"):
        return None
    try:
        return identities.read(str(options["certificate"]), str(options["key"]))
    except ConfigError:
        return None  # the check of the files says so


class Way:
    """The way to the broker of one app. `walk` yields what is found; then `is_open` tells whether it can be gone."""

    def __init__(self, app: App, doors: Doors, within_s: float) -> None:
        self.is_open = False
        self._doors = doors
        options = app.link.options if app.link else {}
        self._identity = identity_of(options)
        self._is_empty_handed = self._identity is None and bool(options.get("certificate"))
        """The link has a certificate that cannot be shown here: its key lies in a token, or is not right."""
        self._within_s = within_s

    def walk(self) -> Iterator[Finding]:
        """Resolve the name, knock at each door, ask for the time."""
        main, within_s = self._doors.main, self._within_s
        yield from legacy(main.endpoint)
        addresses: tuple[str, ...] = (main.endpoint,)
        if not _names.is_address(main.endpoint):
            found = _names.look_up(main.endpoint, within_s)
            yield _names.finding(main.endpoint, found, servers=_names.name_servers(), routed=_names.has_route())
            addresses = found.addresses
        if not addresses:
            yield Finding(f"port {main.use_port}", "skip", f"{main.endpoint} has no address")
            return
        asked = [one for one in (main, self._doors.other) if one is not None]
        knocks = [begin(f"doctor.port.{one.use_port}", lambda one=one: self._knock(one, addresses)) for one in asked]  # type: ignore[misc]  # bound here
        answers = [call.result() for call in knocks]
        self.is_open = answers[0].end is End.OPEN
        yield from told(self._doors, answers)
        if self._doors.https is not None:
            yield from compared(server_time(self._doors.https, addresses[0], within_s), answers)

    def _knock(self, door: Settings, addresses: tuple[str, ...]) -> Answer:
        answer = knock(door, addresses, self._identity, self._within_s)
        if self._is_empty_handed and answer.end is End.TURNED_AWAY:  # as it must; the broker itself was trusted by then
            return dataclasses.replace(answer, end=End.OPEN)
        return answer


def legacy(endpoint: str) -> Iterator[Finding]:
    """Note an endpoint whose certificate is signed by a CA that has been given up."""
    name = endpoint.lower()
    if is_aws(name) and ".iot." in name and "-ats.iot." not in name and not name.startswith("data.iot."):
        text = f"{endpoint} has no -ats in its name: its certificate is of a CA that systems do not trust any more"
        yield Finding("endpoint", "warn", text, "aws iot describe-endpoint --endpoint-type iot:Data-ATS")


def told(doors: Doors, answers: Iterable[Answer]) -> Iterator[Finding]:
    """Say what was found at the doors, the link's own first."""
    first, *rest = answers
    other = rest[0] if rest else None
    finding = _said(doors.main, first)
    if finding.level == "fail" and doors.other is not None and other is not None and other.end is End.OPEN:
        there = doors.other.use_port
        finding = dataclasses.replace(finding, fix=f"port {there} is open: write `port: {there}` under link:")
    yield finding
    if first.silent:
        kinds, port = " and ".join(first.silent), doors.main.use_port
        text = f"{kinds} does not answer at port {port}, and each connect may wait for that first"
        yield Finding("addresses", "warn", text, f"mend {kinds}, or turn it off on this machine")
    if doors.other is None or other is None:
        return
    finding = _said(doors.other, other)
    if finding.level == "fail" and first.end is End.OPEN:
        finding = Finding(finding.what, "ok", f"{finding.text}; the link does not use it")
    yield finding


def compared(ahead_s: float | None, answers: Iterable[Answer]) -> Iterator[Finding]:
    """Say how our clock stands to that of the endpoint."""
    if ahead_s is None:
        if any(answer.end is End.OPEN for answer in answers):
            yield Finding("time", "skip", "the endpoint does not say what time it is")
        return
    off_s = abs(ahead_s)
    if off_s < _NEAR_S:
        yield Finding("time", "ok", f"the clock agrees with that of the endpoint to {max(1.0, off_s):.0f} s")
        return
    text = f"the clock is {off_s:.0f} s {'behind' if ahead_s > 0 else 'ahead of'} that of the endpoint"
    text += f", where it is {when(time.time() + ahead_s)}"
    level = "warn" if off_s < _FAR_S else "fail"
    fix = "sudo timedatectl set-ntp true, or with chrony: sudo chronyc makestep"
    yield Finding("time", level, text, fix)  # type: ignore[arg-type]  # one of the levels


def _said(door: Settings, answer: Answer) -> Finding:
    """Return what is to be said of one door."""
    what = f"port {door.use_port}"
    if answer.end is End.OPEN:
        spent = f"TCP {answer.tcp_s * 1000:.0f} ms"
        if door.use_tls:
            spent += f", TLS {answer.tls_s * 1000:.0f} ms; the certificate is trusted"
        return Finding(what, "ok", f"{door.where} answers: {spent}")
    text, fix = _TEXTS[answer.end](door, answer)
    return Finding(what, "fail", text, fix)


def _stranger(door: Settings, answer: Answer) -> tuple[str, str]:
    peer = answer.peer
    of = f"that of {', '.join(peer.subject[:3])}" if peer.subject else "of another host"
    text = f"the certificate at {door.where} is {of}{f', by {peer.issuer}' if peer.issuer else ''}"
    if is_aws(door.endpoint):
        return f"{text}: something on the way answers in its place, a captive portal or a proxy", _portal(door)
    return text, "write into `endpoint` a name that is in the broker's certificate"


def _distrusted(door: Settings, answer: Answer) -> tuple[str, str]:
    peer = answer.peer
    if is_aws(door.endpoint) and peer.subject and not peer.fits(door.endpoint):
        return _stranger(door, answer)
    trusting = f"ca ({door.ca})" if door.ca else "this machine"
    by = f", signed by {peer.issuer}," if peer.issuer else ""
    text = f"the certificate of {door.where}{by} is not trusted by {trusting}: {answer.detail}"
    if not is_aws(door.endpoint):
        return text, "write into `ca` the CA that has signed the broker's certificate"
    if "amazon" in peer.issuer.lower() or "starfield" in peer.issuer.lower():
        return text, f"curl -o {door.ca or 'AmazonRootCA1.pem'} {_ATS}, and name it in `ca`"
    return f"{text}; a proxy that looks into TLS does so", _portal(door)


def _out_of_date(door: Settings, answer: Answer) -> tuple[str, str]:
    now_s = time.time()
    begin_s, end_s = answer.holds or (0.0, 0.0)
    holds = f"from {identities.day(begin_s)} to {identities.day(end_s)}" if answer.holds else "at another time"
    text = f"the certificate of {door.where} holds {holds}, and this machine believes it is {identities.day(now_s)}"
    return text, "if that is wrong: sudo timedatectl set-ntp true; else the broker needs a new certificate"


def _portal(door: Settings) -> str:
    return (
        "open a browser on this network and sign in, or have its owner let "
        f"{door.endpoint} through on port {door.use_port} untouched"
    )


_TEXTS: dict[End, Callable[[Settings, Answer], tuple[str, str]]] = {
    End.REFUSED: lambda door, _: (
        f"nothing listens at {door.where}",
        "check `endpoint` and `port`, and that the broker runs",
    ),
    End.SILENT: lambda door, answer: (
        f"{door.where} does not answer within {answer.detail}",
        f"have the firewall let TCP port {door.use_port} out",
    ),
    End.UNREACHABLE: lambda door, answer: (
        f"{door.where} cannot be reached: {answer.detail}",
        "check the network: ip route, ip address",
    ),
    End.CLOSED: lambda door, _: (
        f"{door.where} hangs up during the TLS handshake",
        "a firewall may cut TLS that it cannot look into; have it let the endpoint through",
    ),
    End.NO_TLS: lambda door, answer: (
        f"{door.where} does not speak TLS: {answer.detail}",
        "check `port`; a broker without TLS has `tls: false`",
    ),
    End.HTTP: lambda door, answer: (
        f"{door.where} answers in plain HTTP ({answer.detail}): a captive portal, or not the broker",
        _portal(door),
    ),
    End.DISTRUSTED: _distrusted,
    End.STRANGER: _stranger,
    End.OUT_OF_DATE: _out_of_date,
    End.TURNED_AWAY: lambda door, answer: (
        f"{door.where} does not take our certificate: {answer.detail}",
        "aws iot describe-certificate --certificate-id ID: it must be ACTIVE, in this account and region",
    ),
    End.NO_MQTT: lambda door, _: (
        f"{door.where} speaks TLS but offers no MQTT there (ALPN {', '.join(door.alpn)})",
        "use port 8883, or check that no proxy stands in between",
    ),
    End.BAD_FILES: lambda _, answer: (answer.detail, "correct `ca` under link:"),
}
