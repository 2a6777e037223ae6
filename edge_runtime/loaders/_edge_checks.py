"""What a shape cannot say: references, topics, files, quotas. Each check notes what it finds in the document."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from edge_runtime.app import Function, Schedule
from edge_runtime.errors import EdgeError, LimitError
from edge_runtime.loaders._yaml import Document, Where
from edge_runtime.pure import cron, topics


def words(error: EdgeError) -> str:
    """Return the message and the hint of an error as one text."""
    text = str(error)
    return f"{text}{' ' if text.endswith('?') else '; '}{error.hint}" if error.hint else text


def tried(check: Callable[[str], None], text: str, where: Where, document: Document) -> str:
    """Return the text; note when the check raises LimitError."""
    try:
        check(text)
    except LimitError as error:
        document.add(where, words(error))
    return text


def topic(text: str, where: Where, document: Document) -> str:
    """Return the topic; note when nothing can be published on it."""
    return tried(topics.check_topic, text, where, document)


def filter_(text: str, where: Where, document: Document) -> str:
    """Return the filter; note when it is malformed."""
    return tried(topics.check_filter, text, where, document)


def schedule(wanted: Schedule, others: Sequence[str], where: Where, document: Document) -> None:
    """Note when the expression or the time zone is wrong, or when another schedule has the name."""
    try:
        cron.parse(wanted.expression)
    except EdgeError as error:
        document.add((*where, "schedule"), words(error))
    timezone(wanted.timezone, (*where, "timezone"), document)
    if wanted.name in others:
        document.add(where, f"two schedules would have the name {wanted.name!r}; rename one of their functions")


def timezone(name: str, where: Where, document: Document) -> None:
    """Note a time zone that there is not."""
    if name != "UTC":
        try:
            cron.parse("rate(1 day)", name)
        except EdgeError as error:
            document.add(where, words(error))


def plain_switches(options: Mapping[str, object], where: Where, document: Document) -> None:
    """Note options that say `yes` or `off` without quotes: the driver would take the text for true."""
    for key, value in options.items():
        here = (*where, key)
        if isinstance(value, str) and here in document.written and value.lower() in {"yes", "no", "on", "off"}:
            document.add(here, f"write true or false, or '{value}' in quotes when the text is meant")


def destinations(function: Function) -> list[tuple[str, str]]:
    """Return the keys of a function's destinations with the topics they name."""
    pairs = (("on_success", function.on_success), ("on_failure", function.on_failure))
    return [(key, destination.topic) for key, destination in pairs if destination is not None]
