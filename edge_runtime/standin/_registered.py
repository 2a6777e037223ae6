"""The registry as the connections see it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from edge_runtime.errors import ConfigError
from edge_runtime.standin.access import Identity, Thing
from edge_runtime.standin.policies import Policy
from edge_runtime.standin.registry import Registry


class Registered:
    """A `Directory` of what a registry holds at the moment it is asked; `wall_s` gives the time, since the epoch."""

    def __init__(self, registry: Registry, wall_s: Callable[[], float]) -> None:
        self._registry = registry
        self._wall_s = wall_s

    def identity(self, certificate_id: str) -> Identity | None:
        """Return what is known of a certificate; None: it is not registered."""
        found = self._registry.certificate(certificate_id)
        if found is None:
            return None
        return Identity(
            certificate_id,
            found.is_usable(self._wall_s()),
            [_parse(one) for one in self._registry.policies_of(certificate_id)],
            [
                Thing(one.name, one.type, one.attributes, exclusive=found.exclusive)
                for one in self._registry.things_of(certificate_id)
            ],
        )


def _parse(document: Mapping[str, object]) -> Policy:
    """Read a document of the registry. One that AWS would not take denies everything: no mistake may allow more."""
    try:
        return Policy.parse(document, anywhere=True)
    except ConfigError:
        return Policy.parse({"Version": "2012-10-17", "Statement": {"Effect": "Deny", "Action": "*", "Resource": "*"}})
