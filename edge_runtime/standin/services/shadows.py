"""The Device Shadow service: classic and named shadows of all things, on AWS's topics and for tests.

    $aws/things/<thing>/shadow[/name/<shadow>]/{get|update|delete}          requests
    .../accepted, .../rejected, .../update/delta, .../update/documents      what it publishes

The rules are those of `edge_runtime.pure.shadow`. A thing needs no entry in the registry. Sources: AWS IoT developer
guide, "Device Shadow MQTT topics"; AWS General Reference, "AWS IoT Device Shadow service endpoints and quotas".
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from edge_runtime.errors import ConfigError, NotFoundError
from edge_runtime.pure import shadow
from edge_runtime.pure.bucket import Bucket
from edge_runtime.pure.shadow import Accepted, Document, Rejected
from edge_runtime.standin.broker import Broker
from edge_runtime.standin.packets import Publish
from edge_runtime.standin.services.messages import THING, Tree, read, write

CLASSIC: Final = ""
"""The name of the shadow that has none."""
_TOPIC: Final = re.compile(r"\$aws/things/([^/]+)/shadow(?:/name/([^/]+))?/(get|update|delete)", re.DOTALL)
_NAME: Final = re.compile(r"[$a-zA-Z0-9:_-]{1,64}")
_SECOND_NS: Final = 1_000_000_000
_MOST_BUCKETS: Final = 10_000

Answer = Accepted | Rejected


class _Asked(NamedTuple):
    thing: str
    name: str
    method: str

    @property
    def root(self) -> str:
        return f"$aws/things/{self.thing}/shadow" + (f"/name/{self.name}" if self.name else "")


class Shadows:
    """The shadows of an account. Put it into `Broker.services`."""

    def __init__(self, broker: Broker, *, most_bytes: int = shadow.STATE_BYTES) -> None:
        self.changed: Callable[[], None] | None = None
        """Called after every change."""
        self._broker = broker
        self._most_bytes = most_bytes
        self._documents: dict[tuple[str, str], Document] = {}
        self._paces: dict[str, Bucket] = {}
        self._turn: object = None
        self._in_flight: Counter[str] = Counter()

    # --- devices ---

    def serves(self, topic: str) -> bool:
        """Tell whether a topic is that of a request."""
        return _TOPIC.fullmatch(topic) is not None

    def take(self, request: Publish, client_id: str) -> None:  # noqa: ARG002 - all subscribers get the answer
        """Answer a request."""
        found = _TOPIC.fullmatch(request.topic)
        if found is None:
            return
        asked = _Asked(found[1], found[2] or CLASSIC, found[3])
        fault = self._fault_of(asked)
        answer = fault or self._answer(asked, request.payload)
        self._tell(asked, answer)

    def _fault_of(self, asked: _Asked) -> Rejected | None:
        if not THING.fullmatch(asked.thing):
            return shadow.reject(400, "Invalid thing name", self._now())
        if asked.name and not _NAME.fullmatch(asked.name):
            return shadow.reject(400, "Invalid shadow name", self._now())
        return shadow.reject(429, "Too Many Requests", self._now()) if self._too_many(asked.thing) else None

    def _too_many(self, thing: str) -> bool:
        """Tell whether a thing asks too much. What comes in one turn is in flight together."""
        limits, now = self._broker.limits, self._broker.now
        if self._turn is not now:
            self._turn = now
            self._in_flight.clear()
        self._in_flight[thing] += 1
        if 0 < limits.shadow_in_flight < self._in_flight[thing]:
            return True
        if len(self._paces) >= _MOST_BUCKETS:
            self._paces.clear()
        rate = limits.shadow_requests_per_s
        pace = self._paces.setdefault(thing, Bucket(rate, rate or 1.0))
        return pace.take(1.0, now.mono_ns / _SECOND_NS) > 0

    def _answer(self, asked: _Asked, payload: bytes) -> Answer:
        known, now = self._documents.get((asked.thing, asked.name)), self._now()
        if asked.method == "get":
            return shadow.get(known, payload, now, name=asked.name)
        if asked.method == "delete":
            answer = shadow.delete(known, payload, now, name=asked.name)
        else:
            answer = shadow.update(known, payload, now, most_bytes=self._most_bytes)
        if isinstance(answer, Accepted):
            self._documents[asked.thing, asked.name] = answer.document
            if self.changed is not None:
                self.changed()
        return answer

    def _tell(self, asked: _Asked, answer: Answer) -> None:
        root = f"{asked.root}/{asked.method}"
        if isinstance(answer, Rejected):
            self._broker.say(f"{root}/rejected", answer.payload)
            return
        self._broker.say(f"{root}/accepted", answer.payload)
        if answer.delta is not None:
            self._broker.say(f"{root}/delta", answer.delta)
        if answer.documents is not None:
            self._broker.say(f"{root}/documents", answer.documents)

    def _now(self) -> int:
        return self._broker.now.wall_ns // _SECOND_NS

    # --- people ---

    def get(self, thing: str, name: str = CLASSIC) -> Tree:
        """Return a shadow as its owner gets it: state with `delta`, metadata, version and timestamp.

        Raises: NotFoundError.
        """
        self._broker.begin()
        return self._checked(_Asked(thing, name, "get"), b"")

    def update(self, thing: str, name: str, state: Tree, *, version: int | None = None) -> Tree:
        """Change a shadow as an app in the cloud would, tell those who listen, and return what was accepted.

        Args:
            thing: its name.
            name: that of the shadow, `CLASSIC` for the one without.
            state: `{"desired": {...}}`, or `reported`, or both; null removes.
            version: what the version must be; None for any.

        Raises: ConfigError when AWS would not accept it, with AWS's code and words.
        """
        request: dict[str, object] = {"state": state}
        if version is not None:
            request["version"] = version
        with self._broker.turn():
            return self._checked(_Asked(thing, name, "update"), write(request))

    def delete(self, thing: str, name: str = CLASSIC) -> Tree:
        """Remove a shadow, tell those who listen, and return its last version. Raises: NotFoundError."""
        with self._broker.turn():
            return self._checked(_Asked(thing, name, "delete"), b"")

    def ask(self, thing: str, name: str, method: str, payload: bytes) -> Answer:
        """Carry out a `get`, `update` or `delete` that came by HTTP; tell those who listen of a change."""
        asked = _Asked(thing, name, method)
        with self._broker.turn():
            answer = self._fault_of(asked) or self._answer(asked, payload)
            if method != "get" and isinstance(answer, Accepted):
                self._tell(asked, answer)
        return answer

    def names(self, thing: str) -> tuple[str, ...]:
        """Return the names of the shadows of a thing, in order; the classic one is `CLASSIC`."""
        found = (name for (owner, name), document in self._documents.items() if owner == thing and document.is_live)
        return tuple(sorted(found))

    def _checked(self, asked: _Asked, payload: bytes) -> Tree:
        if not THING.fullmatch(asked.thing):
            raise ConfigError(f"{asked.thing!r} is no name of a thing; allowed: 1 to 128 letters, digits, : - and _")
        if asked.name and not _NAME.fullmatch(asked.name):
            raise ConfigError(f"{asked.name!r} is no name of a shadow; allowed: 1 to 64 letters, digits, : - _ and $")
        answer = self._answer(asked, payload)
        if isinstance(answer, Rejected):
            kind = NotFoundError if answer.code == 404 else ConfigError  # noqa: PLR2004 - HTTP's "not found"
            shown = f"shadow {asked.name!r}" if asked.name else "the classic shadow"
            raise kind(f"{shown} of thing {asked.thing!r}: {answer.code} {answer.message}")
        if asked.method != "get":
            self._tell(asked, answer)
        return read(answer.payload)

    # --- keeping ---

    def dump(self) -> dict[str, dict[str, Tree]]:
        """Return all shadows, by thing and name, for `load`."""
        found: dict[str, dict[str, Tree]] = {}
        for (thing, name), document in self._documents.items():
            found.setdefault(thing, {})[name] = read(shadow.to_text(document).encode())
        return found

    def load(self, tree: Tree) -> None:
        """Take what `dump` returned, in the place of what is here. Raises: ConfigError for anything else."""
        documents: dict[tuple[str, str], Document] = {}
        for thing, named in tree.items():
            if not isinstance(named, Mapping):
                raise ConfigError(f"shadows.{thing} is no object of shadows by name")
            for name, one in named.items():
                try:
                    documents[thing, name] = shadow.from_text(write(one).decode())
                except ValueError:
                    raise ConfigError(f"shadows.{thing}.{name or 'classic'} is no shadow") from None
        self._documents = documents
