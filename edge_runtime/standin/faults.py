"""What can be made to go wrong, while it runs.

    standin.faults.freeze()
    ...
    standin.faults.clear()

Every method takes effect before it returns. Faults add up; `clear` ends them all.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Protocol

from edge_runtime.errors import ConfigError
from edge_runtime.pure.topics import matches
from edge_runtime.standin.codes import Code
from edge_runtime.standin.quotas import NONE, filter_fault


class Machinery(Protocol):
    """What the faults need from the server."""

    def stop_listening(self) -> None:
        """Refuse new connections at TCP level."""

    def listen_again(self) -> None:
        """Accept connections on the same port again."""

    def drop_connections(self) -> int:
        """Cut every connection and return how many there were."""

    def forget(self, *, sessions: bool) -> None:
        """Cut every connection as a crash does (no last will), and lose the sessions if asked to."""

    def thaw(self) -> None:
        """Let go on what was frozen."""

    def stop_credentials(self) -> None:
        """Refuse connections to the credentials endpoint; nothing when there is none."""

    def resume_credentials(self) -> None:
        """Accept them again."""


@dataclass(slots=True)
class Draw:
    """Decides again and again: yes for the next `count` times, then yes for a `share` of the times."""

    count: int = 0
    share: float = 0.0
    seed: int = 0
    _random: random.Random = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.count < 0 or not 0 <= self.share <= 1:
            raise ConfigError(f"count must be 0 or more and share from 0 to 1; got {self.count} and {self.share}")
        self._random = random.Random(self.seed)  # noqa: S311 - to be repeatable is what a seed is for

    @property
    def live(self) -> bool:
        """Whether it can still say yes."""
        return self.count > 0 or self.share > 0

    def hit(self) -> bool:
        """Decide once."""
        if self.count:
            self.count -= 1
            return True
        return self.share > 0 and self._random.random() < self.share


@dataclass(slots=True)
class Cuts:
    """When connections are cut in the middle of publishing."""

    after: int = 0
    count: int = 0
    silent: bool = True
    """Whether the publish that brings the cut goes without its PUBACK."""
    _left: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self._left = self.after

    def due(self) -> Cuts | None:
        """Count a publish; return this when the connection it came by is to be cut."""
        if not self.count:
            return None
        self._left -= 1
        if self._left:
            return None
        self._left = self.after
        self.count -= 1
        return self


class Faults:
    """The faults of one stand-in."""

    def __init__(self, machinery: Machinery) -> None:
        self._machinery = machinery
        self._reset()

    def _reset(self) -> None:
        self.closed = False
        """The listener is closed."""
        self.connack: Code | None = None
        """Every CONNECT is refused with this."""
        self.frozen = False
        self.delay_s = 0.0
        """How much later every byte arrives, each way."""
        self.pubacks_suffer = False
        """Whether anything may happen to a PUBACK."""
        self.lost_pubacks = Draw()
        self.late_pubacks = Draw()
        self.late_s = 0.0
        self.wrong_pubacks = Draw()
        self.repeated_pubacks = Draw()
        self.failed_pubacks = Draw()
        self.failure = Code.UNSPECIFIED_ERROR
        """What failed PUBACKs say."""
        self.cuts = Cuts()
        self.duplicates = Draw()
        self.rejected: dict[str, int] = {}
        """Topic filters, and the reason code of the PUBACK for what matches them."""
        self.rejected_filters: dict[str, int] = {}
        """Topic filters, and the reason code of the SUBACK for what matches them, read as if they were topics."""
        self.credentials_status = 0
        """The HTTP status that the credentials endpoint answers with; 0: it works."""
        self.credentials_s = 0.0
        """How much later it answers."""
        self.credentials_down = False

    def refuse(self, code: int | None = None) -> None:
        """Take no new connections: refuse TCP, or with a `code` answer every CONNECT with that MQTT 5 reason code.

        Connections that stand stay; see `drop`. MQTT 3.1.1 clients get the nearest return code.

        Raises: ConfigError for a code that is no failure.
        """
        if code is None:
            if not self.closed:
                self._machinery.stop_listening()
            self.closed = True
        else:
            self.connack = _failure(code)

    def freeze(self) -> None:
        """Accept connections and bytes, answer nothing. What came meanwhile is handled after `clear`."""
        self.frozen = True

    def drop(self) -> int:
        """Cut all connections now, without a DISCONNECT; wills are published. Return how many there were."""
        return self._machinery.drop_connections()

    def lose_pubacks(self, count: int = 0, *, share: float = 0.0, seed: int = 0) -> None:
        """Record, but do not send, the next `count` PUBACKs, and after them a `share` (0 to 1) drawn from `seed`."""
        self.lost_pubacks = Draw(count, share, seed)
        self.pubacks_suffer = True

    def late_acks(self, seconds: float, count: int = 0, *, share: float = 0.0, seed: int = 0) -> None:
        """Send the next `count` PUBACKs, and after them a `share`, that much later; the record has them as not sent.

        Raises: ConfigError when `seconds` is negative.
        """
        self.late_s = _later(seconds)
        self.late_pubacks = Draw(count, share, seed)
        self.pubacks_suffer = True

    def wrong_acks(self, count: int = 0, *, share: float = 0.0, seed: int = 0) -> None:
        """Send PUBACKs with the packet identifier of no publish in the place of the right ones."""
        self.wrong_pubacks = Draw(count, share, seed)
        self.pubacks_suffer = True

    def repeat_acks(self, count: int = 0, *, share: float = 0.0, seed: int = 0) -> None:
        """Send PUBACKs twice."""
        self.repeated_pubacks = Draw(count, share, seed)
        self.pubacks_suffer = True

    def fail_acks(
        self, code: int = Code.UNSPECIFIED_ERROR, count: int = 0, *, share: float = 0.0, seed: int = 0
    ) -> None:
        """Refuse the next `count` publishes, and after them a `share`, whatever their topic; they are not recorded.

        MQTT 5 gets a PUBACK with `code`; without one to send, the client is disconnected.

        Raises: ConfigError for a code that is no failure.
        """
        self.failure = _failure(code)
        self.failed_pubacks = Draw(count, share, seed)

    def cut(self, after: int = 1, count: int = 1, *, acked: bool = False) -> None:
        """Close a connection at every `after`th publish that is accepted, `count` times; no DISCONNECT.

        That publish is recorded; its PUBACK is sent only if `acked`.

        Raises: ConfigError when a number is not positive.
        """
        if after < 1 or count < 1:
            raise ConfigError(f"after and count must be 1 or more; got {after} and {count}")
        self.cuts = Cuts(after, count, not acked)

    def delay(self, seconds: float) -> None:
        """Let every byte arrive that much later, each way: half a round trip. It is latency, not a bound on speed.

        Handshakes of TCP and TLS are not delayed.

        Raises: ConfigError when it is negative.
        """
        self.delay_s = _later(seconds)

    def duplicate(self, count: int = 0, *, share: float = 0.0, seed: int = 0) -> None:
        """Deliver messages twice, as AWS IoT Core may: a new packet identifier and no DUP flag."""
        self.duplicates = Draw(count, share, seed)

    def reject(self, topic_filter: str, code: int = Code.NOT_AUTHORIZED) -> None:
        """Refuse what is published on matching topics: a PUBACK with `code`; without one to send, a disconnect.

        Raises: ConfigError for a malformed filter, or a code that is no failure.
        """
        if fault := filter_fault(NONE, topic_filter):
            raise ConfigError(fault)
        self.rejected[topic_filter] = _failure(code)

    def reject_filter(self, topic_filter: str, code: int = Code.NOT_AUTHORIZED) -> None:
        """Refuse subscriptions: a SUBACK with `code` (0x80 in MQTT 3.1.1) for filters that match this one.

        Raises: ConfigError for a malformed filter, or a code that is no failure.
        """
        if fault := filter_fault(NONE, topic_filter):
            raise ConfigError(fault)
        self.rejected_filters[topic_filter] = _failure(code)

    def break_credentials(self, status: int = 0, seconds: float = 0.0, *, down: bool = False) -> None:
        """Let the credentials endpoint answer with an HTTP `status`, answer `seconds` later, or refuse connections.

        Raises: ConfigError for a status that is no failure, or a negative delay.
        """
        if status and not 400 <= status <= 599:  # noqa: PLR2004 - the range of HTTP's failures
            raise ConfigError(f"{status} is no HTTP status of a failure (400 to 599)")
        self.credentials_status = status
        self.credentials_s = _later(seconds)
        if down and not self.credentials_down:
            self._machinery.stop_credentials()
        elif self.credentials_down and not down:
            self._machinery.resume_credentials()
        self.credentials_down = down

    def restart(self, *, keep_sessions: bool = True) -> None:
        """Do as a restart does: all connections are gone at once, without wills; sessions are kept or lost.

        Retained messages, the record and the other faults stay.
        """
        self._machinery.forget(sessions=not keep_sessions)

    def clear(self) -> None:
        """End all faults: listen, go on with what was frozen, and behave."""
        closed, frozen, down = self.closed, self.frozen, self.credentials_down
        self._reset()
        if closed:
            self._machinery.listen_again()
        if down:
            self._machinery.resume_credentials()
        if frozen:
            self._machinery.thaw()

    def rejection(self, topic: str) -> int:
        """Decide on a publish: return the reason code that it is refused with, or 0."""
        if self.failed_pubacks.live and self.failed_pubacks.hit():
            return self.failure
        if not self.rejected:
            return 0
        return next((code for one, code in self.rejected.items() if matches(one, topic)), 0)

    def filter_rejection(self, topic_filter: str) -> int:
        """Return the reason code that a subscription is refused with, or 0."""
        return next((code for one, code in self.rejected_filters.items() if matches(one, topic_filter)), 0)


def _later(seconds: float) -> float:
    if seconds < 0:
        raise ConfigError(f"a delay of {seconds} s: bytes cannot arrive before they are sent")
    return seconds


def _failure(code: int) -> Code:
    if code not in set(Code) or code < Code.UNSPECIFIED_ERROR:
        known = ", ".join(f"0x{one:02x} {one.name}" for one in Code if one >= Code.UNSPECIFIED_ERROR)
        raise ConfigError(f"{code!r} is no reason code of a failure", hint=f"known: {known}")
    return Code(code)
