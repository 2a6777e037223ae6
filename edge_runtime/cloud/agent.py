"""What talks with a service of the cloud beside the messages of the queue: shadows, jobs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

Say = Callable[[str, bytes], Awaitable[None]]
"""Publish a request within the quotas of the link; awaiting means acknowledged. Raises: LinkError, RefusedError."""


class Agent(Protocol):
    """One conversation with the cloud, over whichever link there is.

    What it has to know after a restart it keeps in the store; what it is told it may hear twice, and each connection
    begins with asking how things stand. So nothing of a conversation waits in a queue.
    """

    name: str
    """For `edge status` and the log: `shadows`, `jobs`."""

    @property
    def filters(self) -> Sequence[str]:
        """What is subscribed to on every connection. It may change between connections."""

    async def run(self, say: Say) -> None:
        """Talk while one connection stands, subscriptions and all. Cancelled when it is lost, run anew on the next."""

    async def received(self, topic: str, payload: bytes) -> bool:
        """Take a message that came down; False when it is for somebody else.

        It is acknowledged when this returns. Raises: StoreError or QueueFullError, and then it comes again.
        """
