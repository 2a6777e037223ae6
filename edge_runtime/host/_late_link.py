"""The declared link, made when it is first needed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from functools import partial

from edge_runtime import plugin
from edge_runtime.app import LinkSpec
from edge_runtime.errors import EdgeError, LinkError
from edge_runtime.model import Link, Received
from edge_runtime.threads import in_thread


class LateLink:
    """A `model.Link` around the plug-in that is declared.

    Its library takes up to a second to import, and events are to be accepted before that. And a link that cannot be
    made (a certificate is gone, a library is missing) is like one that cannot connect: the rest of the app goes on,
    `edge status` says why, and it is tried again.
    """

    def __init__(self, spec: LinkSpec) -> None:
        self._spec = spec
        self._link: Link | None = None

    async def connect(self, *, down: Sequence[str], received: Received) -> bool:
        """Connect once, as `Link.connect`."""
        if self._link is None:
            self._link = await self._make()
        return await self._link.connect(down=down, received=received)

    def publish(self, topic: str, payload: bytes, properties: Mapping[str, str]) -> Awaitable[None]:
        """Publish, as `Link.publish`."""
        if self._link is None:
            return _refuse()
        return self._link.publish(topic, payload, properties)

    async def lost(self) -> LinkError:
        """Return when the connection has gone, as `Link.lost`."""
        return LinkError("there is no link yet") if self._link is None else await self._link.lost()

    async def close(self) -> None:
        """Disconnect, as `Link.close`."""
        if self._link is not None:
            await self._link.close()

    async def _make(self) -> Link:
        driver = self._spec.driver
        try:
            module = await in_thread(f"link[{driver}].import", partial(plugin.load, "links", driver))
            link: Link = module.LINK(**self._spec.options)
        except asyncio.CancelledError:
            raise
        except EdgeError as error:
            raise LinkError(f"the link {driver!r} cannot be made: {error}", hint=error.hint) from error
        except Exception as error:
            raise LinkError(f"the link {driver!r} cannot be made: {error!r}", hint="edge doctor") from error
        return link


async def _refuse() -> None:
    raise LinkError("there is no link yet")
