"""Check where a function of `edge.yaml` sends what it made, and what it may do."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping

from edge_runtime.app import NOTHING, App, Destination, Function, Permissions
from edge_runtime.loaders import _edge_schema as schema
from edge_runtime.loaders._edge_checks import destinations
from edge_runtime.loaders._validate import check, choices
from edge_runtime.loaders._yaml import Document, Where
from edge_runtime.pure import topics
from edge_runtime.pure.permissions import invoke_topic, invoked, may_publish, needed

Expand = Callable[[str, Where], str]
"""Returns a topic or a filter with its placeholder filled in, and notes when it is malformed."""


def destination(
    data: object, where: Where, document: Document, *, topic: Expand, functions: Collection[str], record: bool
) -> Destination | None:
    """Return a destination as it is written; `record` is what a topic gets when the file does not say."""
    if data in (None, ""):
        return None
    part = check(schema.Destination, data, where, document)
    if part is None:
        return None
    if part.function is not None:
        known_function(part.function, functions, (*where, "function"), document)
        return Destination(invoke_topic(part.function), record=part.record is not False)
    here = where if isinstance(data, str) else (*where, "topic")
    text = topic(part.topic or "", here)
    if name := invoked(text):
        known_function(name, functions, here, document)
    return Destination(text, record if part.record is None else part.record)


def known_function(name: str, functions: Collection[str], where: Where, document: Document) -> None:
    """Note when there is no function of that name."""
    if name not in functions:
        document.add(where, f"there is no function {name!r}{choices(name, functions)}")


def permissions(part: schema.Allow | None, where: Where, document: Document, *, strict: bool, filter_: Expand,
                known: Mapping[str, Collection[str]]) -> Permissions:  # fmt: skip
    """Return what a function may do; `known` has the names that may stand under `invoke` and `devices`."""
    if part is None:
        return NOTHING if strict else Permissions()
    lists: dict[str, tuple[str, ...] | None] = {}
    for key in ("publish", "subscribe", "invoke", "devices"):
        written: list[str] | None = getattr(part, key)
        if written is None:
            lists[key] = () if strict else None
        elif key in known:
            for index, name in enumerate(written):
                if name not in known[key]:
                    document.add((*where, key, index), f"there is no {name!r} here{choices(name, known[key])}")
            lists[key] = tuple(written)
        else:
            lists[key] = tuple(filter_(text, (*where, key, index)) for index, text in enumerate(written))
    credentials = not strict if part.credentials is None else part.credentials
    return Permissions(**lists, credentials=credentials)


def fits_together(function: Function, where: Where, document: Document) -> None:
    """Note keys of a function that exclude one another, and destinations that it may not use."""
    batch = function.batch
    if batch is not None and function.binary:
        document.add((*where, "binary"), "a batch is made of texts; take away 'binary' or 'batch'")
    if batch is not None and batch.report_failures and function.on_success is not None:
        document.add(
            (*where, "on_success"), "the reply to a batch with report_failures is a report; take one of them away"
        )
    if function.pinned and function.concurrency > 1:
        document.add((*where, "concurrency"), f"a pinned function has one worker, not {function.concurrency}")
    for key, text in destinations(function):
        if not may_publish(function.allow, text):
            kind, value = needed(text)
            document.add((*where, key), f"{text!r} is not allowed to this function; add {value!r} to allow.{kind}")


def loops(app: App, document: Document) -> None:
    """Note functions that would set themselves off for ever by what they emit, alone or through one another."""
    fed = {
        function.name: [
            invoke_topic(function.name),
            *(rule.filter for rule in app.rules if f"function/{function.name}" in rule.targets),
        ]
        for function in app.functions
    }
    sets_off = {function.name: list(_steps(function, fed)) for function in app.functions}
    told: set[frozenset[str]] = set()
    for function in app.functions:
        for key, text, name in sets_off[function.name]:
            where = ("functions", function.name, key)
            if name == function.name:
                found = next(one for one in fed[name] if topics.matches(one, text))
                document.add(
                    where, f"{text!r} would set the function off again, for ever: one of its events is {found!r}"
                )
            elif (way := _way(name, function.name, sets_off)) and frozenset(way) not in told:
                told.add(frozenset(way))
                circle = " -> ".join([function.name, *way])
                document.add(where, f"{text!r} would set the function off again, for ever: {circle}")


def _steps(function: Function, fed: Mapping[str, list[str]]) -> Iterator[tuple[str, str, str]]:
    """Yield the keys, the topics, and the functions that they set off."""
    for key, text in destinations(function):
        for name, filters in fed.items():
            if any(topics.matches(one, text) for one in filters):
                yield key, text, name


def _way(start: str, end: str, sets_off: Mapping[str, list[tuple[str, str, str]]]) -> list[str]:
    """Return the shortest way from one function to another, both included; empty when there is none."""
    ways, seen = [[start]], {start}
    for way in ways:
        for _, _, name in sets_off[way[-1]]:
            if name == end:
                return [*way, end]
            if name not in seen:
                seen.add(name)
                ways.append([*way, name])
    return []
