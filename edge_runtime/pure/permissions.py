"""What a function may do, and how deep a chain of functions may become.

A topic is judged by what an event on it does: on `function/<name>/invoke` it invokes that function, on
`device/<name>/set` it uses that device, and on any other topic it is published. So a wide `publish` opens no way around
a narrow `invoke` or `devices`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from edge_runtime.app import Function, Permissions
from edge_runtime.errors import DeniedError
from edge_runtime.pure.topics import matches

MOST_DEEP = 8
"""An event that so many functions caused, one after the other, still runs a function; one more is refused."""
CAUSE = "edge-cause"
"""The header that names the event that a function had when it caused this one."""
DEPTH = "edge-depth"
"""The header that says how many functions ran in a row to cause an event."""
CLIENT_CONTEXT = "edge-client-context"
"""The header that holds the client context of an asynchronous invocation, as JSON."""
OURS = "edge-"
"""Headers that begin so are the runtime's own: no handler sees them, and nobody outside can set them."""

_NUMBER = re.compile("[0-9]{1,9}")


def invoke_topic(name: str) -> str:
    """Return the topic that feeds function `name`: to emit on it is to invoke it asynchronously."""
    return f"function/{name}/invoke"


def invoked(topic: str) -> str:
    """Return the name of the function that an event on `topic` invokes, or an empty text."""
    key, name = needed(topic)
    return name if key == "invoke" else ""


def needed(topic: str) -> tuple[str, str]:
    """Return the key of `allow` that decides about an event on `topic`, and what it must hold."""
    match topic.split("/"):
        case ["function", name, "invoke"]:
            return "invoke", name
        case ["device", name, "set"]:
            return "devices", name
        case _:
            return "publish", topic


def may_publish(permissions: Permissions, topic: str) -> bool:
    """Tell whether an event may be emitted on `topic`, a valid one, whatever it does there."""
    key, value = needed(topic)
    if key == "invoke":
        return may_invoke(permissions, value)
    if key == "devices":
        return may_use_device(permissions, value)
    return permissions.publish is None or any(matches(one, topic) for one in permissions.publish)


def may_subscribe(permissions: Permissions, topic_filter: str) -> bool:
    """Tell whether every topic that `topic_filter` matches is one that may be subscribed to."""
    return permissions.subscribe is None or any(covers(one, topic_filter) for one in permissions.subscribe)


def may_invoke(permissions: Permissions, name: str) -> bool:
    """Tell whether function `name` may be invoked, in either way."""
    return permissions.invoke is None or name in permissions.invoke


def may_use_device(permissions: Permissions, name: str) -> bool:
    """Tell whether device `name` may be read and commanded."""
    return permissions.devices is None or name in permissions.devices


def check_publish(function: Function, topic: str) -> None:
    """Return if `function` may emit on `topic`.

    Raises: DeniedError, whose hint names what to write in the app file.
    """
    if not may_publish(function.allow, topic):
        key, value = needed(topic)
        raise denied(function.name, f"emit on topic {topic!r}", key, value)


def denied(function: str, what: str, key: str, value: str) -> DeniedError:
    """Return the error for a use that `allow` of a function does not hold: `value` is missing in its list `key`."""
    return DeniedError(
        f"function {function!r} may not {what}",
        hint=f"allow it in the app file: functions: {{{function}: {{allow: {{{key}: [{value!r}]}}}}}}",
    )


def covers(wide: str, narrow: str) -> bool:
    """Tell whether filter `wide` matches every topic that filter `narrow` matches. Both must have been checked."""
    if wide[:1] in ("+", "#") and narrow[:1] == "$":
        return False
    outer, inner = wide.split("/"), narrow.split("/")
    for index, level in enumerate(outer):
        if level == "#":
            return index < len(inner)
        if index >= len(inner) or inner[index] == "#" or level not in ("+", inner[index]):
            return False
    return len(outer) == len(inner)


def depth(headers: Mapping[str, str]) -> int:
    """Return how many functions ran in a row to cause the event that has these headers; 0 where none is said."""
    text = headers.get(DEPTH, "")
    return int(text) if _NUMBER.fullmatch(text) else 0


def caused(event_id: str, headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of what a function emits that has the event `event_id` with `headers` in hand."""
    return {CAUSE: event_id, DEPTH: str(depth(headers) + 1)}
