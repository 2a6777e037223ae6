"""Events of a queue put together for one invocation, as an SQS event source does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from edge_runtime.app import Batch
from edge_runtime.clock import Clock
from edge_runtime.model import Message, Stamp
from edge_runtime.pure.events.sqs import Item, sqs_event, sqs_record
from edge_runtime.pure.permissions import OURS
from edge_runtime.pure.timeline import Dated
from edge_runtime.store.queue import Queue
from edge_runtime.workers._retries import FIRST
from edge_runtime.workers.inside.frames import LIMIT

_FRAME_BYTES = 64
"""What the event takes around its records, with room to spare."""


async def gather(queue: Queue, clock: Clock, batch: Batch) -> list[Message]:
    """Wait for a message; return it and what comes within the window, in order and up to the size.

    When it is cancelled, what was gathered goes back to the queue.
    """
    messages = await queue.get(batch.size)
    if len(messages) == batch.size or not batch.window_s:
        return messages
    timer = asyncio.ensure_future(clock.sleep(batch.window_s))
    try:
        while len(messages) < batch.size and sum(len(m.event.payload) for m in messages) < LIMIT:
            more = await _before(timer, queue, batch.size - len(messages))
            if more is None:
                break
            messages += more
    except BaseException:
        queue.give_back(messages)
        raise
    finally:
        timer.cancel()
    return messages


async def _before(timer: asyncio.Future[None], queue: Queue, most: int) -> list[Message] | None:
    """Return what comes next, or None when the timer was first; then nothing was taken."""
    getting = asyncio.create_task(queue.get(most), name="dispatch.gather")
    try:
        await asyncio.wait((timer, getting), return_when=asyncio.FIRST_COMPLETED)
    except BaseException:
        if getting.done() and not getting.cancelled() and getting.exception() is None:
            queue.give_back(getting.result())
        raise
    finally:
        if not getting.done():
            getting.cancel()
            await asyncio.wait([getting])
    return None if getting.cancelled() else getting.result()


def pack(messages: Sequence[Message], name: str, wall_ns: int, date: Callable[[Stamp], Dated]) -> tuple[bytes, int]:
    """Return the event for function `name`, and how many of the messages, from the first on, found room in it.

    Their payloads must be UTF-8. `date` tells the time of a stamp.
    """
    records: list[bytes] = []
    room = LIMIT - _FRAME_BYTES
    for message in messages:
        record = sqs_record(_item(message, wall_ns // 1_000_000, date(message.event.time)), name)
        room -= len(record) + 1
        if room < 0:
            break
        records.append(record)
    return sqs_event(records), len(records)


def _item(message: Message, now_ms: int, dated: Dated) -> Item:
    event = message.event
    attributes = {key: value for key, value in event.headers.items() if not key.startswith(OURS)}
    first = event.headers.get(FIRST, "")
    return Item(
        id=event.id,
        receipt=f"{message.target}:{message.priority}:{message.seq}:{message.tries}",
        body=event.payload.decode(),
        received=message.tries + 1,
        sent_ms=dated.wall_ns // 1_000_000,
        first_ms=int(first) if first.isdecimal() else now_ms,
        sender=event.source,
        attributes={**attributes, "subject": event.topic},
    )
