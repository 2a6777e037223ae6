"""The unpacking handler: everything that the runtime packs comes apart again, and goes where it is to go."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import re
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any, Self

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.unpack.unpack import app
from components.unpack.unpack.app import UnpackError, handler, unpack
from edge_runtime.cloud.pack import Packing, Parcel, parcels
from edge_runtime.model import NO_HEADERS, Event, Message, Stamp
from tests.endpoints.serving import TOKEN, endpoint


def message(seq: int, payload: bytes, topic: str = "dt/a", headers: Mapping[str, str] = NO_HEADERS) -> Message:
    event = Event(topic, payload, "function/a", Stamp(seq * 1_000_000, 0, "b"), f"id-{seq}", headers)
    return Message(event, "uplink", 5, seq)


def ruled(parcel: Parcel) -> dict[str, Any]:
    """Return what the rule in the handler's docstring makes of a publish."""
    data: dict[str, Any] = {"topic": parcel.topic, "data": base64.b64encode(parcel.payload).decode()}
    for name in ("pack", "id", "seq", "time"):
        if f"edge-{name}" in parcel.properties:
            data[name] = [parcel.properties[f"edge-{name}"]]
    return data


def packed(*messages: Message, gzip: bool = False) -> list[dict[str, Any]]:
    packing = Packing(50, gzip=gzip, when=lambda stamp: (stamp.wall_ns, "synced" if stamp.wall_ns else "unsynced"))
    return [ruled(parcel) for parcel in parcels(messages, packing)]


PAYLOADS = st.one_of(
    st.binary(max_size=30),
    st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists).map(lambda v: json.dumps(v).encode()),
)


def same(one: bytes, other: bytes) -> bool:
    """Tell whether two payloads say the same: JSON is not kept byte for byte."""
    try:
        return bool(json.loads(one) == json.loads(other))
    except ValueError:
        return one == other


@given(st.lists(st.tuples(st.sampled_from(["dt/a", "dt/b"]), PAYLOADS), min_size=1, max_size=30), st.booleans())
def test_what_is_packed_comes_apart(sent: list[tuple[str, bytes]], small: bool) -> None:  # noqa: FBT001 - hypothesis
    messages = [
        Message(
            Event(topic, payload, "cli", Stamp(seq * 1_000_000, 0, "b"), f"id-{seq}", {"k": str(seq % 2)}),
            "uplink",
            5,
            seq,
        )
        for seq, (topic, payload) in enumerate(sent)
    ]
    found = [one for event in packed(*messages, gzip=small) for one in unpack(event)]
    assert sorted(one["seq"] for one in found) == list(range(len(sent)))
    for one in found:
        topic, payload = sent[one["seq"]]
        assert (one["topic"], one["id"], one["time"]) == (topic, f"id-{one['seq']}", one["seq"])
        assert same(base64.b64decode(one["payload"]), payload)


def test_a_message_by_itself_passes_as_it_is() -> None:
    assert handler(
        {"topic": "dt/a", "data": base64.b64encode(b"0.30").decode(), "id": ["x"], "seq": [], "time": ""}
    ) == [{"topic": "dt/a", "payload": base64.b64encode(b"0.30").decode(), "id": "x"}]


def test_an_array_of_somebody_elses_is_no_pack() -> None:
    payload = base64.b64encode(b'[{"id": 1}]').decode()
    assert handler({"topic": "dt/a", "data": payload}) == [{"topic": "dt/a", "payload": payload}]


@pytest.mark.parametrize(
    "payload", [b"\x1f\x8b", gzip.compress(b"a log file", mtime=0), gzip.compress(bytes(17 << 20), mtime=0)]
)
def test_what_somebody_else_has_compressed_stays_as_it_is(payload: bytes) -> None:
    data = base64.b64encode(payload).decode()
    assert handler({"topic": "dt/a", "data": data}) == [{"topic": "dt/a", "payload": data}]


def test_a_clock_that_was_not_right_is_said() -> None:
    (event,) = packed(message(0, b"1"), message(1, b"2"))
    assert [one.get("clock") for one in unpack(event)] == ["unsynced", None]


def test_on_a_device_it_takes_the_payload_itself() -> None:
    messages = message(1, b'{"soil":1}', "edge/a/up/dt"), message(2, b"\xff", "edge/a/up/dt")
    (parcel,) = parcels(messages, Packing(50, gzip=True))
    context = SimpleNamespace(client_context=SimpleNamespace(custom={"subject": "edge/a/up/dt"}))
    assert [
        (one["topic"], base64.b64decode(one["payload"]), one["seq"]) for one in handler(parcel.payload, context)
    ] == [
        ("edge/a/up/dt", b'{"soil":1}', 1),
        ("edge/a/up/dt", b"\xff", 2),
    ]
    assert handler(b"0.30", context) == [{"topic": "edge/a/up/dt", "payload": base64.b64encode(b"0.30").decode()}]


@pytest.mark.parametrize(
    ("event", "says"),
    [
        ({}, "the rule has to give `topic` and `data`"),
        ({"topic": "a", "data": "%%"}, "the payload in base64"),
        ([], "the rule has to give"),
        (
            {"topic": "a", "data": base64.b64encode(b"\x1f\x8bxx").decode(), "pack": "2"},
            "begins as gzip does and is damaged",
        ),
        (
            {"topic": "a", "data": base64.b64encode(gzip.compress(b"[1]", mtime=0)[:-4]).decode(), "pack": "1"},
            "is cut off",
        ),
        (
            {"topic": "a", "data": base64.b64encode(gzip.compress(bytes(17 << 20), mtime=0)).decode(), "pack": "1"},
            "more than 16777216 bytes",
        ),
        ({"topic": "a", "data": base64.b64encode(b"[]").decode(), "pack": "3"}, "is said to have 3 messages"),
    ],
)
def test_what_cannot_be_taken_apart_is_said(event: Any, says: str) -> None:  # noqa: ANN401 - anything may come
    with pytest.raises(UnpackError, match=re.escape(says)):
        handler(event)


def test_a_target_that_is_none_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNPACK_TO", "table:x")
    with pytest.raises(UnpackError, match="it is to be topic:TOPIC, function:NAME or queue:URL"):
        handler(packed(message(1, b"1"))[0])


# -- where they go ---------------------------------------------------------------------------------------------------


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    pytest.importorskip("boto3")
    for name, value in {"ACCESS_KEY_ID": "A", "SECRET_ACCESS_KEY": "s", "SESSION_TOKEN": TOKEN}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for one in (app._client, app._library):
        one.cache_clear()
    yield monkeypatch
    for one in (app._client, app._library):
        one.cache_clear()


async def test_each_is_published_by_itself(aws: pytest.MonkeyPatch) -> None:
    async with endpoint() as it:
        aws.setenv("AWS_ENDPOINT_URL_IOT_DATA_PLANE", it.listener.url)
        aws.setenv("UNPACK_TO", "topic:flat/{topic}")
        (event,) = packed(message(1, b'{"soil":1}'), message(2, b"\xff", headers={"k": "v"}))
        assert await asyncio.to_thread(handler, event) == {"messages": 2}
        found = [(topic, payload, properties) for _, _, topic, payload, properties in it.backend.asked]
        aws.setenv("UNPACK_TO", "topic:{topic}")
        with pytest.raises(UnpackError, match="would never end"):
            await asyncio.to_thread(handler, event)
    # Properties that begin with edge- reach AWS; the runtime's own endpoint takes them from nobody.
    assert found == [("flat/dt/a", b'{"soil":1}', {}), ("flat/dt/a", b"\xff", {"k": "v"})]


async def test_each_invokes_a_function(aws: pytest.MonkeyPatch) -> None:
    async with endpoint() as it:
        aws.setenv("AWS_ENDPOINT_URL_LAMBDA", it.listener.url)
        aws.setenv("UNPACK_TO", "function:echo")
        (event,) = packed(message(1, b'{"soil":1}'), message(2, b"\xff"))
        assert await asyncio.to_thread(handler, event) == {"messages": 2}
    first, second = (payload for _, _, _, payload, _ in it.backend.asked)
    assert first == b'{"soil":1}'
    assert json.loads(second) == {"topic": "dt/a", "payload": "/w==", "id": "id-2", "seq": 2, "time": 2}


class Queue:
    """An SQS that does not take some messages at first."""

    def __init__(self, refusing: int) -> None:
        self.refusing = refusing
        self.calls: list[list[dict[str, str]]] = []
        queue = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                entries = json.loads(self.rfile.read(int(self.headers["content-length"])))["Entries"]
                queue.calls.append(entries)
                bad, queue.refusing = entries[: queue.refusing], max(0, queue.refusing - len(entries))
                failed = [{"Id": e["Id"], "SenderFault": False, "Code": "Throttled", "Message": "slow"} for e in bad]
                good = [{"Id": e["Id"], "MessageId": "m", "MD5OfMessageBody": ""} for e in entries[len(bad) :]]
                body = json.dumps({"Successful": good, "Failed": failed}).encode()
                self.send_response(200)
                self.send_header("content-type", "application/x-amz-json-1.0")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the signature of the base class
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/1/q.fifo"

    def __enter__(self) -> Self:
        """Serve."""
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def test_each_goes_into_a_queue_ten_at_a_time(aws: pytest.MonkeyPatch) -> None:
    (event,) = packed(*(message(seq, b"1") for seq in range(23)))
    with Queue(refusing=3) as queue:
        aws.setenv("AWS_ENDPOINT_URL_SQS", queue.url.removesuffix("/1/q.fifo"))
        aws.setenv("UNPACK_TO", f"queue:{queue.url}")
        assert handler(event) == {"messages": 23}
    assert [len(entries) for entries in queue.calls] == [10, 3, 10, 3]
    assert queue.calls[0][0]["MessageGroupId"] == "dt_a"
    assert [entry["MessageDeduplicationId"] for entry in queue.calls[1]] == ["id-0", "id-1", "id-2"]


def test_a_queue_that_goes_on_refusing_fails_the_whole(aws: pytest.MonkeyPatch) -> None:
    (event,) = packed(message(1, b"1"), message(2, b"2"))
    with Queue(refusing=100) as queue:
        aws.setenv("AWS_ENDPOINT_URL_SQS", queue.url.removesuffix("/1/q.fifo"))
        aws.setenv("UNPACK_TO", f"queue:{queue.url}")
        with pytest.raises(UnpackError, match="the queue did not take 2 messages: slow"):
            handler(event)
