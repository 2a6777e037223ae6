"""The shadows of this thing, kept here: they answer on AWS's topics whether the cloud can be reached or not.

    $aws/things/<thing>/shadow[/name/<shadow>]/{get|update|delete}          requests
    .../accepted, .../rejected, .../update/delta, .../update/documents      what is emitted

A change and the events that it causes are one transaction. What the cloud has to learn of it is noted in the document
(`Document.dirty`), and `shadow_sync` tells it. Source: AWS IoT developer guide, "Device Shadow MQTT topics".
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from edge_runtime.clock import Clock, make_event
from edge_runtime.cloud._shadow_watch import Watch
from edge_runtime.errors import ConfigError, LimitError, StoreError
from edge_runtime.model import NO_HEADERS, Emit, Event
from edge_runtime.pure import shadow, shadow_sync
from edge_runtime.pure._shadow_request import token_if_any
from edge_runtime.pure._shadow_tree import EMPTY, Tree
from edge_runtime.pure.bucket import Bucket
from edge_runtime.pure.permissions import CAUSE, DEPTH
from edge_runtime.pure.shadow import RESERVED, Accepted, Document, Rejected
from edge_runtime.pure.shadow_sync import Conflict
from edge_runtime.store.store import Store

_log = logging.getLogger(__name__)
SOURCE = "shadow"
CLASSIC = ""
"""The name of the shadow that has none."""
FROM_CLOUD: Mapping[str, str] = {"edge-asked-by": "link"}
"""The headers of what is emitted of a change that came from the cloud."""
REQUESTS_PER_S = 200
"""Of everybody here together, as Greengrass's shadow manager allows; what is more is answered with 429."""
PAGE = 25
MOST_OF_A_PAGE = 100
_THING = re.compile(r"[a-zA-Z0-9:_-]{1,128}")
_NAME = re.compile(r"[$a-zA-Z0-9:_-]{1,64}")
_METHODS = ("get", "update", "delete")

Answer = Accepted | Rejected


class Page(NamedTuple):
    """Some names of shadows, in order, and the last of them when there are more: where to go on."""

    names: tuple[str, ...]
    next: str = ""


class Shadows:
    """The classic shadow of a thing, and its named ones.

    Methods that take a request answer it as AWS would, `Rejected` among the answers, and emit the events; they raise
    QueueFullError or StoreError when nothing could be stored, and then nothing has happened. Requests are carried out
    one after the other.
    """

    def __init__(
        self, store: Store, thing: str, clock: Clock, emit: Emit, *, most_bytes: int = shadow.STATE_BYTES
    ) -> None:
        """`most_bytes` bounds the state of a shadow: AWS raises its 8 KB to 30 KB on request.

        Raises: ConfigError for a name or a bound that AWS would not take.
        """
        if not _THING.fullmatch(thing):
            raise ConfigError(f"{thing!r} is no name of a thing; allowed: 1 to 128 letters, digits, : - and _")
        if not 0 < most_bytes <= shadow.MOST_STATE_BYTES:
            raise ConfigError(f"a shadow of {most_bytes} bytes; AWS allows up to {shadow.MOST_STATE_BYTES}")
        self.thing = thing
        self._store = store
        self._clock = clock
        self._emit = emit
        self._most_bytes = most_bytes
        self._root = f"$aws/things/{thing}/shadow"
        self._turn = asyncio.Lock()
        self._rate = Bucket(REQUESTS_PER_S, REQUESTS_PER_S)
        self._watches: set[Watch] = set()

    @property
    def filters(self) -> tuple[str, str]:
        """The topic filters of events that `handle` wants to be told of."""
        return f"{self._root}/+", f"{self._root}/name/+/+"

    async def handle(self, event: Event) -> bool:
        """Answer a request that came as an event, and return when the answer is stored; False when it is no request.

        Raises: QueueFullError or StoreError, and then nothing has happened.
        """
        found = self._parse(event.topic)
        if found is None:
            return False
        name, method = found
        await self._answer(name, method, event.payload, _caused(event), rejections=True)
        return True

    async def get(self, name: str = CLASSIC) -> Answer:
        """Return a whole shadow, with what is desired and not reported as `delta`."""
        async with self._turn:
            return self._throttle() or await self._try(name, "get", b"")

    async def update(
        self, name: str, request: bytes, *, headers: Mapping[str, str] = NO_HEADERS, throttled: bool = True
    ) -> Answer:
        """Change a shadow, or make one. `headers` are those of the events it causes; see REQUESTS_PER_S."""
        return await self._answer(name, "update", request, headers, rejections=False, throttled=throttled)

    async def delete(self, name: str = CLASSIC, *, headers: Mapping[str, str] = NO_HEADERS) -> Answer:
        """Remove a shadow."""
        return await self._answer(name, "delete", b"", headers, rejections=False)

    async def names(self, *, after: str = "", most: int = PAGE) -> Page:
        """Return the names of up to `most` named shadows that come after a name.

        Raises: LimitError when `most` is not what AWS allows.
        """
        if not 1 <= most <= MOST_OF_A_PAGE:
            raise LimitError(f"a page of {most} shadows; AWS allows 1 to {MOST_OF_A_PAGE}")
        rest = [name for name in await self._listed(self._index) if name > after]
        return Page(tuple(rest[:most]), rest[most - 1] if len(rest) > most else "")

    async def there(self) -> list[str]:
        """Return the names of all shadows that are there, the classic one's first."""
        classic = await self.document(CLASSIC)
        return [*([CLASSIC] if classic is not None and classic.is_live else []), *await self._listed(self._index)]

    async def document(self, name: str = CLASSIC) -> Document | None:
        """Return a shadow as it is stored, the mark of a deleted one too; None when there was never one.

        Raises: StoreError when it cannot be read.
        """
        text = await self._store.recall(self._key(name))
        try:
            return None if text is None else shadow.from_text(text)
        except ValueError as error:
            what = f"shadow {name or 'without a name'!r} of thing {self.thing!r}"
            raise StoreError(f"{what} was stored in a way that is not known here: {error}") from None

    def watch(self) -> Watch:
        """Return what gathers all changes from here on, those that come from the cloud too; hand it to `unwatch`."""
        watch = Watch()
        self._watches.add(watch)
        return watch

    def unwatch(self, watch: Watch) -> None:
        """Tell it nothing more."""
        self._watches.discard(watch)

    # -- the twins in the cloud ------------------------------------------------------------------------------------

    async def untold(self) -> list[str]:
        """Return the names of all shadows that the cloud is to be asked about, the classic one included.

        Of those that are deleted here, only those whose deletion it does not know yet.
        """
        return [CLASSIC, *sorted({*await self._listed(self._index), *await self._listed(self._gone)})]

    async def meet(self, name: str, cloud: Document | None, how: Conflict, *, touched: Tree = EMPTY) -> Document | None:
        """Take in what the cloud has, None when it has no such shadow; see `shadow_sync.meet`.

        What changes here is emitted as of any update. Raises: QueueFullError or StoreError, and nothing has happened.
        """
        async with self._turn:
            before = await self.document(name)
            met = shadow_sync.meet(before, cloud, self._now(), how, touched=touched)
            if met.document is None or met.document is before:
                return before
            memo = await self._memo(name, met.document)
            if met.answer is None:
                if before is None or shadow.to_text(before) != shadow.to_text(met.document):
                    await self._emit(memo=memo)
                return met.document
            method = "delete" if met.deleted else "update"
            try:
                await self._publish(name, method, met.answer, FROM_CLOUD, memo=memo, rejections=False)
            except LimitError as error:
                _log.warning("shadow %r: what has to be said of it cannot be: %s", name, error)
                await self._emit(memo=memo)
            self._stir(name, met.answer.patch, FROM_CLOUD)
            return met.document

    async def sending(self, name: str, patch: Tree) -> None:
        """Note what is about to be sent to the cloud. Raises: QueueFullError or StoreError; do not send it then."""
        async with self._turn:
            document = await self.document(name)
            if document is not None:
                await self._emit(memo={self._key(name): shadow.to_text(replace(document, sent=patch))})

    # -- one request ---------------------------------------------------------------------------------------------

    def _parse(self, topic: str) -> tuple[str, str] | None:
        if not topic.startswith(f"{self._root}/"):
            return None
        match topic.removeprefix(f"{self._root}/").split("/"):
            case [method] if method in _METHODS:
                return CLASSIC, method
            case ["name", name, method] if name and method in _METHODS:
                return name, method
            case _:
                return None

    async def _answer(
        self,
        name: str,
        method: str,
        request: bytes,
        headers: Mapping[str, str],
        *,
        rejections: bool,
        throttled: bool = True,
    ) -> Answer:
        """Carry out a request and emit what comes of it; a refusal is an event only for who asked by one."""
        async with self._turn:
            refusal = self._throttle(request) if throttled else None
            answer = refusal or await self._try(name, method, request)
            memo = NO_HEADERS
            if isinstance(answer, Accepted) and method != "get":
                memo = await self._memo(name, answer.document)
                if answer.levels > shadow.SAFE_LEVELS:
                    _log.warning(
                        "shadow %r is nested %d levels deep: Greengrass would refuse that", name, answer.levels
                    )
            try:
                await self._publish(name, method, answer, headers, memo=memo, rejections=rejections)
            except LimitError as error:
                _log.warning("shadow %r: what has to be said of it cannot be: %s", name, error)
                answer = shadow.reject(413, "The payload exceeds the maximum size allowed", self._now())
                await self._publish(name, method, answer, headers, memo=NO_HEADERS, rejections=rejections)
            if memo and isinstance(answer, Accepted):
                self._stir(name, answer.patch, headers)
        return answer

    def _throttle(self, request: bytes = b"") -> Rejected | None:
        if not self._rate.take(1.0, self._clock.now().mono_ns / 1e9):
            return None
        return shadow.reject(429, "Too Many Requests", self._now(), token_if_any(request))

    def _stir(self, name: str, patch: Tree, headers: Mapping[str, str]) -> None:
        for watch in self._watches:
            watch.note(name, patch, headers)

    async def _try(self, name: str, method: str, request: bytes) -> Answer:
        now = self._now()
        if name == RESERVED:
            return shadow.reject(403, "Forbidden", now)
        if name != CLASSIC and not _NAME.fullmatch(name):
            return shadow.reject(400, "Invalid shadow name", now)
        before = await self.document(name)
        if method == "update":
            return shadow.update(before, request, now, most_bytes=self._most_bytes)
        if method == "delete":
            return shadow.delete(before, request, now, name=name)
        return shadow.get(before, request, now, name=name)

    async def _memo(self, name: str, document: Document) -> Mapping[str, str]:
        """Return what is to be remembered of a shadow that has changed."""
        memo = {self._key(name): shadow.to_text(document)}
        if name != CLASSIC:
            memo |= await self._filed(self._index, name, there=document.is_live)
            memo |= await self._filed(self._gone, name, there=not document.is_live and document.dirty)
        return memo

    async def _filed(self, key: str, name: str, *, there: bool) -> Mapping[str, str]:
        """Return the list of names under a key as it has to be; nothing when it is so."""
        known = await self._listed(key)
        if (name in known) == there:
            return NO_HEADERS
        return {key: json.dumps(sorted({*known, name} if there else {*known} - {name}))}

    async def _publish(
        self,
        name: str,
        method: str,
        answer: Answer,
        headers: Mapping[str, str],
        *,
        memo: Mapping[str, str],
        rejections: bool,
    ) -> None:
        topic = f"{self._root}/{method}" if name == CLASSIC else f"{self._root}/name/{name}/{method}"

        def event(end: str, payload: bytes) -> Event:
            return make_event(self._clock, f"{topic}/{end}", payload, SOURCE, headers)

        if isinstance(answer, Rejected):
            if rejections:
                await self._emit(event("rejected", answer.payload))
            return
        events = [event("accepted", answer.payload)]
        if answer.delta is not None:
            events.append(event("delta", answer.delta))
        if answer.documents is not None:
            events.append(event("documents", answer.documents))
        await self._emit(*events, memo=memo)

    # -- what is stored ------------------------------------------------------------------------------------------

    @property
    def _index(self) -> str:
        return f"shadow/{self.thing}"

    def _key(self, name: str) -> str:
        return f"shadow/{self.thing}/{name}"

    @property
    def _gone(self) -> str:
        return f"shadow-gone/{self.thing}"

    async def _listed(self, key: str) -> list[str]:
        """Return a sorted list of names. A damaged one fills again as its shadows are updated."""
        text = await self._store.recall(key)
        return [] if text is None else [str(name) for name in json.loads(text)]

    def _now(self) -> int:
        return self._clock.now().wall_ns // 1_000_000_000


def _caused(event: Event) -> Mapping[str, str]:
    """Return the headers by which a chain of functions that runs over a shadow is still known as one."""
    headers = {CAUSE: event.id}
    if DEPTH in event.headers:
        headers[DEPTH] = event.headers[DEPTH]
    return headers
