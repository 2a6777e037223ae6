"""The quotas of AWS IoT Core, and checks that say which one is broken and by how much.

Source of every number: AWS General Reference, "AWS IoT Core endpoints and quotas" (message broker and protocol
limits). AWS discards or disconnects without a word, so all of this is checked before anything is queued.
"""

from __future__ import annotations

from collections.abc import Sequence

from edge_runtime.errors import LimitError
from edge_runtime.pure.topics import check_filter, check_topic

TOPIC_BYTES = 256
"""UTF-8 bytes of a topic, without the Basic Ingest prefix `$aws/rules/<rule>/`."""
TOPIC_SLASHES = 7
"""Slashes in a topic or filter, without those of the Basic Ingest prefix (3) or of `$share/<name>/` (2)."""
PAYLOAD_BYTES = 128 * 1024
PUBLISHES_PER_S = 100
"""Per connection, in and out together; what is more is discarded."""
BYTES_PER_S = 512 * 1024
"""Per connection; what is more is delayed."""
UNACKNOWLEDGED = 100
"""QoS 1 publishes under way, per client and direction."""
SUBSCRIPTIONS = 50
"""Per connection."""
FILTERS_PER_SUBSCRIBE = 8
"""In one SUBSCRIBE packet."""
CLIENT_ID_BYTES = 128
CONNECTS_PER_S = 1
"""Per client id."""
CONNECT_GAP_S = 1.1
"""After so long a client id may connect again, and is not refused for it."""
KEEP_ALIVE_S = (30, 1200)
"""Least and most; the broker drops the connection after 1.5 times the value."""
SESSION_EXPIRY_S = 604_800
MESSAGE_EXPIRY_S = (1, 604_800)

_INGEST = "$aws/rules/"
_SHARE = "$share/"


def _after_prefix(topic: str, prefix: str, levels: int) -> str:
    """Return what counts against the quota: the text after so many levels when it begins with `prefix`."""
    if not topic.startswith(prefix):
        return topic
    return topic.split("/", levels)[-1] if topic.count("/") >= levels else ""


def _check_size(topic: str, counted: str, what: str) -> None:
    # A character is at most 4 bytes: only a long text needs to be encoded to be counted.
    if len(counted) * 4 > TOPIC_BYTES and (size := len(counted.encode())) > TOPIC_BYTES:
        raise LimitError(f"{what} {topic!r} has {size} bytes; AWS IoT Core allows {TOPIC_BYTES}")


def _check_depth(topic: str, counted: str, what: str) -> None:
    if (slashes := counted.count("/")) > TOPIC_SLASHES:
        raise LimitError(f"{what} {topic!r} has {slashes} slashes; AWS IoT Core allows {TOPIC_SLASHES}")


def check_publish(topic: str, size: int) -> None:
    """Return if AWS IoT Core takes a payload of `size` bytes on `topic`.

    Raises: LimitError naming the quota, its value and what was found.
    """
    check_topic(topic)
    counted = _after_prefix(topic, _INGEST, 3)
    if not counted:
        raise LimitError(f"topic {topic!r} has nothing after the name of the rule: Basic Ingest needs a topic there")
    _check_size(topic, counted, "topic")
    _check_depth(topic, counted, "topic")
    if size > PAYLOAD_BYTES:
        raise LimitError(
            f"the payload for {topic!r} has {size} bytes; AWS IoT Core allows {PAYLOAD_BYTES}",
            hint="send less at a time, or put the data into S3 and publish its key",
        )


def check_filters(filters: Sequence[str]) -> None:
    """Return if one connection to AWS IoT Core may subscribe to all of `filters`.

    Raises: LimitError naming the quota, its value and what was found.
    """
    if (count := len(set(filters))) > SUBSCRIPTIONS:
        raise LimitError(
            f"{count} topic filters; AWS IoT Core allows {SUBSCRIPTIONS} subscriptions on a connection",
            hint="join filters with the wildcards + and #",
        )
    for one in filters:
        check_filter(one)
        if one.startswith(_INGEST):
            raise LimitError(f"topic filter {one!r}: Basic Ingest topics can be published to, not subscribed to")
        counted = _after_prefix(one, _SHARE, 2)
        if not counted:
            raise LimitError(f"topic filter {one!r} is no shared subscription: write $share/<name>/<filter>")
        _check_size(one, counted, "topic filter")
        _check_depth(one, counted, "topic filter")


def check_client_id(client_id: str) -> None:
    """Return if AWS IoT Core takes this MQTT client id.

    Raises: LimitError naming the quota, its value and what was found.
    """
    if not client_id:
        raise LimitError("the MQTT client id is empty; AWS IoT Core needs one, usually the name of the thing")
    if client_id.startswith("$"):
        raise LimitError(f"the MQTT client id {client_id!r} begins with '$', which AWS IoT Core keeps for itself")
    try:
        size = len(client_id.encode())
    except UnicodeEncodeError:
        raise LimitError(f"the MQTT client id {client_id!r} is not valid Unicode") from None
    if "\0" in client_id:
        raise LimitError(f"the MQTT client id {client_id!r} holds a NUL character, which MQTT does not allow")
    if size > CLIENT_ID_BYTES:
        raise LimitError(f"the MQTT client id {client_id!r} has {size} bytes; AWS IoT Core allows {CLIENT_ID_BYTES}")
