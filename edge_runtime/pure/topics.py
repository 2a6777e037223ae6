"""MQTT topic names and filters, matched as AWS IoT Core matches them.

Two rules differ from what many expect. AWS: `sensor/#` matches `sensor/` and all below it, but not `sensor` itself
(AWS IoT Core developer guide, "Topic filters"; MQTT 5.0 section 4.7.1.2 says that it does). MQTT 5.0 section 4.7.2:
a filter that begins with a wildcard does not match topics that begin with `$`.
"""

from __future__ import annotations

from edge_runtime.errors import LimitError

MOST_BYTES = 65535
"""MQTT 5.0 section 4.7.3: a topic is a UTF-8 string with a length of two bytes."""


def _check_text(text: str, what: str) -> None:
    if not text:
        raise LimitError(f"a {what} may not be empty")
    if "\0" in text:
        raise LimitError(f"{what} {text!r} holds a NUL character, which MQTT does not allow")
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise LimitError(f"{what} {text!r} is not valid Unicode: a lone surrogate at {error.start}") from None
    if size > MOST_BYTES:
        raise LimitError(f"{what} {text[:40]!r}... has {size} bytes; MQTT allows {MOST_BYTES}")


def check_topic(topic: str) -> None:
    """Return if a message may be published on `topic`.

    Raises: LimitError, which says what is wrong.
    """
    _check_text(topic, "topic")
    for sign in "+#":
        if sign in topic:
            raise LimitError(
                f"topic {topic!r} holds {sign!r}: wildcards belong in filters, not in the topic of a message"
            )


def check_filter(topic_filter: str) -> None:
    """Return if `topic_filter` may be subscribed to or used in a rule.

    Raises: LimitError, which says what is wrong.
    """
    _check_text(topic_filter, "topic filter")
    levels = topic_filter.split("/")
    for level in levels:
        if level not in ("+", "#") and ("+" in level or "#" in level):
            raise LimitError(f"topic filter {topic_filter!r}: a wildcard must be a whole level, {level!r} is not")
    if "#" in levels[:-1]:
        raise LimitError(f"topic filter {topic_filter!r}: '#' may only be the last level")


def matches(topic_filter: str, topic: str) -> bool:
    """Tell whether `topic` is one of those that `topic_filter` names. Both must have been checked."""
    if topic[:1] == "$" and topic_filter[:1] in ("+", "#"):
        return False
    wanted, got = topic_filter.split("/"), topic.split("/")
    last = len(wanted) - 1
    for index, level in enumerate(wanted):
        if level == "#":
            return index < len(got)  # at least one level, even an empty one: AWS, not MQTT
        if index >= len(got) or level not in ("+", got[index]):
            return False
    return len(got) - 1 == last
