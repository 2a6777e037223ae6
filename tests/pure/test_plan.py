"""An outage, reckoned: tables that anybody can check by hand, and what must hold whatever the numbers are."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.app import Budget, Overflow
from edge_runtime.cloud.pack import RAW_BYTES, Packing, parcels
from edge_runtime.model import Event, Message, Stamp
from edge_runtime.pure import _plan_stream
from edge_runtime.pure.data_budget import DataBudget, Moment, publish_bytes
from edge_runtime.pure.plan import Advice, Room, Spent, Stream, Way, advise, drain, needed, on_disk, outage, publish
from edge_runtime.store import schema

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
WEEK = 7 * DAY
NOON_S = datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp()
HERTZ = Stream(1.0, 200.0, 20.0, 400.0)
ALONE = HERTZ._replace(per_s=0.0)


def message(payload: bytes, seq: int = 1, topic: str = "dt/station/soil/room") -> Message:
    stamp = Stamp(1_800_000_000_000_000_000, 1, "0123456789ab")
    return Message(Event(topic, payload, "device/soil", stamp, f"019349b0-8d4e-7000-8000-{seq:012d}"), "uplink", 5, seq)


# -- outage ------------------------------------------------------------------------------------------------------------


def test_a_message_a_second_for_a_week_and_there_is_room() -> None:
    found = outage(HERTZ, Room(), WEEK)
    assert (found.arrived, found.waiting, found.full_s, found.lost) == (604_800, 604_800, None, 0)
    assert (found.bound, found.most, found.waiting_bytes) == ("", None, 604_800 * 400)


@pytest.mark.parametrize(
    ("policy", "ttl_s", "waiting", "dropped", "thinned", "refused", "expired"),
    [
        # room for a day's worth
        (Overflow.DROP_OLDEST, 0, 86_400, 518_400, 0, 0, 0),
        (Overflow.DOWNSAMPLE, 0, 86_400, 0, 518_400, 0, 0),
        (Overflow.REJECT_NEW, 0, 86_400, 0, 0, 518_400, 0),
        # what expires sooner than it is full
        (Overflow.DROP_OLDEST, 12 * HOUR, 43_200, 0, 0, 0, 561_600),
        (Overflow.REJECT_NEW, 12 * HOUR, 43_200, 0, 0, 0, 561_600),
        # what is full sooner than it expires: every second day it is empty at once, and full again after a day
        (Overflow.DROP_OLDEST, 2 * DAY, 86_400, 518_400, 0, 0, 0),
        (Overflow.REJECT_NEW, 2 * DAY, 86_400, 0, 0, 259_200, 259_200),
        (Overflow.DROP_OLDEST, 30 * DAY, 86_400, 518_400, 0, 0, 0),
    ],
)
def test_a_queue_that_holds_a_day_in_an_outage_of_a_week(  # noqa: PLR0917 - a row of the table
    policy: Overflow, ttl_s: float, waiting: int, dropped: int, thinned: int, refused: int, expired: int
) -> None:
    room = Room(queue_limit=86_400 * 400, ttl_s=ttl_s, when_full=policy)
    found = outage(HERTZ, room, WEEK)
    assert (found.waiting, found.dropped, found.thinned, found.refused, found.expired) == (
        waiting, dropped, thinned, refused, expired
    )  # fmt: skip
    assert found.full_s == (None if ttl_s == 12 * HOUR else DAY)
    assert (found.bound, found.most) == ("queue", 86_400)


def test_what_waits_already_takes_its_room() -> None:
    room = Room(waiting=1000, waiting_bytes=500_000, queue_limit=900_000)
    found = outage(HERTZ, room, 2000)
    assert (found.full_s, found.most, found.waiting, found.dropped) == (1000.0, 2000, 2000, 1000)
    assert found.waiting_bytes == 500_000 + 1000 * 400
    assert found.needed_bytes == 500_000 + 2000 * 400


def test_the_store_and_the_disk_count_whole_pages() -> None:
    row = on_disk(400)
    found = outage(HERTZ, Room(store_used=1_000_000, store_limit=1_000_000 + int(row * 3600)), DAY)
    assert (found.bound, round(found.full_s or 0)) == ("store", 3600)
    found = outage(HERTZ, Room(disk_left=int(row * 7200)), DAY)
    assert (found.bound, round(found.full_s or 0)) == ("disk", 7200)
    assert found.needed_disk == math.ceil(row * DAY)


def test_a_queue_that_is_full_already() -> None:
    found = outage(HERTZ, Room(waiting=10, waiting_bytes=4000, queue_limit=4000), 5)
    assert (found.full_s, found.waiting, found.dropped) == (0.0, 10, 5)


def test_the_latest_of_each_topic_never_fills_a_queue() -> None:
    found = outage(HERTZ._replace(topics=12), Room(queue_limit=400, when_full=Overflow.KEEP_LATEST), WEEK)
    assert (found.full_s, found.waiting, found.superseded, found.waiting_bytes) == (None, 12, 604_788, 12 * 400)


def test_nothing_comes() -> None:
    found = outage(ALONE, Room(waiting=3, waiting_bytes=1200, queue_limit=1200), WEEK)
    assert (found.arrived, found.waiting, found.full_s, found.lost) == (0, 3, None, 0)


@pytest.mark.parametrize(
    ("size", "rows"), [(208, 19), (358, 11), (1158, 3), (3158, 1), (4000, 1)]
)  # what SQLite was seen to do
def test_rows_share_pages(size: int, rows: int) -> None:
    assert on_disk(size) == 4096 / rows


def test_a_long_row_has_pages_of_its_own() -> None:
    assert on_disk(5158) == 4096 + 4096 / 3
    assert on_disk(20_158) == pytest.approx(20_158, rel=0.03)


RATES = st.floats(0.001, 1000)
SPANS = st.floats(1, 60 * DAY)
ROOMS = st.builds(
    Room,
    waiting=st.integers(0, 10_000),
    waiting_bytes=st.integers(0, 4_000_000),
    queue_limit=st.sampled_from([0, 1_000_000, 256_000_000]),
    store_limit=st.sampled_from([64_000_000, 1 << 62]),
    ttl_s=st.sampled_from([0.0, HOUR, 3 * DAY]),
    when_full=st.sampled_from(list(Overflow)),
)


@given(RATES, ROOMS, SPANS)
def test_every_message_is_somewhere(rate: float, room: Room, seconds: float) -> None:
    found = outage(HERTZ._replace(per_s=rate), room, seconds)
    assert room.waiting + found.arrived == found.waiting + found.lost
    assert found.arrived == pytest.approx(rate * seconds, abs=1.1)
    parts = (found.waiting, found.dropped, found.thinned, found.superseded, found.refused, found.expired)
    assert min(parts) >= 0
    if found.most is not None and room.when_full is not Overflow.KEEP_LATEST:
        assert found.waiting <= max(found.most, room.waiting) + 1
    assert found.full_s is None or 0 <= found.full_s <= seconds


@given(RATES, ROOMS, SPANS, st.floats(1, 3))
def test_more_or_longer_never_loses_less(rate: float, room: Room, seconds: float, times: float) -> None:
    one = outage(HERTZ._replace(per_s=rate), room, seconds)
    for other in (
        outage(HERTZ._replace(per_s=rate * times), room, seconds),
        outage(HERTZ._replace(per_s=rate), room, seconds * times),
    ):
        assert other.arrived >= one.arrived
        assert other.lost >= one.lost - 1
        assert (one.full_s is None) or (other.full_s is not None and other.full_s <= one.full_s + 1e-6)


# -- drain -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stream", "way", "minutes"),
    [
        (ALONE, Way(), 100.8),
        (HERTZ, Way(), 604_800 / 99 / 60),
        (ALONE, Way(live_share=0.5), 100.8),
        (ALONE, Way(publishes_per_s=50), 201.6),
        (ALONE, Way(pack=25, bytes_per_s=0), 100.8 / 25),
        (ALONE, Way(bytes_per_s=2000), 604_800 / 10 / 60),  # ten payloads of 200 bytes
        (HERTZ._replace(per_s=50.0), Way(), 201.6),
    ],
)
def test_a_week_of_messages_leaves_in(stream: Stream, way: Way, minutes: float) -> None:
    found = drain(stream, 604_800, way)
    assert found.seconds == pytest.approx(minutes * 60)
    assert found.messages == 604_800 + math.floor(stream.per_s * (found.seconds or 0))


def test_the_uplink_stays_a_little_below_what_is_granted() -> None:
    assert Way().sustained().publishes_per_s == pytest.approx(97.09, abs=0.01)
    assert Way(publishes_per_s=0).sustained().publishes_per_s == 0


def test_what_is_packed_takes_fewer_publishes_and_bytes() -> None:
    one, packed = drain(ALONE, 10_000, Way()), drain(ALONE, 10_000, Way(pack=50))
    assert (one.publishes, packed.publishes) == (10_000, 200)
    assert packed.bytes < one.bytes / 1.5
    small = drain(ALONE._replace(gzip=0.2), 10_000, Way(pack=50, gzip=True))
    assert small.bytes < packed.bytes / 3


@pytest.mark.parametrize("per_s", [100.0, 101.0, 5000.0])
def test_it_never_drains_when_as_many_come_as_leave(per_s: float) -> None:
    found = drain(HERTZ._replace(per_s=per_s), 1, Way())
    assert (found.seconds, found.why) == (None, "live")


def test_without_bounds_it_is_not_the_link_that_takes_time() -> None:
    found = drain(HERTZ, 1000, Way(publishes_per_s=0, bytes_per_s=0))
    assert (found.seconds, found.messages_per_s, found.publishes) == (0.0, math.inf, 1000)


def test_nothing_waits() -> None:
    assert drain(HERTZ, 0, Way())[:5] == (0.0, 100.0, 0, 0, 0)


@pytest.mark.parametrize(
    ("share", "per_s", "fresh"), [(0.0, 1, False), (0.5, 50, True), (0.5, 51, False), (1.0, 99, True)]
)
def test_what_is_new_arrives_at_once_within_the_live_share(share: float, per_s: float, *, fresh: bool) -> None:
    assert drain(HERTZ._replace(per_s=per_s), 10, Way(live_share=share)).fresh is fresh


@given(st.floats(0.001, 90), st.integers(1, 10_000_000), st.floats(1, 3), st.sampled_from([1, 10, 100]))
def test_more_never_drains_sooner(rate: float, waiting: int, times: float, pack: int) -> None:
    way = Way(pack=pack)
    one = drain(HERTZ._replace(per_s=rate), waiting, way)
    for other in (
        drain(HERTZ._replace(per_s=rate * times), waiting, way),
        drain(HERTZ._replace(per_s=rate), int(waiting * times), way),
        drain(HERTZ._replace(per_s=rate), waiting, way._replace(publishes_per_s=100 / times)),
    ):
        assert one.seconds is not None
        assert other.seconds is None or other.seconds >= one.seconds - 1e-6


# -- a data budget -----------------------------------------------------------------------------------------------------


def metered(limit: int, **more: object) -> Way:
    return Way(budget=Budget(limit, **{"per": "day", **more}))  # type: ignore[arg-type]  # the keys are those of Budget


def wire(stream: Stream = HERTZ) -> float:
    return publish(stream, 1).wire


def test_a_budget_that_is_big_enough_changes_nothing() -> None:
    way, spent = metered(10**12), Spent(Moment(0, NOON_S))
    free, found = drain(HERTZ, 604_800, way._replace(budget=None)), drain(HERTZ, 604_800, way, spent)
    assert found.seconds == pytest.approx(free.seconds)
    assert (found.messages, found.held_s) == (free.messages, 0.0)
    assert found.bytes == pytest.approx(free.bytes, rel=1e-3)


def test_a_budget_of_a_day_lets_so_many_go_a_day() -> None:
    way, spent = metered(int(100_000 * wire())), Spent(Moment(0, NOON_S))
    found = drain(ALONE, 350_000, way, spent)
    # The rest of today, two whole days, and a part of the fourth at 100/s; pings and the handshake are a drop in it.
    assert found.seconds == pytest.approx(2.5 * DAY + 50_000 / 100, rel=0.01)
    assert found.held_s == pytest.approx(2.5 * DAY - 3000, rel=0.02)


def test_what_was_used_before_counts() -> None:
    way = metered(int(100_000 * wire()))
    budget = DataBudget(way.budget or Budget(1))
    budget.charge(10**12, Moment(0, NOON_S))
    found = drain(ALONE, 1000, way, Spent(Moment(0, NOON_S), budget.memo()))
    assert found.seconds == pytest.approx(12 * HOUR + 10)


def test_at_night_it_goes_for_free() -> None:
    way = metered(1, night=(22 * 60, 6 * 60))
    found = drain(ALONE, 360_000, way, Spent(Moment(0, NOON_S)))
    assert found.seconds == pytest.approx(10 * HOUR + HOUR, abs=2)
    assert found.held_s == pytest.approx(10 * HOUR, abs=2)


def test_what_may_wait_for_the_night_does() -> None:
    way = metered(10**12, night=(22 * 60, 6 * 60), later=6)
    by_two = Stream(0.0, 200.0, 20.0, 400.0, (0.0,) * 5 + (0.5, 0.5) + (0.0,) * 3)
    found = drain(by_two, 36_000, way, Spent(Moment(0, NOON_S)))
    assert found.seconds == pytest.approx(10 * HOUR + 180, abs=2)


def test_a_budget_below_what_comes_never_drains() -> None:
    day = needed(HERTZ, metered(1))
    assert day == pytest.approx(DAY * (wire() + 3.65), rel=0.01)
    found = drain(HERTZ, 604_800, metered(day // 2), Spent(Moment(0, NOON_S)))
    assert (found.seconds, found.why) == (None, "budget")
    found = drain(HERTZ, 1000, metered(day * 2), Spent(Moment(0, NOON_S)))
    assert found.seconds is not None


def test_a_drain_of_years_is_none() -> None:
    found = drain(ALONE, 604_800, metered(int(1000 * wire())), Spent(Moment(0, NOON_S)))
    assert (found.seconds, found.why) == (None, "year")


def test_without_a_clock_that_is_right_running_time_ends_a_period() -> None:
    way = metered(int(100_000 * wire()))
    found = drain(ALONE, 150_000, way, Spent(Moment(5000.0, None)))
    assert found.seconds == pytest.approx(DAY + 500, abs=HOUR)


@given(
    st.integers(1, 500_000),
    st.integers(1_000_000, 10**10),
    st.sampled_from(["day", "month"]),
    st.sampled_from([None, (22 * 60, 6 * 60)]),
    st.floats(0, 20),
)
def test_a_budget_never_makes_it_quicker(
    waiting: int, limit: int, per: str, night: tuple[int, int] | None, rate: float
) -> None:
    stream = HERTZ._replace(per_s=rate)
    way = metered(limit, per=per, night=night)
    free, found = (
        drain(stream, waiting, way._replace(budget=None)),
        drain(stream, waiting, way, Spent(Moment(0, NOON_S))),
    )
    assert free.seconds is not None
    if found.seconds is None:
        assert found.why in {"budget", "year"}
        return
    assert found.seconds >= free.seconds - 1 - 1 / (100 - rate)
    assert found.messages == pytest.approx(waiting + rate * found.seconds, abs=3)


# -- publishes ---------------------------------------------------------------------------------------------------------


def test_a_publish_is_what_the_uplink_makes_of_it() -> None:
    made = [message(b"%0200d" % n, n) for n in range(1, 51)]
    stream = Stream(1.0, 200.0, len(made[0].event.topic), schema.size_of(schema.to_row(0, made[0])))
    when = {"when": lambda stamp: (stamp.wall_ns, "synced")}
    alone = next(parcels(made[:1], Packing(**when)))  # type: ignore[arg-type]  # mypy cannot see through the dict
    assert publish(stream, 1).wire == pytest.approx(
        publish_bytes(alone.topic, len(alone.payload), alone.properties), rel=0.03
    )
    packed = next(parcels(made, Packing(50, **when)))  # type: ignore[arg-type]  # same
    found = publish(stream, 50)
    assert found.messages == 50
    assert found.payload == pytest.approx(len(packed.payload), rel=0.03)
    assert found.wire == pytest.approx(publish_bytes(packed.topic, len(packed.payload), packed.properties), rel=0.03)


def test_a_publish_has_no_more_than_may_leave() -> None:
    big = Stream(1.0, 9_000.0)
    made = [message(json.dumps("x" * 8_998).encode(), n) for n in range(1, 51)]
    packed = next(parcels(made, Packing(50)))
    assert publish(big, 50).messages == len(packed.messages) == 14
    assert publish(Stream(1.0, 100_000.0), 50).messages == 1
    assert publish(big._replace(gzip=0.1), 50, gzip=True).messages == 28
    assert _plan_stream._RAW_BYTES == RAW_BYTES


def test_many_topics_share_what_is_taken_ahead() -> None:
    assert publish(HERTZ._replace(topics=100), 50).messages == 10
    assert publish(HERTZ._replace(topics=5000), 50).messages == 1


# -- advice ------------------------------------------------------------------------------------------------------------


def advice(stream: Stream, room: Room, way: Way, seconds: float = WEEK, **more: object) -> dict[str, Advice]:
    return {one.kind: one for one in advise(stream, room, way, seconds, **more)}  # type: ignore[arg-type]  # keywords


def test_packing_is_advised_with_what_it_would_do() -> None:
    found = advice(HERTZ, Room(), Way())
    assert list(found) == ["pack"]
    assert (found["pack"].value, found["pack"].drain) == (50, drain(HERTZ, 604_800, Way(pack=50)))
    assert advice(HERTZ, Room(), Way(), packs=False) == {}
    assert advice(HERTZ, Room(), Way(pack=50)) == {}


def test_gzip_is_advised_where_its_worth_was_measured() -> None:
    found = advice(HERTZ._replace(gzip=0.2), Room(), Way(pack=25))
    assert found["gzip"].drain == drain(HERTZ._replace(gzip=0.2), 604_800, Way(pack=50, gzip=True))


def test_a_limit_that_is_too_low_is_told_with_what_would_do() -> None:
    found = advice(HERTZ, Room(queue_limit=1_000_000), Way())
    assert found["queue"].value == 260_000_000  # 604,800 x 400, and a twentieth
    room = Room(queue_limit=int(found["queue"].value))
    assert outage(HERTZ, room, WEEK).full_s is None
    assert list(advice(HERTZ, room, Way())) == ["pack"]


def test_one_limit_behind_another_is_told_too() -> None:
    room = Room(queue_limit=1_000_000, store_used=500_000, store_limit=2_000_000, disk_left=3_000_000)
    found = advice(HERTZ, room, Way())
    assert list(found) == ["pack", "queue", "store", "disk", "downsample"] or list(found) == [
        "queue", "store", "disk", "downsample"
    ]  # fmt: skip
    assert found["store"].value == pytest.approx(1.05 * (500_000 + on_disk(400) * WEEK), rel=0.1)


def test_a_time_to_live_that_is_too_short_is_told_with_the_limit_that_it_then_needs() -> None:
    found = advice(HERTZ, Room(queue_limit=86_400 * 400, ttl_s=DAY), Way(pack=50))
    assert found["ttl"].value == WEEK
    assert found["queue"].value == 260_000_000


def test_what_would_do_of_a_budget_does() -> None:
    way, spent = metered(1_000_000), Spent(Moment(0, NOON_S))
    found = advice(HERTZ, Room(), way, DAY, spent=spent)
    assert found["budget"].value > needed(HERTZ, way._replace(pack=1)) * 0.3
    assert advice(HERTZ, Room(), way, DAY, spent=spent, packs=False)["budget"].value >= needed(HERTZ, way)


def test_nothing_is_advised_where_all_is_well() -> None:
    assert advise(HERTZ, Room(), Way(pack=50), HOUR) == []
