"""The frames: both sides must agree on them, byte for byte."""

from __future__ import annotations

from edge_runtime.workers.inside.frames import LIMIT, REPLY, REQUEST


def test_the_headers_have_their_sizes() -> None:
    assert (REQUEST.size, REPLY.size) == (23, 22)
    assert REQUEST.pack(1, 2, 3, 4, 5, 6).hex() == "010000000200000003000000040005" + "06" + "00" * 7


def test_the_limit_is_the_emulators() -> None:
    assert LIMIT == 6_291_556
