"""Which publish makes the broker hang up: it must not be the first again on each connection, and block all others.

AWS IoT Core closes the connection of who publishes what the policy does not allow, without a word. A network that
breaks may look the same. So after a connection that was closed soon after something was sent, the next one begins with
one message, and allows more with each acknowledgement; what was on its way twice when it was closed goes alone. What
was then, on three connections, all that was on its way when they were closed is set aside, and its topic with it, for
something else to be tried. When that gets through it has one more try on the same connection, and when that is closed
for it the case is clear: a dead letter. When nothing gets through it is not the message: perhaps the policy allows
nothing at all for now, and nothing is given up.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from edge_runtime.clock import Clock
from edge_runtime.cloud.pack import Parcel
from edge_runtime.model import Message

STRIKES = 3
"""So many connections must have ended with nothing else on their way."""
AGAIN_S = 3600.0
"""A topic on which nothing is sent any more is tried again after so long: somebody may have mended the policy."""
RETRY_S = 60.0
"""What was set aside is tried again after so long, if nothing else has been sent meanwhile."""
MOST_ASIDE = 500
"""So many messages are set aside, to find one of another topic."""
HINT = "edge doctor; aws iot get-policy --policy-name NAME; when it is mended: edge queue replay uplink --all"
_SOON_S = 5.0
"""What was sent longer ago is not why the connection was closed now."""
_MOMENT_S = 1.0
"""What failed longer ago did not fail because the connection is over."""
_MOST = 10_000
"""Suspects that are remembered, and topics."""


@dataclass(slots=True)
class _Suspect:
    """A message, or what agents say on a topic."""

    falls: int = 0
    """Connections that were closed while it was on its way."""
    strikes: int = 0
    """Those of them on which nothing else was."""
    is_convicted: bool = False


@dataclass(slots=True)
class _Bar:
    """A topic on which something was given up, and nothing has got through since."""

    since_s: float
    closed: bool = False
    """Nothing is sent on it any more."""


class Care:
    """Says how much may be on its way, what goes alone, and what is not sent at all."""

    def __init__(self, clock: Clock, most: int) -> None:
        """`most` is what may be on its way at any time: publishes, or messages in one of them, whichever is more."""
        self._clock = clock
        self._most = self._level = most
        """How many publishes, and messages in each of them, there may be now."""
        self._flying: dict[int, tuple[Parcel, float]] = {}
        """What is on its way, by its identity, and when it was sent."""
        self._failed: deque[tuple[Parcel, float, float]] = deque()
        """What failed a moment ago, when it was sent and when it failed."""
        self._suspects: dict[int | str, _Suspect] = {}
        """By sequence number; by topic what agents say."""
        self._bars: dict[str, _Bar] = {}
        self._alone: Parcel | None = None
        self._asked = 0
        self._guilty: dict[str, set[int | str]] = {}
        """By topic: what has had its strikes, and nothing else got through on the connections that it ended."""
        self._works = False
        """Something got through on this connection."""
        self._trying = False
        """What is guilty may be sent once more."""

    @property
    def window(self) -> int:
        """How many publishes may be on their way now."""
        return 1 if self._alone is not None else self._level

    def together(self, first: Message) -> int:
        """Return how many messages a publish may hold that begins with this one."""
        return 1 if self._is_suspect(first.seq) else self._level

    def goes_alone(self, parcel: Parcel) -> bool:
        """Tell whether nothing else may be on its way with this parcel, and no subscription either."""
        return self._level == 1 or parcel.topic in self._bars or self._is_suspect(_name(parcel))

    @property
    def asks(self) -> bool:
        """Whether a subscription is not answered yet: AWS may hang up for that as well."""
        return self._asked > 0

    def is_to_wait(self, parcel: Parcel) -> bool:
        """Tell whether a parcel is to be set aside, for something else to be tried."""
        guilty = self._guilty.get(parcel.topic)
        if guilty is None or self._works:
            return False
        if self._trying and _name(parcel) in guilty:
            self._trying = False
            return False
        return True  # what follows on the topic as well: it may be innocent, and then there is an order to keep

    def retry(self) -> None:
        """Let something that was set aside be sent all the same: there is nothing else to be tried."""
        self._trying = True

    def verdict(self, parcel: Parcel) -> str:
        """Return why a parcel is never to be sent, or nothing.

        Once something was given up, the next message on its topic has one try. When that fails as well it is the topic,
        and what else comes on it is given up at once, but for one message an hour.
        """
        now_s = self._clock.now().mono_ns / 1e9
        suspect, bar = self._suspects.get(_name(parcel)), self._bars.get(parcel.topic)
        if bar is not None and bar.closed:
            if suspect is None and now_s - bar.since_s >= AGAIN_S:
                bar.since_s = now_s
                return ""
        elif suspect is None or not suspect.is_convicted:
            return ""
        else:
            _forget_first(self._bars)
            self._bars[parcel.topic] = _Bar(now_s, closed=bar is not None)
        self._acquit(parcel)
        return (
            f"the broker closes the connection when something is published on {parcel.topic!r}: usually the policy"
            f" does not allow iot:Publish on it ({HINT})"
        )

    def begins(self) -> None:
        """Forget the connection before: a new one is about to be made."""
        self._flying.clear()
        self._failed.clear()
        self._alone, self._asked, self._works = None, 0, False

    def forgive(self) -> None:
        """Forget what was given up: somebody says that it is allowed now."""
        self._bars.clear()

    def sends(self, parcel: Parcel) -> None:
        """Note that a parcel is on its way."""
        if self.goes_alone(parcel):
            self._alone = parcel
        self._flying[id(parcel)] = parcel, self._now_s()

    def landed(self, parcel: Parcel) -> None:
        """Note that the broker has answered, whatever it said."""
        self._down(parcel)
        self._works = True
        if self._level < self._most:
            self._level += 1
        if self._suspects:
            self._acquit(parcel)
        if self._bars:
            self._bars.pop(parcel.topic, None)

    def failed(self, parcel: Parcel) -> None:
        """Note that it did not get through; perhaps because the connection is over, see `ended`."""
        sent_s, now_s = self._down(parcel), self._now_s()
        while self._failed and self._failed[0][2] < now_s - _MOMENT_S:
            self._failed.popleft()
        self._failed.append((parcel, sent_s, now_s))

    def subscribes(self) -> None:
        """Note that a subscription is on its way."""
        self._asked += 1

    def subscribed(self) -> None:
        """Note that it was answered."""
        self._asked -= 1

    def ended(self, *, hung_up: bool) -> None:
        """Note that a connection is over; `hung_up`: as `LinkError.hung_up`."""
        now_s = self._now_s()
        flights = [(parcel, sent_s) for parcel, sent_s, at_s in self._failed if at_s >= now_s - _MOMENT_S]
        flights += self._flying.values()
        fallen = [parcel for parcel, sent_s in flights if sent_s >= now_s - _SOON_S]
        if not hung_up or not fallen:
            return
        if self.asks:
            self._level = 1  # who is to blame, nobody knows: on the next connection nothing is sent before the answers
            return
        careful = self._level < self._most or fallen[0].topic in self._bars
        sole = careful and len(flights) == 1 and len(fallen[0].messages) <= 1  # of what was packed, one may be to blame
        self._level = 1
        for topic, name in ((parcel.topic, name) for parcel in fallen for name in _names(parcel)):
            if name not in self._suspects:
                _forget_first(self._suspects)
            suspect = self._suspects.setdefault(name, _Suspect())
            suspect.falls += 1
            suspect.strikes += sole
            if suspect.strikes >= (1 if topic in self._bars else STRIKES):
                suspect.is_convicted = self._works or topic in self._bars
                self._guilty.setdefault(topic, set()).add(name)

    def _acquit(self, parcel: Parcel) -> None:
        """Forget what was held against a parcel: it has got through, or its case is closed."""
        guilty = self._guilty.get(parcel.topic, set())
        for name in _names(parcel):
            self._suspects.pop(name, None)
            guilty.discard(name)
        if not guilty:
            self._guilty.pop(parcel.topic, None)

    def _is_suspect(self, name: int | str) -> bool:
        suspect = self._suspects.get(name)
        return suspect is not None and (suspect.falls > 1 or suspect.strikes > 0)

    def _down(self, parcel: Parcel) -> float:
        if self._alone is parcel:
            self._alone = None
        _, sent_s = self._flying.pop(id(parcel), (parcel, 0.0))
        return sent_s

    def _now_s(self) -> float:
        return self._clock.now().mono_ns / 1e9


def _names(parcel: Parcel) -> list[int | str]:
    return [message.seq for message in parcel.messages] or [parcel.topic]


def _name(parcel: Parcel) -> int | str:
    return parcel.messages[0].seq if parcel.messages else parcel.topic


def _forget_first(remembered: dict[int | str, _Suspect] | dict[str, _Bar]) -> None:
    """Make room for one more."""
    while len(remembered) >= _MOST:
        del remembered[next(iter(remembered))]  # type: ignore[arg-type]  # its own key
