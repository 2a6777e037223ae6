"""What `edge plan` reckons with: what the app declares, what the store holds, what was measured, what the disk has."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from edge_runtime.app import App, QueueLimits, Uplink
from edge_runtime.cli._common import DATABASE
from edge_runtime.clock import wall_is_synced
from edge_runtime.errors import ConfigError, StoreError
from edge_runtime.loaders import overlay_in, read_app
from edge_runtime.pure.data_budget import Moment
from edge_runtime.pure.plan import ROW_BYTES, TOPIC_BYTES, Room, Spent, Stream, Way
from edge_runtime.pure.rates import HOURS, MINUTES, SIZES, History, Rate, Sizes, sizes_of
from edge_runtime.store import inspect
from edge_runtime.store.budget import limit_of, room_on_disk

TARGET = "uplink"
_BUDGET, _AGE = "uplink/budget", "age"
_PACKLESS = frozenset({"greengrass"})
"""Drivers of links that cannot pack."""


class Given(NamedTuple):
    """What the caller says in the place of a measurement."""

    per_s: float | None
    payload: int | None


class UnknownError(Exception):
    """Something was neither measured nor given; the text says what, and how to give it."""


class Other(NamedTuple):
    """Another queue in the same store."""

    target: str
    queued: int
    bytes: int
    per_s: float | None
    """None: not measured."""


@dataclass(frozen=True, slots=True)
class Facts:
    """All of it."""

    stream: Stream
    rate: Rate | None
    """What was measured; None when the rate was given."""
    sized: str
    """Where the size comes from: `measured`, `given`, or `waiting`, from the messages that wait."""
    room: Room
    way: Way
    packs: bool
    spent: Spent
    """The data budget now."""
    others: Sequence[Other]


def facts(path: Path, state: Path, given: Given) -> Facts:
    """Gather what there is to know of the app file `path` and the state folder `state`.

    Raises: ConfigError, StoreError, UnknownError.
    """
    app = read_app(path, overlay_in(state))
    if app.link is None:
        raise ConfigError(f"{path} declares no link: nothing waits for one", hint="see `link` in edge.yaml")
    survey = _survey(state)
    history, sizes = _measured(survey.memos)
    rate = history.rate(TARGET) if given.per_s is None else None
    if given.per_s is None and rate is None:
        raise UnknownError(
            "no rate was measured yet: a host measures within minutes, and keeps it; or say --rate 2/s --bytes 200"
        )
    per_s = rate.per_s if rate is not None else given.per_s or 0.0
    stream, sized = _stream(per_s, sizes.get(TARGET), survey.queues, given)
    return Facts(
        stream,
        rate,
        sized,
        _room(app, state, survey),
        _way(app.link.uplink),
        app.link.driver not in _PACKLESS,
        _spent(survey.memos),
        [
            Other(one.target, one.queued, one.bytes, found.per_s if (found := history.rate(one.target)) else None)
            for one in survey.queues
            if one.target != TARGET
        ],
    )


def _survey(state: Path) -> inspect.Survey:
    path = state / DATABASE
    if not path.is_file():
        return inspect.Survey((), 0, 0, {})
    return inspect.survey(path, (MINUTES, HOURS, SIZES, _BUDGET, _AGE))


def _measured(memos: Mapping[str, str]) -> tuple[History, dict[str, Sizes]]:
    try:
        return History.restore(memos.get(MINUTES), memos.get(HOURS)), sizes_of(memos.get(SIZES, "{}"))
    except ValueError:  # a later version's: then nothing is known
        return History(), {}


def _stream(per_s: float, sizes: Sizes | None, queues: Sequence[inspect.Standing], given: Given) -> tuple[Stream, str]:
    """Return what comes, and where its size is known from. Raises: UnknownError."""
    if sizes is None or not sizes.count:
        if given.payload is not None:
            return Stream.of(per_s, given.payload), "given"
        waits = next((one for one in queues if one.target == TARGET and one.queued), None)
        if waits is None and per_s:
            raise UnknownError("how big messages are was not measured yet: say --bytes 200, the bytes of a payload")
        size = waits.bytes / waits.queued if waits else 0.0
        return Stream.of(per_s, max(0.0, size - ROW_BYTES - TOPIC_BYTES)), "waiting"
    count = sizes.count
    payload = sizes.payload / count if given.payload is None else float(given.payload)
    stream = Stream(
        per_s,
        payload,
        sizes.topic / count,
        sizes.disk / count + payload - sizes.payload / count,
        tuple(part / sum(sizes.priorities) for part in sizes.priorities),
        max(1, sizes.topics),
        sizes.gzip,
    )
    return stream, "measured" if given.payload is None else "given"


def _room(app: App, state: Path, survey: inspect.Survey) -> Room:
    limits = app.queues.get(TARGET, app.queues.get("", QueueLimits()))
    own = next((one for one in survey.queues if one.target == TARGET), None)
    there = state if state.exists() else next((p for p in state.absolute().parents if p.exists()), Path("/"))
    try:
        store, disk = limit_of(there, app.limits), room_on_disk(there, app.limits)
    except OSError as error:
        raise StoreError(f"{there} cannot be looked at: {error.strerror}") from error
    return Room(
        own.queued if own else 0,
        own.bytes if own else 0,
        limits.limit_bytes,
        survey.used_bytes,
        store,
        disk + survey.free_bytes,
        limits.ttl_s,
        limits.when_full,
    )


def _way(uplink: Uplink) -> Way:
    return Way(
        uplink.publishes_per_s, uplink.bytes_per_s, uplink.pack, uplink.gzip, uplink.live_share, uplink.budget
    ).sustained()


def _spent(memos: Mapping[str, str]) -> Spent:
    run_s = 0.0
    if _AGE in memos:
        run_s = json.loads(memos[_AGE])["age_ns"] / 1e9
    return Spent(Moment(run_s, time.time() if wall_is_synced() else None), memos.get(_BUDGET))
