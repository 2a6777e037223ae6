"""Take apart what a device has packed into one publish, and hand on each message by itself.

It runs unchanged in AWS Lambda and on a device. In AWS Lambda an IoT rule calls it with whatever came, packed,
compressed or neither:

    SELECT encode(*, 'base64') AS data, topic() AS topic, get_user_properties('edge-pack') AS pack,
           get_user_properties('edge-id') AS id, get_user_properties('edge-seq') AS seq,
           get_user_properties('edge-time') AS time FROM 'edge/+/up/#'

On a device it takes what was published as it is: `binary: true`, with the topic in the context. See edge.yaml in the
folder above.

The environment variable UNPACK_TO says where each message goes:

    topic:unpacked/{topic}    published, on IoT Core or on the device; what calls this must not match that topic
    function:NAME             another function, invoked asynchronously with the message's own payload
    queue:URL                 an SQS queue, ten messages a call; a FIFO queue gets id and topic for its order
    (not set)                 returned as a list

Headers that all messages of a publish share are properties of the publish itself: a rule gives them by their names.
Messages are published with boto3, as AWS Lambda has it; on a device without it with greengrasssdk, which the runtime
brings and which knows no properties: then id, seq and time stay behind.
Devices deliver at least once: `id` is the same each time. What cannot be handed on raises, and the rule's retry brings
the whole publish again.
"""

import base64
import binascii
import importlib
import json
import os
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

MOST_BYTES = 16 << 20
"""What a publish may hold when it is taken apart: a device packs 256 KiB, 1 MiB at most."""
GZIP = b"\x1f\x8b"
_BATCH = 10
_BATCH_BYTES = 1 << 20


class UnpackError(ValueError):
    """What came is not what a device packs, or it could not be handed on."""


def handler(event: Any, context: Any = None) -> Any:  # noqa: ANN401 - see below; a list, or how many
    """Hand on every message of a publish. Return how many there were, or the messages when nothing says where to.

    The event is what the rule gives, or the payload itself as bytes, whose topic is `custom["subject"]` of the context.
    """
    if isinstance(event, bytes):
        subject = context.client_context.custom["subject"]
        event = {"topic": subject, "data": base64.b64encode(event).decode()}
    messages = list(unpack(event))
    target = os.environ.get("UNPACK_TO", "")
    if not target:
        return messages
    kind, _, where = target.partition(":")
    if kind not in SENDERS or not where:
        raise UnpackError(f"UNPACK_TO is {target!r}; it is to be topic:TOPIC, function:NAME or queue:URL")
    SENDERS[kind](where, messages)
    return {"messages": len(messages)}


def unpack(event: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield each message of a publish as `topic`, `payload` (base64), `id`, `seq`, `time`, `clock` and `headers`.

    What the device did not say is left out. Raises: UnpackError.
    """
    try:
        topic, data = str(event["topic"]), base64.b64decode(event["data"], validate=True)
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        raise UnpackError(f"the rule has to give `topic` and `data`, the payload in base64: {error!r}") from error
    items = _items(data, _one(event.get("pack")))
    if items is None:
        said: dict[str, Any] = {name: _number(_one(event.get(name))) for name in ("id", "seq", "time")}
        yield {
            "topic": topic,
            "payload": base64.b64encode(data).decode(),
            **{k: v for k, v in said.items() if v is not None},
        }
        return
    for item in items:
        rest: dict[str, Any] = {name: item[name] for name in ("id", "seq", "time", "clock", "headers") if name in item}
        yield {"topic": topic, "payload": _payload(item), **rest}


def _plain(data: bytes) -> bytes:
    """Return what was compressed, or what was not as it is. Raises: UnpackError for what is damaged or far too big."""
    if not data.startswith(GZIP):
        return data
    inflate = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        raw = inflate.decompress(data, MOST_BYTES)
    except zlib.error as error:
        raise UnpackError(f"the payload begins as gzip does and is damaged: {error}") from error
    if not inflate.eof:
        raise UnpackError(f"the payload is cut off, or more than {MOST_BYTES} bytes when it is taken apart")
    return raw


def _items(data: bytes, count: str | None) -> list[dict[str, Any]] | None:
    """Return the packed messages; None for a single one, which may be an array or compressed of its own accord.

    Raises: UnpackError for what is said to be packed and is not.
    """
    try:
        found = json.loads(_plain(data))
    except (ValueError, RecursionError) as error:
        if count is not None:
            raise UnpackError(f"the publish is said to have {count} messages and cannot be read: {error}") from error
        return None
    packed = isinstance(found, list) and bool(found) and all(map(_is_packed, found))
    if count is not None and (not packed or str(len(found)) != count):
        raise UnpackError(f"the publish is said to have {count} messages and does not have them")
    return found if packed else None


def _is_packed(item: object) -> bool:
    return isinstance(item, dict) and {"id", "seq"} <= item.keys() and ("payload" in item) != ("payload_base64" in item)


def _payload(item: dict[str, Any]) -> str:
    if "payload_base64" in item:
        return str(item["payload_base64"])
    return base64.b64encode(json.dumps(item["payload"], separators=(",", ":"), ensure_ascii=False).encode()).decode()


def _one(value: Any) -> str | None:  # noqa: ANN401 - a rule gives a text or a list of them
    if isinstance(value, list):
        value = value[0] if value else None
    return None if value is None or value == "" else str(value)


def _number(text: str | None) -> int | str | None:
    return int(text) if text is not None and text.isdecimal() else text


# -- where they go -------------------------------------------------------------------------------------------------


@cache
def _library() -> Any:  # noqa: ANN401 - neither has types
    for name in ("boto3", "greengrasssdk"):  # not needed to return a list
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name:
                raise
    raise UnpackError("to hand messages on takes boto3 or greengrasssdk, and neither is there")


@cache
def _client(service: str) -> Any:  # noqa: ANN401 - as above
    return _library().client(service)


def _to_topic(where: str, messages: list[dict[str, Any]]) -> None:
    # What greengrasssdk does not get rid of, it says with this option only.
    more = {"queueFullPolicy": "AllOrException"} if _library().__name__ == "greengrasssdk" else {}
    for message in messages:
        topic = where.replace("{topic}", message["topic"])
        if topic == message["topic"]:
            raise UnpackError(f"UNPACK_TO leads back to topic {topic!r}: that would never end")
        names = {"id": "edge-id", "seq": "edge-seq", "time": "edge-time", "clock": "edge-clock"}
        said = {label: str(message[name]) for name, label in names.items() if name in message}
        properties = [{key: str(value)} for key, value in {**message.get("headers", {}), **said}.items()]
        _client("iot-data").publish(
            topic=topic, qos=1, payload=base64.b64decode(message["payload"]), userProperties=properties, **more
        )


def _to_function(where: str, messages: list[dict[str, Any]]) -> None:
    for message in messages:
        payload = base64.b64decode(message["payload"])
        try:
            json.loads(payload)
        except ValueError:  # a function takes JSON: it gets the whole message then
            payload = json.dumps(message).encode()
        _client("lambda").invoke(FunctionName=where, InvocationType="Event", Payload=payload)


def _to_queue(where: str, messages: list[dict[str, Any]]) -> None:
    entries: list[dict[str, Any]] = []
    size = 0
    for number, message in enumerate(messages):
        body = json.dumps(message)
        if entries and (len(entries) == _BATCH or size + len(body) > _BATCH_BYTES):
            _send(where, entries)
            entries, size = [], 0
        order = {}
        if where.endswith(".fifo"):
            order = {
                "MessageGroupId": message["topic"].replace("/", "_")[:128],
                "MessageDeduplicationId": str(message.get("id", number)),
            }
        entries.append({"Id": str(len(entries)), "MessageBody": body, **order})
        size += len(body)
    if entries:
        _send(where, entries)


def _send(where: str, entries: list[dict[str, Any]]) -> None:
    """Send ten messages or fewer; those that SQS does not take are sent once more. Raises: UnpackError."""
    for _ in range(2):
        failed = _client("sqs").send_message_batch(QueueUrl=where, Entries=entries).get("Failed", [])
        if not failed:
            return
        wrong = {entry["Id"] for entry in failed}
        entries = [entry for entry in entries if entry["Id"] in wrong]
    why = failed[0].get("Message", failed[0].get("Code"))
    raise UnpackError(f"the queue did not take {len(failed)} messages: {why}")


SENDERS: dict[str, Callable[[str, list[dict[str, Any]]], None]] = {
    "topic": _to_topic,
    "function": _to_function,
    "queue": _to_queue,
}
