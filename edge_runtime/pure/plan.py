"""An outage of the link, reckoned beforehand: what waits and what is lost in the end, and how long it takes to leave.

    stream = Stream.of(per_s=1.0, payload=200)
    found = outage(stream, Room(), seconds=604_800)
    drain(stream, found.waiting, Way()).seconds

All of it is reckoned with mean rates and mean sizes, and as if messages came evenly: as of water that fills a basin and
runs off again. A link that breaks again meanwhile, the round trips of a slow one, and what comes down are left out.
"""

from __future__ import annotations

from edge_runtime.pure._plan_advice import PACK, Advice, advise
from edge_runtime.pure._plan_drain import Drain, Spent, Way, drain, needed
from edge_runtime.pure._plan_outage import Outage, Room, on_disk, outage
from edge_runtime.pure._plan_stream import ROW_BYTES, TOPIC_BYTES, Publish, Stream, publish

__all__ = [
    "PACK",
    "ROW_BYTES",
    "TOPIC_BYTES",
    "Advice",
    "Drain",
    "Outage",
    "Publish",
    "Room",
    "Spent",
    "Stream",
    "Way",
    "advise",
    "drain",
    "needed",
    "on_disk",
    "outage",
    "publish",
]
