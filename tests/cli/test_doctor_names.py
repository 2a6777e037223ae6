"""doctor looks up the name of the broker, and reads names in certificates."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edge_runtime.cli import _names
from edge_runtime.cli._finding import Finding
from edge_runtime.cli._x509 import Names, names
from edge_runtime.standin import certs

PATIENCE_S = 20.0
SHORT_S = 0.2


def one(found: _names.Found, *, routed: bool = True) -> Finding:
    return _names.finding("broker.lan", found, servers=["192.0.2.53"], routed=routed)


def answers(*addresses: str) -> _names.Ask:
    def ask(*_: object, **__: object) -> Sequence[tuple[Any, ...]]:
        return [(0, 0, 0, "", (address, 0)) for address in addresses]

    return ask


def fails(error: Exception) -> _names.Ask:
    def ask(*_: object, **__: object) -> Sequence[tuple[Any, ...]]:
        raise error

    return ask


def test_a_name_with_addresses_shows_them() -> None:
    found = _names.look_up(
        "broker.lan", PATIENCE_S, answers("2001:db8::1", "192.0.2.1", "192.0.2.1", "192.0.2.2", "192.0.2.3")
    )
    assert found.addresses == ("2001:db8::1", "192.0.2.1", "192.0.2.2", "192.0.2.3")
    text = "broker.lan is 2001:db8::1, 192.0.2.1, 192.0.2.2 and 1 more (IPv6 and IPv4), by 192.0.2.53"
    assert one(found._replace(seconds=0.1)) == Finding("dns", "ok", text)
    assert one(found._replace(seconds=1.5)).level == "warn"


def test_a_name_that_is_not_there() -> None:
    found = _names.look_up("broker.lan", PATIENCE_S, fails(socket.gaierror(socket.EAI_NONAME, "Name not known")))
    finding = one(found)
    assert (finding.level, finding.text) == ("fail", "there is no host broker.lan, by 192.0.2.53")
    assert "describe-endpoint" in finding.fix
    assert one(_names.look_up("a" * 70, PATIENCE_S, fails(UnicodeError("label too long")))).text == finding.text


def test_a_name_server_that_does_not_answer_holds_up_nobody() -> None:
    never = threading.Event()
    try:
        found = _names.look_up("broker.lan", SHORT_S, lambda *_, **__: [()] * never.wait(PATIENCE_S))
        assert one(found).text == "broker.lan: no answer within 0 s, by 192.0.2.53"
        assert "resolvectl" in one(found).fix
    finally:
        never.set()


def test_a_name_server_that_fails() -> None:
    found = _names.look_up("broker.lan", PATIENCE_S, fails(socket.gaierror(socket.EAI_AGAIN, "Temporary failure")))
    assert one(found).text == "broker.lan cannot be resolved: Temporary failure, by 192.0.2.53"
    text = "broker.lan cannot be resolved: this machine has no way out (no default route)"
    assert one(found, routed=False).text == text


def test_name_servers_and_routes_are_read_from_the_system(tmp_path: Path) -> None:
    (tmp_path / "resolv").write_text("# a word\nnameserver 192.0.2.1\nsearch lan\nnameserver 192.0.2.2\nnameserver\n")
    assert _names.name_servers(tmp_path / "resolv") == ["192.0.2.1", "192.0.2.2"]
    assert _names.name_servers(tmp_path / "none") == []
    four, six = tmp_path / "route", tmp_path / "ipv6_route"
    assert _names.has_route([four, six])
    four.write_text("Iface\tDestination\tGateway\neth0\t000200C0\t00000000\n")
    six.write_text(f"{'0' * 32} 00 {'0' * 32} 00 {'0' * 32} ffffffff 00000001 00000000 00200200       lo\n")
    assert not _names.has_route([four, six])
    six.write_text(f"{'0' * 32} 00 {'0' * 32} 00 {'f' * 32} 00000400 00000001 00000000 00000003    wlan0\n")
    assert _names.has_route([four, six])
    four.write_text("Iface\tDestination\tGateway\neth0\t00000000\t010200C0\n")
    assert _names.has_route([four])


def test_an_address_needs_no_name_server() -> None:
    assert [_names.is_address(text) for text in ("192.0.2.1", "2001:db8::1", "broker.lan")] == [True, True, False]


# -- names in certificates ---------------------------------------------------------------------------------------------


def test_names_of_certificates(tmp_path: Path) -> None:
    made = certs.make(tmp_path)
    found = names(ssl.PEM_cert_to_DER_cert(made.server.cert.read_text()))
    assert found == Names(("edge-runtime stand-in", "localhost"), "edge-runtime stand-in CA")
    assert found.fits("localhost")
    wild = Names(("*.iot.eu-west-1.amazonaws.com",))
    assert wild.fits("x-ats.iot.eu-west-1.amazonaws.com")
    assert not wild.fits("a.b.iot.eu-west-1.amazonaws.com")


def test_what_is_no_certificate_has_no_names(tmp_path: Path) -> None:
    made = certs.make(tmp_path)
    der = ssl.PEM_cert_to_DER_cert(made.server.cert.read_text())
    for data in (b"", b"\x30\x03abc", b"\x30", b"\xff" * 40, *(der[:cut] for cut in range(0, len(der), 7))):
        assert names(data) == Names()
