"""From a topic to the targets it feeds: the rules, compiled into a tree of topic levels."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from edge_runtime.app import Rule
from edge_runtime.model import Feed
from edge_runtime.pure.topics import check_filter

_MOST_CACHED = 4096


@dataclass(slots=True)
class _Node:
    """One level of the tree. `here` and `below` hold the positions of the rules that end here or with `#` below."""

    children: dict[str, _Node] = field(default_factory=dict)
    here: list[int] = field(default_factory=list)
    below: list[int] = field(default_factory=list)


class Router:
    """The compiled rules of an app: `feeds` tells who gets an event, in a time that does not grow with the rules.

    A topic that was asked before costs one dict lookup; a new one a walk down the tree, one step a level (two where
    a filter has `+`). Filters match as in `topics.matches`. Not for several threads at once.

    Raises: LimitError when a filter is malformed.
    """

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._rules = tuple(rules)
        self._root = _Node()
        self._cache: dict[str, tuple[Feed, ...]] = {}
        for position, rule in enumerate(self._rules):
            self._add(position, rule.filter)

    def feeds(self, topic: str) -> tuple[Feed, ...]:
        """Return one Feed for each target of `topic`, in the order in which the rules first name the targets.

        When several rules feed one target, the most urgent (lowest) priority holds. `topic` must be a valid topic.
        """
        found = self._cache.get(topic)
        if found is None:
            found = self._walk(topic)
            if len(self._cache) >= _MOST_CACHED:
                self._cache.clear()  # topics with an id in them never come again; the others are soon back
            self._cache[topic] = found
        return found

    def _add(self, position: int, topic_filter: str) -> None:
        check_filter(topic_filter)
        node = self._root
        for level in topic_filter.split("/"):
            if level == "#":
                node.below.append(position)
                return
            node = node.children.setdefault(level, _Node())
        node.here.append(position)

    def _walk(self, topic: str) -> tuple[Feed, ...]:
        levels = topic.split("/")
        reserved = topic[:1] == "$"  # then no wildcard matches at the first level
        positions: list[int] = [] if reserved else list(self._root.below)
        nodes = [self._root]
        for depth, level in enumerate(levels):
            names = (level,) if reserved and depth == 0 else (level, "+")
            nodes = [child for node in nodes for name in names if (child := node.children.get(name)) is not None]
            if depth + 1 < len(levels):
                for node in nodes:
                    positions += node.below
        for node in nodes:
            positions += node.here
        return self._merge(sorted(positions))

    def _merge(self, positions: list[int]) -> tuple[Feed, ...]:
        urgency: dict[str, int] = {}
        for position in positions:
            rule = self._rules[position]
            for target in rule.targets:
                urgency[target] = min(rule.priority, urgency.get(target, rule.priority))
        return tuple(Feed(target, priority) for target, priority in urgency.items())
