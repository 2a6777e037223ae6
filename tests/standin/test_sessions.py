"""The state of one client id."""

from __future__ import annotations

from edge_runtime.standin import sessions
from edge_runtime.standin.packets import Publish
from edge_runtime.standin.sessions import Parcel, Session

SECOND = 1_000_000_000


class Outlet:
    """Takes messages, `window` at a time."""

    def __init__(self, window: int = 2, *, takes: bool = True) -> None:
        self.window = window
        self.takes = takes
        self.got: list[Publish] = []

    def send(self, packet: Publish) -> bool:
        """Keep it."""
        self.got.append(packet)
        return self.takes

    def payloads(self) -> list[bytes]:
        """Return what came since the last look."""
        got, self.got = self.got, []
        return [packet.payload for packet in got]


def parcel(number: int, qos: int = 1, expires_ns: int = 0) -> Parcel:
    return Parcel("t", b"%d" % number, qos, expires_ns=expires_ns)


def test_the_window_is_filled_again_one_for_one_and_in_order() -> None:
    session, outlet = Session("c"), Outlet(window=3)
    session.resume(outlet, 0, slowly=False)
    for number in range(6):
        session.deliver(parcel(number), 0)
    assert outlet.payloads() == [b"0", b"1", b"2"]
    assert session.acknowledged(2, 0)
    assert outlet.payloads() == [b"3"]
    assert not session.acknowledged(2, 0)
    assert not session.acknowledged(99, 0)
    assert session.acknowledged(1, 0)
    assert session.acknowledged(3, 0)
    assert outlet.payloads() == [b"4", b"5"]
    assert session.waiting == 3


def test_qos_0_goes_by_the_queue_and_is_not_kept() -> None:
    session, outlet = Session("c"), Outlet(window=1)
    session.deliver(parcel(0, qos=0), 0)
    session.resume(outlet, 0, slowly=False)
    for number in (1, 2):
        session.deliver(parcel(number), 0)
    session.deliver(parcel(3, qos=0), 0)
    assert outlet.payloads() == [b"1", b"3"]


def test_a_new_connection_gets_the_unacknowledged_again_then_the_rest() -> None:
    session, first, second = Session("c"), Outlet(), Outlet(window=3)
    session.resume(first, 0, slowly=False)
    for number in range(4):
        session.deliver(parcel(number), 0)
    session.leave()
    assert not session.online
    session.resume(second, 0, slowly=False)
    assert [(p.payload, p.packet_id, p.dup) for p in second.got] == [
        (b"0", 1, True),
        (b"1", 2, True),
        (b"2", 3, False),
    ]


def test_a_backlog_is_handed_out_slowly_while_new_messages_pass() -> None:
    session, outlet = Session("c"), Outlet(window=10)
    for number in range(3):
        session.deliver(parcel(number), 0)
    session.resume(outlet, 0, slowly=True)
    session.deliver(parcel(9), 0)
    assert outlet.payloads() == [b"9"]
    assert session.drip(0)
    assert outlet.payloads() == [b"0"]
    session.leave()
    session.resume(outlet, 0, slowly=True)
    assert outlet.payloads() == [b"9", b"0"]
    assert session.drip(0)
    assert not session.drip(0)
    assert outlet.payloads() == [b"1", b"2"]


def test_expired_messages_are_left_out_wherever_they_wait() -> None:
    session, outlet = Session("c"), Outlet()
    session.deliver(parcel(0, expires_ns=5 * SECOND), 0)
    session.deliver(parcel(1, expires_ns=10 * SECOND), 0)
    session.resume(outlet, 6 * SECOND, slowly=False)
    (packet,) = outlet.got
    assert (packet.payload, packet.properties) == (b"1", {"message_expiry": 4})
    session.leave()
    session.resume(outlet, 10 * SECOND, slowly=False)
    assert outlet.payloads() == [b"1"]
    assert session.waiting == 0


def test_what_a_client_cannot_take_does_not_block_the_rest() -> None:
    session, outlet = Session("c"), Outlet(window=1, takes=False)
    session.resume(outlet, 0, slowly=False)
    session.deliver(parcel(0), 0)
    outlet.takes = True
    session.deliver(parcel(1), 0)
    assert outlet.payloads() == [b"0", b"1"]
    assert list(session.sent) == [2]


def test_packet_identifiers_wrap_around_those_in_use() -> None:
    session, outlet = Session("c"), Outlet(window=65_535)
    session.resume(outlet, 0, slowly=False)
    session.deliver(parcel(0), 0)
    session._last_id = 65_534
    for number in (1, 2):
        session.deliver(parcel(number), 0)
    assert [packet.packet_id for packet in outlet.got] == [1, 65_535, 2]


def test_a_full_queue_drops_the_newest_and_counts() -> None:
    session = Session("c")
    for number in range(sessions.MOST_QUEUED + 3):
        session.deliver(parcel(number), 0)
    assert (session.waiting, session.dropped, session.queue[0].payload) == (sessions.MOST_QUEUED, 3, b"0")
