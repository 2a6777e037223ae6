"""Schedules, on a clock that jumps."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime

import pytest

from edge_runtime.app import Schedule
from edge_runtime.clock import FakeClock
from edge_runtime.errors import ConfigError, QueueFullError, StoreError
from edge_runtime.model import Trigger
from edge_runtime.triggers.schedule import ScheduleTrigger
from tests.triggers.recorder import Recorder, running

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0


def clock_at(text: str) -> FakeClock:
    """Return a clock that shows `2026-11-22 09:30`."""
    return FakeClock(wall_s=datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def trigger(clock: FakeClock, recorder: Recorder, *schedules: Schedule) -> ScheduleTrigger:
    """Make a trigger whose memory is the recorder's, as it would be after a restart."""

    async def recall(key: str) -> str | None:
        return recorder.memo.get(key)

    return ScheduleTrigger(schedules, "pi-7", clock, recall)


def times(recorder: Recorder) -> list[str]:
    """Return the times that were fired, as the events name them."""
    return [json.loads(event.payload)["time"] for event in recorder.events]


DAILY = Schedule("irrigate", "cron(0 10 * * ? *)")
HOURLY = Schedule("log", "cron(0 * * * ? *)")


async def test_a_schedule_fires_on_time() -> None:
    clock, recorder = clock_at("2026-11-22 09:30"), Recorder()
    schedule = trigger(clock, recorder, DAILY)
    assert isinstance(schedule, Trigger)
    async with running(schedule, recorder):
        await clock.advance(30 * MINUTE - 1)
        assert recorder.events == []
        await clock.advance(1)
        (event,) = recorder.events
        assert (event.topic, event.source) == ("schedule/irrigate", "schedule/irrigate")
        assert event.time.wall_ns == 1_795_341_600 * 10**9
        body = json.loads(event.payload)
        assert (body["id"], body["time"]) == (event.id, "2026-11-22T10:00:00Z")
        assert body["detail-type"] == "Scheduled Event"
        assert body["resources"] == ["arn:aws:events:local:000000000000:rule/irrigate"]
        assert recorder.memo == {"schedule/irrigate": "2026-11-22T10:00:00+00:00"}
        await clock.advance(DAY)
    assert times(recorder) == ["2026-11-22T10:00:00Z", "2026-11-23T10:00:00Z"]


async def test_time_zones_and_rates_side_by_side() -> None:
    clock, recorder = clock_at("2026-11-22 09:30"), Recorder()
    tokyo = Schedule("tokyo", "cron(0 19 * * ? *)", timezone="Asia/Tokyo")
    rate = Schedule("tick", "rate(20 minutes)")
    async with running(trigger(clock, recorder, DAILY, tokyo, rate), recorder):
        await clock.advance(HOUR)
    fired = [
        (event.topic.removeprefix("schedule/"), time[11:16])
        for event, time in zip(recorder.events, times(recorder), strict=True)
    ]
    assert fired == [("tick", "09:50"), ("irrigate", "10:00"), ("tokyo", "10:00"), ("tick", "10:10"), ("tick", "10:30")]


@pytest.mark.parametrize(
    ("misfire", "expected"),
    [("skip", []), ("once", ["12:00"]), ("all", ["10:00", "11:00", "12:00"])],
)
async def test_a_jump_forward_is_noticed_within_a_minute(misfire: str, expected: list[str]) -> None:
    clock, recorder = clock_at("2026-11-22 09:30"), Recorder()
    async with running(trigger(clock, recorder, Schedule("log", HOURLY.expression, misfire=misfire)), recorder):
        await clock.advance(MINUTE)
        clock.jump(3 * HOUR)
        await clock.advance(MINUTE)
        assert [time[11:16] for time in times(recorder)] == expected
        await clock.advance(MINUTE)
        assert [time[11:16] for time in times(recorder)] == expected
        await clock.advance(HOUR)
    assert [time[11:16] for time in times(recorder)] == [*expected, "13:00"]


async def test_a_jump_back_repeats_nothing() -> None:
    clock, recorder = clock_at("2026-11-22 09:30"), Recorder()
    async with running(trigger(clock, recorder, HOURLY), recorder):
        await clock.advance(2 * HOUR)
        clock.jump(-2 * HOUR)
        await clock.advance(3 * HOUR)
    assert [time[11:16] for time in times(recorder)] == ["10:00", "11:00", "12:00"]


async def test_the_first_network_after_a_boot_in_the_past() -> None:
    recorder = Recorder()
    recorder.memo["schedule/irrigate"] = "2026-11-21T10:00:00+00:00"
    clock = clock_at("1970-01-01 00:00")
    async with running(trigger(clock, recorder, DAILY), recorder):
        await clock.advance(5 * MINUTE)
        clock.jump(datetime(2026, 11, 22, 9, 58, tzinfo=UTC).timestamp() - 5 * MINUTE)
        await clock.advance(MINUTE)
        assert recorder.events == []
        await clock.advance(2 * MINUTE)
    assert times(recorder) == ["2026-11-22T10:00:00Z"]


async def test_a_rate_goes_by_steady_time() -> None:
    clock, recorder = clock_at("2026-11-22 09:30"), Recorder()
    async with running(trigger(clock, recorder, Schedule("tick", "rate(5 minutes)", misfire="all")), recorder):
        seen: list[int] = []
        for jump in (0, 7 * DAY, -30 * DAY, 90, -1):
            clock.jump(jump)
            await clock.advance(4 * MINUTE)
            assert len(recorder.events) == len(seen)
            await clock.advance(MINUTE)
            seen.append(recorder.events[-1].time.mono_ns)
    assert [mono // 10**9 for mono in seen] == [301, 601, 901, 1201, 1501]


@pytest.mark.parametrize(
    ("misfire", "expected"),
    [("skip", []), ("once", ["22"]), ("all", ["20", "21", "22"])],
)
async def test_times_missed_while_the_host_was_down(misfire: str, expected: list[str]) -> None:
    clock, recorder = clock_at("2026-11-19 11:00"), Recorder()
    daily = Schedule("irrigate", DAILY.expression, misfire=misfire)
    async with running(trigger(clock, recorder, daily), recorder):
        await clock.advance(1)
    assert recorder.memo == {"schedule/irrigate": "2026-11-19T11:00:00+00:00"}  # kept though nothing was fired
    clock.reboot("boot-2", off_s=3 * DAY)
    async with running(trigger(clock, recorder, daily), recorder):
        await clock.advance(1)
        assert [time[8:10] for time in times(recorder)] == expected
        assert len(recorder.calls) == min(1, len(expected))  # in one transaction
    async with running(trigger(clock, recorder, daily), recorder):
        await clock.advance(MINUTE)
    assert [time[8:10] for time in times(recorder)] == expected


async def test_a_single_time() -> None:
    clock, recorder = clock_at("2026-11-22 09:30"), Recorder()
    async with running(trigger(clock, recorder, Schedule("once", "at(2026-11-22T10:00:00)")), recorder):
        await clock.advance(DAY)
    assert times(recorder) == ["2026-11-22T10:00:00Z"]


@pytest.mark.parametrize("error", [QueueFullError("the queue of f is full"), StoreError("the disk is full")])
async def test_what_the_store_refuses_is_tried_again(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    clock, recorder = clock_at("2026-11-22 09:59"), Recorder()
    async with running(trigger(clock, recorder, DAILY, Schedule("other", DAILY.expression)), recorder):
        await clock.advance(30)
        recorder.refuse = error
        await clock.advance(31)
        assert recorder.events == []
        assert recorder.memo["schedule/irrigate"] == "2026-11-22T09:59:00+00:00"
        recorder.refuse = None
        await clock.advance(5 * MINUTE)
    assert times(recorder) == ["2026-11-22T10:00:00Z"] * 2
    assert "schedule/irrigate: 2026-11-22T10:00:00+00:00 was refused, next try in" in caplog.text


async def test_a_start_that_cannot_be_kept_is_no_reason_to_stop(caplog: pytest.LogCaptureFixture) -> None:
    clock, recorder = clock_at("2026-11-22 09:59"), Recorder()
    recorder.refuse = StoreError("the disk is full")
    async with running(trigger(clock, recorder, DAILY), recorder):
        await clock.advance(1)
        recorder.refuse = None
        await clock.advance(MINUTE)
    assert times(recorder) == ["2026-11-22T10:00:00Z"]
    assert "schedule/irrigate: its start could not be kept: the disk is full" in caplog.text


@pytest.mark.parametrize("memo", ["yesterday", "2026-11-22T10:00:00", ""])
async def test_a_memory_that_makes_no_sense(memo: str, caplog: pytest.LogCaptureFixture) -> None:
    clock, recorder = clock_at("2026-11-22 09:59"), Recorder()
    recorder.memo["schedule/irrigate"] = memo
    async with running(trigger(clock, recorder, DAILY), recorder):
        await clock.advance(MINUTE)
    assert times(recorder) == ["2026-11-22T10:00:00Z"]
    assert f"what was kept of the last run, {memo!r}, is no time" in caplog.text


async def test_missed_times_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    clock, recorder = clock_at("2026-11-22 09:30"), Recorder()
    recorder.memo["schedule/log"] = "2026-11-22T05:00:00+00:00"
    async with running(trigger(clock, recorder, HOURLY), recorder):
        await clock.advance(1)
    assert "schedule/log: 3 or more missed times are left out (misfire: once)" in caplog.text


async def test_it_does_not_poll() -> None:
    clock, recorder = clock_at("2026-11-22 09:30"), Recorder()
    sleeps: list[float] = []
    sleep = clock.sleep

    async def counted(seconds: float) -> None:
        sleeps.append(seconds)
        await sleep(seconds)

    clock.sleep = counted  # type: ignore[method-assign]  # a probe on the fake itself
    async with running(trigger(clock, recorder, DAILY, HOURLY), recorder):
        await clock.advance(HOUR)
    assert len(sleeps) <= 63
    assert max(sleeps) == 60


def test_a_bad_expression_is_refused_at_once() -> None:
    with pytest.raises(ConfigError, match="has 5 fields; AWS has 6"):
        trigger(FakeClock(), Recorder(), Schedule("x", "cron(0 10 * * ?)"))


async def test_it_ends_and_leaves_no_task() -> None:
    clock, recorder = clock_at("2026-11-22 09:30"), Recorder()
    async with running(trigger(clock, recorder, DAILY), recorder):
        pass
    assert len(asyncio.all_tasks()) == 1
