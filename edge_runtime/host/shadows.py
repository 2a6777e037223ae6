"""The shadows of this host's thing, made when they are first needed: most apps have none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edge_runtime.app import Device, LinkSpec, Rule
from edge_runtime.clock import Clock
from edge_runtime.cloud.agent import Agent
from edge_runtime.errors import StoreError
from edge_runtime.host.bus import Bus
from edge_runtime.model import Emit
from edge_runtime.store.store import Store

if TYPE_CHECKING:
    from edge_runtime.cloud.shadow_sync import ShadowSync
    from edge_runtime.cloud.shadows import Shadows
    from edge_runtime.host.device_shadows import DeviceShadows

TARGET = "shadow"


def shadow_rules(thing: str) -> tuple[Rule, Rule]:
    """Return the rules that every app has: a request on a topic of the thing's shadows is answered."""
    root = f"$aws/things/{thing}/shadow"
    return Rule(f"{root}/+", (TARGET,)), Rule(f"{root}/name/+/+", (TARGET,))


class ShadowKeeper:
    """Answers the requests that wait in the queue `shadow`; the endpoints ask it directly."""

    def __init__(self, store: Store, thing: str, clock: Clock, emit: Emit) -> None:
        self.thing = thing
        self._store = store
        self._clock = clock
        self._emit = emit
        self._shadows: Shadows | None = None
        self._sync: ShadowSync | None = None

    @property
    def shadows(self) -> Shadows:
        """The shadows; always the same."""
        if self._shadows is None:
            from edge_runtime.cloud.shadows import Shadows  # noqa: PLC0415 - most hosts never need it

            self._shadows = Shadows(self._store, self.thing, self._clock, self._emit)
        return self._shadows

    def agents(self, link: LinkSpec | None) -> list[Agent]:
        """Return who keeps the shadows and their twins in the cloud the same, if the app wants that."""
        if link is None or link.shadows is None:
            return []
        from edge_runtime.cloud.shadow_sync import ShadowSync  # noqa: PLC0415 - same

        self._sync = ShadowSync(self.shadows, link.shadows, self._clock)
        return [self._sync]

    def of_devices(self, devices: Sequence[Device], bus: Bus) -> DeviceShadows | None:
        """Return who keeps devices and shadows together; None when no device has a place in one."""
        if not any(device.shadow for device in devices):
            return None
        from edge_runtime.host.device_shadows import DeviceShadows  # noqa: PLC0415 - same

        return DeviceShadows(devices, self.shadows, self._store, bus, self._clock)

    async def rows(self) -> list[dict[str, object]]:
        """Return how each shadow that has a twin does, for `edge status`."""
        try:
            return [] if self._sync is None else await self._sync.rows()
        except StoreError as error:
            return [{"shadow": "all", "state": "unknown", "last_error": str(error)}]

    async def run(self) -> None:
        """Answer for ever. A request stays queued until its answer is stored.

        Raises: QueueFullError or StoreError when an answer cannot be stored; run it again then.
        """
        queue = self._store.queue(TARGET)
        while True:
            (message,) = await queue.get(1)
            try:
                await self.shadows.handle(message.event)
                await self._store.change(done=[message])
            except BaseException:
                queue.give_back([message])
                raise
