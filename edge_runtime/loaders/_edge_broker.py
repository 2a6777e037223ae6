"""Check the section `broker` of `edge.yaml`: the broker that the host runs for devices."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence

from edge_runtime.app import LocalBroker
from edge_runtime.errors import ConfigError
from edge_runtime.loaders._edge_checks import words
from edge_runtime.loaders._edge_schema import LocalBroker as Part
from edge_runtime.loaders._yaml import Document, Where
from edge_runtime.pure import mosquitto


def broker(
    part: Part,
    prefix: str,
    filter_: Callable[[str, Where], str],
    document: Document,
    brokers: Sequence[str],
) -> LocalBroker:
    """Return the broker that is declared; note what cannot be.

    `filter_` returns a topic filter with its placeholders filled in, and notes what is wrong with it. `brokers` are the
    names of the brokers that the host only connects to.
    """
    where: Where = ("broker",)
    if mosquitto.NAME in brokers:
        document.add(
            ("brokers", mosquitto.NAME), "this name is that of the broker which the host runs itself; take another one"
        )
    try:
        ipaddress.ip_address(part.address)
    except ValueError:
        document.add(
            (*where, "address"),
            f"{part.address!r} is no IP address; write 127.0.0.1 for this machine alone, 0.0.0.0 for every network",
        )
    if part.plain_port == part.port:
        document.add((*where, "plain_port"), f"port {part.port} is the one with TLS; choose another, as 1883")
    return LocalBroker(
        port=part.port,
        address=part.address,
        plain_port=part.plain_port or 0,
        topics=_filters(part.topics, (*where, "topics"), filter_, document),
        prefix=prefix,
        publish=_filters(part.publish, (*where, "publish"), filter_, document),
        names=tuple(part.names),
        payload_bytes=part.payload,
    )


def _filters(
    texts: Sequence[str], where: Where, filter_: Callable[[str, Where], str], document: Document
) -> tuple[str, ...]:
    found = []
    for index, text in enumerate(texts):
        here = (*where, index)
        before = len(document.problems)
        one = filter_(text, here)
        found.append(one)
        # The broker tells of itself below $SYS; there the host may listen.
        if len(document.problems) == before and not (where[-1] == "topics" and one.startswith("$SYS/")):
            try:
                mosquitto.check_grant(one)
            except ConfigError as error:
                document.add(here, words(error))
    return tuple(dict.fromkeys(found))
