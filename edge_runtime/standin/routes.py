"""Who gets a message: the subscriptions of all sessions, and a cache of what each topic matched."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Generic, NamedTuple, Protocol, TypeVar

from edge_runtime.pure.topics import matches
from edge_runtime.standin.packets import Subscription

_MOST_CACHED: Final = 4096
_SHARE: Final = "$share/"


class Member(Protocol):
    """What a subscriber must show."""

    @property
    def online(self) -> bool:
        """Whether it can be sent to now."""


M = TypeVar("M", bound=Member)


@dataclass(slots=True)
class Group(Generic[M]):
    """One shared subscription: each message goes to one of its members, in turn."""

    members: dict[M, Subscription] = field(default_factory=dict)
    _turn: int = 0

    def pick(self) -> tuple[M, Subscription]:
        """Return whose turn it is: of those that are connected, or of all when none is."""
        entries = list(self.members.items())
        able = [entry for entry in entries if entry[0].online] or entries
        self._turn += 1
        return able[self._turn % len(able)]


class Found(NamedTuple, Generic[M]):
    """What a topic matched: every session once, with the subscription of the highest QoS; and shared groups."""

    plain: tuple[tuple[M, Subscription], ...]
    shared: tuple[Group[M], ...]


def split_share(topic_filter: str) -> tuple[str, str]:
    """Return the name of the share, empty when there is none, and the filter without its prefix."""
    if not topic_filter.startswith(_SHARE):
        return "", topic_filter
    name, _, rest = topic_filter[len(_SHARE) :].partition("/")
    return name, rest


class Routes(Generic[M]):
    """The subscriptions. Filters must have been checked."""

    def __init__(self) -> None:
        self._plain: dict[str, dict[M, Subscription]] = {}
        self._shared: dict[tuple[str, str], Group[M]] = {}
        self._cache: dict[str, Found[M]] = {}

    def add(self, member: M, subscription: Subscription) -> None:
        """Add a subscription, or replace the one with the same filter."""
        share = split_share(subscription.filter)
        members = self._shared.setdefault(share, Group()).members if share[0] else self._plain.setdefault(share[1], {})
        members[member] = subscription
        self._cache.clear()

    def remove(self, member: M, topic_filter: str) -> None:
        """Take a subscription away; one that is not there is passed over."""
        name, bare = split_share(topic_filter)
        if name:
            group = self._shared.get((name, bare))
            if group is not None and group.members.pop(member, None) is not None and not group.members:
                del self._shared[name, bare]
        else:
            members = self._plain.get(bare)
            if members is not None and members.pop(member, None) is not None and not members:
                del self._plain[bare]
        self._cache.clear()

    def find(self, topic: str) -> Found[M]:
        """Return who gets a message on `topic`."""
        found = self._cache.get(topic)
        if found is None:
            if len(self._cache) >= _MOST_CACHED:
                self._cache.clear()
            found = self._cache[topic] = self._look(topic)
        return found

    def _look(self, topic: str) -> Found[M]:
        plain: dict[M, Subscription] = {}
        for topic_filter, members in self._plain.items():
            if matches(topic_filter, topic):
                for member, one in members.items():
                    if member not in plain or one.qos > plain[member].qos:
                        plain[member] = one
        shared = tuple(group for (_, bare), group in self._shared.items() if matches(bare, topic))
        return Found(tuple(plain.items()), shared)
