"""Reason codes."""

from __future__ import annotations

import pytest

from edge_runtime.errors import EdgeError
from edge_runtime.standin.codes import Code, CodecError, connack_code


@pytest.mark.parametrize(
    ("code", "old"),
    [
        (Code.SUCCESS, 0),
        (Code.UNSUPPORTED_VERSION, 1),
        (Code.CLIENT_ID_INVALID, 2),
        (Code.SERVER_UNAVAILABLE, 3),
        (Code.QUOTA_EXCEEDED, 3),
        (Code.BAD_CREDENTIALS, 4),
        (Code.NOT_AUTHORIZED, 5),
        (0xFE, 3),
    ],
)
def test_mqtt_3_1_1_has_six_answers_to_a_connect(code: int, old: int) -> None:
    assert connack_code(code, 4) == old
    assert connack_code(code, 5) == code


def test_the_error_is_one_of_ours_and_a_value_error() -> None:
    error = CodecError("a packet ends 2 bytes too early")
    assert isinstance(error, EdgeError)
    assert isinstance(error, ValueError)
    assert (error.code, list(error.packets)) == (Code.MALFORMED_PACKET, [])
