"""The declared link, made when it is first needed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from functools import partial

from edge_runtime import plugin
from edge_runtime.app import LinkSpec
from edge_runtime.errors import EdgeError, LinkError
from edge_runtime.model import Link, Received
from edge_runtime.pure.quotas import PAYLOAD_BYTES
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
        self._news = asyncio.Event()
        """Set while another certificate may lie on disk than was last looked at to connect."""

    async def connect(self, *, down: Sequence[str], received: Received) -> bool:
        """Connect once, as `Link.connect`."""
        self._news.clear()
        if self._link is None:
            self._link = await self._make()
        return await self._link.connect(down=down, received=received)

    async def subscribe(self, filters: Sequence[str]) -> None:
        """Subscribe to more, as `Link.subscribe`."""
        if self._link is None:
            raise LinkError("there is no link yet")
        await self._link.subscribe(filters)

    def most_bytes(self, topic: str) -> int:
        """Return the bound of a payload, as `Link.most_bytes`."""
        return PAYLOAD_BYTES if self._link is None else self._link.most_bytes(topic)

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

    async def valid_from_s(self) -> float | None:
        """Return from when on the link's certificate holds, as `MqttLink.valid_from_s`; None for a link without TLS.

        Raises: LinkError when the link cannot be made.
        """
        self._news.clear()
        if self._link is None:
            self._link = await self._make()
        ask = getattr(self._link, "valid_from_s", None)
        begin_s: float | None = await ask() if ask is not None else None
        return begin_s

    async def renew(self) -> bool:
        """Go over to the certificate that is on disk, where the link has one; False when there is nothing to do.

        Who waits in `changed` is told.

        Raises: LinkError when it does not serve; the connection stands as it is then.
        """
        self._news.set()
        renew = getattr(self._link, "renew", None)
        return bool(await renew()) if renew is not None else False

    async def changed(self) -> None:
        """Return when `renew` was called since the last attempt: there may be another certificate to try."""
        await self._news.wait()

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
