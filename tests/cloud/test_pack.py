"""Several messages in one publish."""

from __future__ import annotations

import base64
import json

from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.cloud.pack import PACKED, Parcel, parcels
from edge_runtime.model import Event, Message, Stamp
from edge_runtime.pure.quotas import PAYLOAD_BYTES


def message(seq: int, payload: bytes = b"1", topic: str = "dt/a", source: str = "cli") -> Message:
    return Message(Event(topic, payload, source, Stamp(0, 0, "b"), f"id-{seq}"), "uplink", 5, seq)


def unpack(parcel: Parcel) -> list[tuple[str, int, bytes]]:
    if len(parcel.messages) == 1:
        return [(parcel.properties["edge-id"], int(parcel.properties["edge-seq"]), parcel.payload)]
    items = json.loads(parcel.payload)
    return [
        (
            item["id"],
            item["seq"],
            base64.b64decode(item["payload_base64"])
            if "payload_base64" in item
            else json.dumps(item["payload"]).encode(),
        )
        for item in items
    ]


def test_a_message_alone_travels_as_it_is() -> None:
    (parcel,) = parcels([message(7, b"\xff raw")], 25)
    assert parcel == Parcel(
        "dt/a",
        b"\xff raw",
        {"edge-id": "id-7", "edge-target": "uplink", "edge-seq": "7"},
        (message(7, b"\xff raw"),),
    )


def test_neighbours_of_one_topic_share_a_publish() -> None:
    messages = [message(1), message(2), message(3, topic="dt/b"), message(4)]
    found = list(parcels(messages, 25))
    assert [[m.seq for m in p.messages] for p in found] == [[1, 2], [3], [4]]
    assert found[0].payload == b'[{"id":"id-1","seq":1,"payload":1},{"id":"id-2","seq":2,"payload":1}]'
    assert found[0].properties[PACKED] == "2"


def test_a_payload_that_is_not_json_travels_as_base64() -> None:
    (parcel,) = parcels([message(1, b"\x00\x01"), message(2, b'{"a":1}')], 25)
    assert json.loads(parcel.payload) == [
        {"id": "id-1", "seq": 1, "payload_base64": "AAE="},
        {"id": "id-2", "seq": 2, "payload": {"a": 1}},
    ]


def test_pack_of_one_packs_nothing() -> None:
    assert [len(p.messages) for p in parcels([message(1), message(2)], 1)] == [1, 1]


@given(
    st.lists(st.tuples(st.sampled_from(["dt/a", "dt/b"]), st.binary(max_size=60_000) | st.just(b"[1]")), max_size=12),
    st.integers(1, 5),
)
def test_nothing_is_lost_reordered_or_over_the_quota(items: list[tuple[str, bytes]], most: int) -> None:
    messages = [message(seq, payload, topic) for seq, (topic, payload) in enumerate(items, 1)]
    found = list(parcels(messages, most))
    assert [m for p in found for m in p.messages] == messages
    for parcel in found:
        assert len(parcel.messages) <= most
        assert len(parcel.payload) <= PAYLOAD_BYTES
        for (event_id, seq, payload), sent in zip(unpack(parcel), parcel.messages, strict=True):
            assert (event_id, seq, parcel.topic) == (sent.event.id, sent.seq, sent.event.topic)
            assert payload == sent.event.payload or json.loads(payload) == json.loads(sent.event.payload)
