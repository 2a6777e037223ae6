"""The data budget of a metered link, with the clocks and the store that it needs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from edge_runtime.app import Budget
from edge_runtime.clock import Clock
from edge_runtime.cloud.pack import Parcel
from edge_runtime.model import NO_HEADERS
from edge_runtime.pure.data_budget import ALL, CONNECT_BYTES, PING_BYTES, DataBudget, Moment, publish_bytes
from edge_runtime.store.store import Store

_log = logging.getLogger(__name__)
_KEY = "uplink/budget"
_LONGEST_S = 60.0
"""So often the wall clock is looked at while somebody waits: it may be set, or become right, at any time."""
_KEEP_ALIVE_S = 60.0


class Meter:
    """Counts what goes through the link, and tells who may go. What was counted is kept by whoever commits anyway."""

    def __init__(self, store: Store, spec: Budget, clock: Clock, synced: Callable[[], bool]) -> None:
        """`synced` tells whether the wall clock is known to be right."""
        self._store = store
        self._spec = spec
        self._clock = clock
        self._synced = synced
        self._budget = DataBudget(spec)
        self._kept = ""
        self._pinged_s: float | None = None
        """Up to when keep-alives are counted, in running time; None while there is no connection."""

    async def open(self) -> None:
        """Remember what was used in an earlier run. Raises: StoreError."""
        memo = await self._store.recall(_KEY)
        try:
            self._budget = DataBudget(self._spec, memo)
        except ValueError as error:
            _log.warning("the data budget begins anew: %s", error)
        else:
            self._kept = memo or ""

    def least(self) -> int:
        """Return the least urgent priority that may go now."""
        return self._budget.least(self._now())

    def patience_s(self) -> float:
        """Return after how long to ask again while somebody waits."""
        now = self._now()
        until_s = self._budget.standing(now).until_s
        if until_s is None or now.wall_s is None:
            return _LONGEST_S
        return min(_LONGEST_S, max(0.001, until_s - now.wall_s))

    def connected(self) -> None:
        """Count a connection that was made."""
        now = self._now()
        self._pinged_s = now.run_s
        self._budget.charge(CONNECT_BYTES, now)

    def disconnected(self) -> None:
        """Count its keep-alives no longer."""
        self._now()
        self._pinged_s = None

    def sent(self, parcel: Parcel) -> None:
        """Count a publish."""
        self._budget.charge(publish_bytes(parcel.topic, len(parcel.payload), parcel.properties), self._now())

    def came(self, topic: str, payload: bytes, properties: Mapping[str, str]) -> None:
        """Count a message that came down."""
        self._budget.charge(publish_bytes(topic, len(payload), properties), self._now())

    def memo(self) -> Mapping[str, str]:
        """Return what is to be remembered with the next commit; nothing when nothing has changed."""
        memo = self._budget.memo()
        if memo == self._kept:
            return NO_HEADERS
        self._kept = memo
        return {_KEY: memo}

    def lost(self) -> None:
        """Note that the last memo was not committed."""
        self._kept = ""

    def standing(self) -> dict[str, object]:
        """Return how the budget does, for `edge status`; `until` is in seconds since the epoch, or None."""
        limit, used, least, until_s, night = self._budget.standing(self._now())
        return {
            "limit": limit,
            "used": used,
            "left": max(0, limit - used),
            "per": self._spec.per,
            "state": "night"
            if night
            else "used up"
            if used >= limit
            else "waits for the night"
            if least < ALL
            else "ok",
            "least": least,
            "until": until_s,
        }

    def _now(self) -> Moment:
        wall_s = self._clock.now().wall_ns / 1e9 if self._synced() else None
        now = Moment(self._store.age_ns() / 1e9, wall_s)
        if self._pinged_s is not None and (pings := int((now.run_s - self._pinged_s) // _KEEP_ALIVE_S)) > 0:
            self._pinged_s += pings * _KEEP_ALIVE_S
            self._budget.charge(pings * PING_BYTES, now)
        return now
