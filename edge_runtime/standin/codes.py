"""Reason codes, and the one error that the codec raises."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import TYPE_CHECKING

from edge_runtime.errors import EdgeError

if TYPE_CHECKING:
    from edge_runtime.standin.packets import Packet


class Code(IntEnum):
    """The reason codes of MQTT 5.0 (section 2.4) that are used here; 0x80 and above mean failure."""

    SUCCESS = 0x00
    DISCONNECT_WITH_WILL = 0x04
    NO_MATCHING_SUBSCRIBERS = 0x10
    NO_SUBSCRIPTION_EXISTED = 0x11
    UNSPECIFIED_ERROR = 0x80
    MALFORMED_PACKET = 0x81
    PROTOCOL_ERROR = 0x82
    IMPLEMENTATION_ERROR = 0x83
    UNSUPPORTED_VERSION = 0x84
    CLIENT_ID_INVALID = 0x85
    BAD_CREDENTIALS = 0x86
    NOT_AUTHORIZED = 0x87
    SERVER_UNAVAILABLE = 0x88
    SERVER_BUSY = 0x89
    SHUTTING_DOWN = 0x8B
    BAD_AUTHENTICATION_METHOD = 0x8C
    KEEP_ALIVE_TIMEOUT = 0x8D
    SESSION_TAKEN_OVER = 0x8E
    FILTER_INVALID = 0x8F
    TOPIC_INVALID = 0x90
    PACKET_ID_IN_USE = 0x91
    RECEIVE_MAXIMUM_EXCEEDED = 0x93
    TOPIC_ALIAS_INVALID = 0x94
    PACKET_TOO_LARGE = 0x95
    MESSAGE_RATE_TOO_HIGH = 0x96
    QUOTA_EXCEEDED = 0x97
    ADMINISTRATIVE_ACTION = 0x98
    PAYLOAD_FORMAT_INVALID = 0x99
    RETAIN_NOT_SUPPORTED = 0x9A
    QOS_NOT_SUPPORTED = 0x9B
    SHARED_NOT_SUPPORTED = 0x9E
    CONNECTION_RATE_EXCEEDED = 0x9F
    SUBSCRIPTION_IDS_NOT_SUPPORTED = 0xA1


_RETURN_CODES = {
    Code.SUCCESS: 0,
    Code.UNSUPPORTED_VERSION: 1,
    Code.CLIENT_ID_INVALID: 2,
    Code.BAD_CREDENTIALS: 4,
    Code.BAD_AUTHENTICATION_METHOD: 4,
    Code.NOT_AUTHORIZED: 5,
}
_SERVER_UNAVAILABLE = 3


def connack_code(code: int, version: int) -> int:
    """Return what a CONNACK of that protocol version carries: MQTT 3.1.1 knows 0 to 5 only (its table 3.1)."""
    if version >= 5:  # noqa: PLR2004 - the protocol's own number
        return code
    return _RETURN_CODES.get(Code(code), _SERVER_UNAVAILABLE) if code in set(Code) else _SERVER_UNAVAILABLE


class CodecError(EdgeError, ValueError):
    """Bytes are not MQTT, or a packet cannot be put into bytes. The stream cannot be read on.

    `code` is the reason code to close the connection with. `packets` are those of the same call of `Decoder.feed`
    that were whole before the fault: they are to be handled first.
    """

    def __init__(self, message: str, *, code: Code = Code.MALFORMED_PACKET) -> None:
        super().__init__(message)
        self.code = code
        self.packets: Sequence[Packet] = ()
