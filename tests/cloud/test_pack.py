"""Several messages in one publish."""

from __future__ import annotations

import base64
import gzip
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.cloud.pack import PACKED, RAW_BYTES, Bins, Packing, Parcel, parcels
from edge_runtime.model import NO_HEADERS, Event, Message, Stamp
from edge_runtime.pure.quotas import PAYLOAD_BYTES


def message(
    seq: int,
    payload: bytes = b"1",
    topic: str = "dt/a",
    *,
    source: str = "cli",
    priority: int = 5,
    headers: Mapping[str, str] = NO_HEADERS,
) -> Message:
    stamp = Stamp(seq * 1_000_000, 0, "b")
    return Message(Event(topic, payload, source, stamp, f"id-{seq}", headers), "uplink", priority, seq)


def unpack(parcel: Parcel) -> list[tuple[str, int, bytes]]:
    if len(parcel.messages) == 1:
        return [(parcel.properties["edge-id"], int(parcel.properties["edge-seq"]), parcel.payload)]
    payload = parcel.payload
    if parcel.properties.get("edge-encoding") == "gzip":
        assert payload[:2] == b"\x1f\x8b"
        payload = gzip.decompress(payload)
    items = json.loads(payload)
    assert len(items) == int(parcel.properties[PACKED])
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


def seqs(found: Sequence[Parcel]) -> list[list[int]]:
    return [[m.seq for m in parcel.messages] for parcel in found]


def test_a_message_alone_travels_as_it_is() -> None:
    (parcel,) = parcels([message(7, b"\xff raw")], Packing(25))
    assert parcel == Parcel(
        "dt/a",
        b"\xff raw",
        {"edge-id": "id-7", "edge-target": "uplink", "edge-seq": "7"},
        (message(7, b"\xff raw"),),
    )


def test_messages_of_one_topic_share_a_publish_though_others_came_between() -> None:
    messages = [message(1), message(2), message(3, topic="dt/b"), message(4), message(5, topic="dt/b")]
    found = list(parcels(messages, Packing(25)))
    assert seqs(found) == [[1, 2, 4], [3, 5]]
    assert found[0].payload == (
        b'[{"id":"id-1","seq":1,"payload":1},{"id":"id-2","seq":2,"payload":1},{"id":"id-4","seq":4,"payload":1}]'
    )
    assert found[0].properties == {"edge-id": "id-1", "edge-target": "uplink", "edge-seq": "1", "edge-pack": "3"}


def test_the_most_urgent_leave_first_and_never_share_with_others() -> None:
    messages = [message(1), message(2, priority=0), message(3), message(4, priority=0), message(5, priority=9)]
    assert seqs(list(parcels(messages, Packing(25)))) == [[2, 4], [1, 3], [5]]
    assert seqs(list(parcels(messages, Packing(1)))) == [[2], [4], [1], [3], [5]]


def test_the_bin_goes_first_whose_first_message_came_first() -> None:
    topics = ["dt/a", "dt/b", "dt/a", "dt/a", "dt/b", "dt/c", "dt/a"]
    messages = [message(seq, topic=topic) for seq, topic in enumerate(topics, 1)]
    assert seqs(list(parcels(messages, Packing(2)))) == [[1, 3], [2, 5], [4, 7], [6]]


def test_a_payload_that_is_not_json_travels_as_base64() -> None:
    (parcel,) = parcels([message(1, b"\x00\x01"), message(2, b'{"a":1}')], Packing(25))
    assert json.loads(parcel.payload) == [
        {"id": "id-1", "seq": 1, "payload_base64": "AAE="},
        {"id": "id-2", "seq": 2, "payload": {"a": 1}},
    ]


@pytest.mark.parametrize(
    ("payload", "is_json"),
    [
        (b'{"a":[1,-2.5e3,null,true,"\\u00e9"]}', True), (b' {"a":1}\n', True), ('"\u00e9"'.encode(), True),
        (b"NaN", False), (b'{"a":Infinity}', False), (b"1 2", False), (b"[1],[2", False), (b"", False), (b" ", False),
        (b"\xef\xbb\xbf1", False), ('{"a":1}'.encode("utf-16"), False), (b'"\xff"', False), (b"[" * 20_000, False),
    ],
)  # fmt: skip
def test_only_what_every_reader_takes_for_json_stands_in_a_pack_as_it_is(payload: bytes, *, is_json: bool) -> None:
    (parcel,) = parcels([message(1, payload, source="function/a"), message(2)], Packing(25))
    assert b"payload_base64" not in parcel.payload if is_json else b"payload_base64" in parcel.payload
    assert unpack(parcel)[0][2] == payload or is_json


def test_pack_of_one_packs_nothing() -> None:
    assert seqs(list(parcels([message(1), message(2, topic="dt/b"), message(3)], Packing()))) == [[1], [2], [3]]


def test_each_message_tells_when_it_happened_and_how_well_that_is_known() -> None:
    def when(stamp: Stamp) -> tuple[int, str]:
        return 1_700_000_000_123_999_999 + stamp.wall_ns, "synced" if stamp.wall_ns < 2_000_000 else "corrected"

    alone, late = parcels([message(1), message(2, topic="dt/b")], Packing(25, when=when))
    assert (alone.properties["edge-time"], "edge-clock" in alone.properties) == ("1700000000124", False)
    assert (late.properties["edge-time"], late.properties["edge-clock"]) == ("1700000000125", "corrected")
    (packed,) = parcels([message(1), message(2)], Packing(25, when=when))
    assert packed.properties["edge-time"] == "1700000000124"
    assert json.loads(packed.payload) == [
        {"id": "id-1", "seq": 1, "time": 1700000000124, "payload": 1},
        {"id": "id-2", "seq": 2, "time": 1700000000125, "clock": "corrected", "payload": 1},
    ]


def test_headers_that_differ_from_those_of_the_first_travel_with_their_message() -> None:
    mine, ours = {"site": "a"}, {"site": "a", "edge-cause": "x"}
    messages = [message(1, headers=mine), message(2, headers=ours), message(3), message(4, headers={"site": "b"})]
    (parcel,) = parcels(messages, Packing(25))
    assert parcel.properties["site"] == "a"
    assert [item.get("headers", "those of the first") for item in json.loads(parcel.payload)] == [
        "those of the first",
        "those of the first",
        {},
        {"site": "b"},
    ]


def test_gzip_is_taken_where_it_makes_a_publish_smaller() -> None:
    reading = b'{"soil":0.41,"unit":"ratio","device":"greenhouse"}'
    (parcel,) = parcels([message(n, reading) for n in range(1, 51)], Packing(50, gzip=True))
    assert parcel.properties["edge-encoding"] == "gzip"
    assert len(parcel.payload) < 1000 < len(gzip.decompress(parcel.payload))
    assert [payload for _, _, payload in unpack(parcel)] == [json.dumps(json.loads(reading)).encode()] * 50
    (small,) = parcels([message(1), message(2)], Packing(50, gzip=True))
    assert small.payload[:1] == b"["
    assert "edge-encoding" not in small.properties


def test_with_gzip_the_bound_is_on_what_is_sent_and_the_work_is_bounded() -> None:
    large = json.dumps("ab" * 5_000).encode()
    found = list(parcels([message(n, large) for n in range(1, 51)], Packing(50, gzip=True)))
    assert [len(parcel.messages) for parcel in found] == [26, 24]  # 50 would be 500 KB before compression
    assert all(len(gzip.decompress(parcel.payload)) <= RAW_BYTES for parcel in found)
    assert all(len(parcel.payload) < 10_000 for parcel in found)


@pytest.mark.parametrize("gzipped", [False, True])
def test_a_link_that_takes_less_gets_less(gzipped: bool) -> None:  # noqa: FBT001 - a parameter of the test
    bounds = {"dt/a": 4_896, "dt/b": 500}
    messages = [message(n, b'{"n":%d,"text":"%b"}' % (n, b"x" * 60), "dt/" + "ab"[n % 2]) for n in range(1, 301)]
    found = list(parcels(messages, Packing(50, gzipped, bounds.__getitem__)))
    assert all(len(parcel.payload) <= bounds[parcel.topic] for parcel in found)
    assert sorted(m.seq for parcel in found for m in parcel.messages) == list(range(1, 301))
    mean = {topic: 150 / sum(parcel.topic == topic for parcel in found) for topic in bounds}
    assert (mean["dt/a"] > 35, mean["dt/b"] > 3) == (True, True)


def test_a_message_too_large_for_the_link_travels_alone_so_that_it_alone_is_refused() -> None:
    messages = [message(1), message(2, b'"%b"' % (b"x" * PAYLOAD_BYTES)), message(3), message(4)]
    assert seqs(list(parcels(messages, Packing(25)))) == [[1], [2], [3, 4]]


def test_bins_know_what_they_hold_and_give_back_what_may_not_go() -> None:
    bins = Bins(Packing(25))
    bins.add([message(1), message(2, b"abc", priority=0), message(3, topic="dt/b", priority=7)])
    assert (bins.messages, bins.bytes, bins.head) == (3, 5, 0)
    assert [m.seq for m in bins.take_out(5)] == [3]
    parcel = bins.next()
    assert parcel is not None
    assert seqs([parcel]) == [[2]]
    assert (bins.messages, bins.bytes, bins.head) == (1, 1, 5)
    assert [m.seq for m in bins.take_out()] == [1]
    assert (bool(bins), bins.messages, bins.bytes, bins.head, bins.next()) == (False, 0, 0, 10, None)


ITEM = st.tuples(
    st.sampled_from(["dt/a", "dt/b"]), st.binary(max_size=60_000) | st.just(b"[1]") | st.just(b"[]" * 9_000),
    st.sampled_from([0, 5]),
)  # fmt: skip


@given(st.lists(ITEM, max_size=12), st.integers(1, 5), st.booleans(), st.sampled_from([5_000, PAYLOAD_BYTES]))
def test_nothing_is_lost_over_the_bound_or_out_of_its_order(
    items: list[tuple[str, bytes, int]],
    most: int,
    gzipped: bool,  # noqa: FBT001 - a parameter of the test
    bound: int,
) -> None:
    messages = [message(seq, payload, topic, priority=p) for seq, (topic, payload, p) in enumerate(items, 1)]
    found = list(parcels(messages, Packing(most, gzipped, lambda _: bound)))
    assert sorted(m.seq for parcel in found for m in parcel.messages) == [m.seq for m in messages]
    order = defaultdict(list)
    for parcel in found:
        assert len(parcel.messages) <= most
        assert len(parcel.payload) <= bound or len(parcel.messages) == 1
        for sent in parcel.messages:
            assert (sent.event.topic, sent.priority) == (parcel.topic, parcel.messages[0].priority)
            order[parcel.topic if most > 1 else "", sent.priority].append(sent.seq)
        for (event_id, seq, payload), sent in zip(unpack(parcel), parcel.messages, strict=True):
            assert (event_id, seq) == (sent.event.id, sent.seq)
            assert payload == sent.event.payload or json.loads(payload) == json.loads(sent.event.payload)
    assert all(a < b for one in order.values() for a, b in pairwise(one))
    assert all(a <= b for a, b in pairwise([parcel.messages[0].priority for parcel in found]))
