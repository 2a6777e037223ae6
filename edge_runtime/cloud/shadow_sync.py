"""The shadows of this thing and their twins in the cloud: each change on one side becomes one on the other.

On every connection each twin is asked for, and both come together by what each side has changed
(`pure.shadow_sync.meet`). From then on a change here goes up at once, one update of a shadow at a time, all that came
meanwhile in the next one; and what others change there comes down by `update/accepted` and `delete/accepted`. What was
said last is noted before it is sent. So nothing of this waits in a queue, and no message that is lost, late or doubled
does harm: versions tell, and the next answer to a get mends it.

Through the Greengrass link this is the same. But there the nucleus may run a shadow manager of its own
(`aws.greengrass.ShadowManager` with `synchronize` for this thing): let one of the two have a shadow. Both do no harm,
as each of them takes the other for somebody in the cloud, but everything is then sent twice.

Sources: AWS IoT developer guide, "Device Shadow MQTT topics"; AWS General Reference, quotas of Device Shadow: 20
requests a second for a thing, 10 of them without an answer; AWS IoT Greengrass developer guide, "Shadow manager".
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
from collections import deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from edge_runtime.app import ShadowSync as Spec
from edge_runtime.clock import Clock
from edge_runtime.cloud._shadow_pace import CONFLICT, NOT_FOUND, AgainError, Answers, Patience, StuckError
from edge_runtime.cloud._shadow_watch import Watch
from edge_runtime.cloud.agent import Say
from edge_runtime.cloud.shadows import CLASSIC, Shadows
from edge_runtime.errors import EdgeError
from edge_runtime.pure import _shadow_tree as trees
from edge_runtime.pure import shadow_sync
from edge_runtime.pure._shadow_tree import EMPTY, Tree
from edge_runtime.pure.backoff import Backoff
from edge_runtime.pure.shadow import RESERVED
from edge_runtime.pure.shadow_sync import Conflict, News, Outgoing

_log = logging.getLogger(__name__)
_CONFLICTS = 3
"""So often in a row a twin is asked for again at once when somebody else was quicker."""
_MOST_NEWS = 20
"""Updates of a twin that wait to be taken in; of more, it is asked for instead."""
_LOSSES = 3
"""Connections in a row that were lost with every request unanswered, and the next one is spared for a while: AWS may
close the connection of who publishes what he is not allowed to."""


class _Heard(NamedTuple):
    news: News
    ours: bool
    """It is an update of this host whose answer was not waited for any more."""


class _Twin:
    """One shadow, as far as it concerns the connection that stands."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.ask = True
        """The twin is to be asked for."""
        self.heard: deque[_Heard] = deque()
        self.wake = asyncio.Event()
        self.met = False
        """Both have met since the host started."""
        self.error, self.hint = "", ""
        self.barred = False
        """It may not be asked for on this connection."""
        self.refused: Tree | None = None
        """The patch that the cloud does not take."""

    @property
    def called(self) -> str:
        """What a person calls it."""
        return self.name or "classic"


class ShadowSync:
    """Keeps shadows and their twins the same: a `cloud.agent.Agent`."""

    name = "shadows"

    def __init__(self, shadows: Shadows, spec: Spec, clock: Clock) -> None:
        self._shadows = shadows
        self._spec = spec
        self._clock = clock
        self._how = Conflict(spec.conflict)
        self._root = f"$aws/things/{shadows.thing}/shadow"
        self._twins: dict[str, _Twin] = {}
        self._answers = Answers(clock)
        self._ours = f"edge-{os.urandom(6).hex()}-"
        self._count = itertools.count(1)
        self._losses = self._judged = 0
        self._due_s = 0.0
        """When to ask again, after so many losses as were judged."""
        self._caution = Backoff(60.0, 3600.0)
        self._say: Say | None = None

    @property
    def filters(self) -> Sequence[str]:
        """The topic filters of the cloud's answers and of what others do there."""
        return shadow_sync.filters(self._shadows.thing, self._spec.names, everything=self._spec.everything)

    async def run(self, say: Say) -> None:
        """Bring everything together and keep it so, until cancelled. Raises: StoreError."""
        self._say = say
        watch = self._shadows.watch()
        try:
            await self._wait_if_cut_off()
            async with asyncio.TaskGroup() as group:
                names = await self._names()
                for name in names:
                    self._begin(group, name)
                await self._listen(group, watch, set(names))
        finally:
            self._shadows.unwatch(watch)
            self._say = None
            answered = self._answers.end()
            if answered is not None:
                self._losses = 0 if answered else self._losses + 1

    async def received(self, topic: str, payload: bytes) -> bool:
        """Take what the cloud says of this thing's shadows: it must not be taken for a request to this host.

        What it says need not be stored: after a restart the twin is asked for.
        """
        if not topic.startswith(f"{self._root}/"):
            return False
        match topic.removeprefix(f"{self._root}/").split("/"):
            case ["get" | "update" | "delete" as method, "accepted" | "rejected" as end]:
                self._hear(CLASSIC, method, payload, accepted=end == "accepted")
            case ["name", name, "get" | "update" | "delete" as method, "accepted" | "rejected" as end]:
                self._hear(name, method, payload, accepted=end == "accepted")
        return True

    async def rows(self) -> list[dict[str, object]]:
        """Return how each shadow does, for `edge status`. Raises: StoreError."""
        return [await self._row(name) for name in await self._names()]

    async def _row(self, name: str) -> dict[str, object]:
        twin = self._twins.get(name) or _Twin(name)
        document = await self._shadows.document(name)
        since = shadow_sync.since(document)
        if document is not None and document.dirty:
            state = "refused" if twin.refused is not None else "changed here"
        else:
            state = "in sync" if twin.met else "not asked yet"
        return {
            "shadow": twin.called,
            "state": state,
            "since_s": None if since is None else max(0, self._clock.now().wall_ns // 1_000_000_000 - since),
            "version": document.version if document is not None and document.is_live else None,
            "cloud_version": (document.cloud_version or None) if document is not None else None,
            "last_error": twin.error,
            "next": twin.hint,
        }

    # -- who is there --------------------------------------------------------------------------------------------

    async def _names(self) -> list[str]:
        if not self._spec.everything:
            return list(self._spec.names)
        return [name for name in await self._shadows.untold() if name != RESERVED]

    def _begin(self, group: asyncio.TaskGroup, name: str) -> None:
        twin = self._twins.setdefault(name, _Twin(name))
        twin.ask, twin.barred, twin.refused = True, False, None
        twin.heard.clear()
        group.create_task(self._keep(twin), name=f"shadows[{twin.called}]")

    async def _listen(self, group: asyncio.TaskGroup, watch: Watch, begun: set[str]) -> None:
        """Wake whoever has something to tell; begin with shadows that are new."""
        while True:
            for name in await watch.take():
                if name in begun:
                    self._twins[name].wake.set()
                elif self._spec.everything and name != RESERVED:
                    begun.add(name)
                    self._begin(group, name)

    async def _wait_if_cut_off(self) -> None:
        if self._losses < _LOSSES:
            self._caution.reset()
            self._judged = 0
            return
        text = f"the last {self._losses} connections were lost while shadows were asked for"
        now_s = self._clock.now().mono_ns / 1e9
        if self._judged != self._losses:  # a connection that was too short to ask is no further one
            self._judged, self._due_s = self._losses, now_s + self._caution.next()
            _log.warning("shadows: %s; next try in %.0f s", text, self._due_s - now_s)
        for name in await self._names():
            twin = self._twins.setdefault(name, _Twin(name))
            twin.error, twin.hint = text, "allow iot:Publish on the shadow's topics in the policy, or take it away"
        await self._clock.sleep(self._due_s - now_s)

    # -- one shadow ----------------------------------------------------------------------------------------------

    async def _keep(self, twin: _Twin) -> None:
        while True:
            twin.wake.clear()
            if not twin.barred:
                await self._settle(twin)
            await twin.wake.wait()

    async def _settle(self, twin: _Twin) -> None:
        """Come together, or give up until something changes or the next connection."""
        patience = Patience()
        while True:
            try:
                await self._come_together(twin)
            except StuckError as error:
                twin.barred = error.for_good
                self._note(twin, str(error), error.hint)
                return
            except (AgainError, EdgeError) as error:
                twin.ask = True
                wait_s = patience.next()
                if wait_s is None:
                    self._note(twin, f"given up for now: {error}", "it is tried again at the next change or connection")
                    return
                self._note(twin, f"tried again: {error}", "")
                await self._clock.sleep(wait_s)
            else:
                return

    async def _come_together(self, twin: _Twin) -> None:
        conflicts = 0
        while True:
            if twin.ask:
                await self._ask(twin)
            await self._take_in(twin)
            if twin.ask:
                continue
            out = shadow_sync.outgoing(await self._shadows.document(twin.name))
            if out is None:
                twin.refused, twin.error, twin.hint = None, "", ""
                return
            if twin.refused is not None and trees.same(twin.refused, out.patch):
                return
            twin.refused = None
            if not await self._tell(twin, out):
                conflicts += 1
                if conflicts >= _CONFLICTS:
                    raise AgainError(f"somebody else was quicker {conflicts} times in a row")

    async def _ask(self, twin: _Twin) -> None:
        answer = await self._request(twin, "get", {}, also=NOT_FOUND)
        cloud = None
        if answer is not None:
            cloud = shadow_sync.twin_of(answer)
            if cloud is None:
                raise StuckError("the cloud's document of the shadow is not understood", hint="edge shadow get")
        await self._shadows.meet(twin.name, cloud, self._how)
        twin.ask, twin.met = False, True

    async def _take_in(self, twin: _Twin) -> None:
        """Take in what others have changed meanwhile."""
        while twin.heard and not twin.ask:
            news, ours = twin.heard.popleft()
            document = await self._shadows.document(twin.name)
            if shadow_sync.is_old(document, news):
                continue
            cloud = shadow_sync.after(document, news)
            if cloud is None:
                twin.ask = True
                return
            await self._shadows.meet(twin.name, cloud, self._how, touched=EMPTY if ours else news.patch)

    async def _tell(self, twin: _Twin, out: Outgoing) -> bool:
        """Tell the cloud; False when somebody else was quicker, and the twin is to be asked for."""
        if out.delete:
            await self._shadows.sending(twin.name, shadow_sync.DELETION)
            await self._request(twin, "delete", {}, also=NOT_FOUND)
            await self._shadows.meet(twin.name, None, self._how)
            return True
        fields: dict[str, object] = {"state": out.patch}
        if out.version:
            fields["version"] = out.version
        await self._shadows.sending(twin.name, out.patch)
        try:
            answer = await self._request(twin, "update", fields, also=CONFLICT)
        except StuckError as error:
            twin.refused = None if error.for_good else out.patch
            raise
        if answer is None:
            twin.ask = True
            return False
        news = shadow_sync.news_of(answer)
        document = await self._shadows.document(twin.name)
        sent = None if news is None else shadow_sync.after(document, News(out.patch, news.metadata, news.version))
        if sent is None:  # a shadow that was made anew goes on counting: what else it has is not known
            twin.ask = True
        else:
            await self._shadows.meet(twin.name, sent, self._how)
        return True

    async def _request(self, twin: _Twin, method: str, fields: Mapping[str, object], *, also: int) -> Tree | None:
        """Ask the cloud; return what it accepted, None for the refusal `also`. Raises: AgainError, StuckError."""
        if self._say is None:
            raise AgainError("the connection is gone")
        below = f"/name/{twin.name}" if twin.name else ""
        token = f"{self._ours}{next(self._count)}"
        payload = trees.encode({**fields, "clientToken": token})
        return await self._answers.ask(self._say, f"{self._root}{below}/{method}", payload, token, also=also)

    def _note(self, twin: _Twin, text: str, hint: str) -> None:
        if twin.error != text:
            _log.warning("shadow %s: %s%s", twin.called, text, f" ({hint})" if hint else "")
        twin.error, twin.hint = text, hint

    # -- what comes down -----------------------------------------------------------------------------------------

    def _hear(self, name: str, method: str, payload: bytes, *, accepted: bool) -> None:
        try:
            answer = trees.parse(payload)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, Mapping):
            _log.warning("shadow %s: the cloud said what is no JSON object", name or "classic")
            return
        token = answer.get("clientToken")
        ours = isinstance(token, str) and token.startswith(self._ours)
        if isinstance(token, str) and self._answers.take(token, answer, accepted=accepted):
            return
        twin = self._twins.get(name)
        if twin is None or not accepted or method == "get":
            return
        news = shadow_sync.news_of(answer) if method == "update" else None
        if news is None or len(twin.heard) >= _MOST_NEWS:
            twin.ask = True  # deleted, or more than can be followed
        else:
            twin.heard.append(_Heard(news, ours))
        twin.wake.set()
