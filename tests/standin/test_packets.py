"""The packets."""

from __future__ import annotations

from edge_runtime.standin.packets import Connect, Kind, Publish, Subscription


def test_the_types_have_the_numbers_of_the_specification() -> None:
    assert [kind.value for kind in Kind] == list(range(1, 16))
    assert (Kind.CONNECT, Kind.PUBLISH, Kind.PUBACK, Kind.DISCONNECT, Kind.AUTH) == (1, 3, 4, 14, 15)


def test_the_shortest_packets_are_the_harmless_ones() -> None:
    assert Connect("me") == Connect("me", 5, True, 0, None, None, None, {})
    assert Publish("t", b"p") == Publish("t", b"p", 0, False, False, 0, {})
    assert Subscription("t") == Subscription("t", 0, False, False, 0)
