"""AWS IoT Core through the nucleus of Greengrass v2, for a host that runs as its component: no certificate needed.

    link:
      driver: greengrass

The nucleus takes a publish before the cloud has it: a lite nucleus that loses its network forgets up to ten, a classic
one keeps them in memory. So a publish counts as acknowledged only when the cloud has answered, in one of two ways.

*Echo*, the default: the link subscribes to what it publishes, and a publish is done when it has come back. `echo`
names the filters; without it each topic is subscribed to when it is first used (AWS allows 50). It costs each message
a second time, and the lite nucleus receives no more than 5,000 bytes: topic and payload may have 4,900. Messages alike
in topic and payload are told apart by count alone: put a time or a number into them.

*Digest*: a rule in the cloud answers on `confirm_topic`, and then payloads may have 7,000 bytes on the lite nucleus:

    SELECT topic() AS topic, sha256(encode(*, 'base64')) AS sha256 FROM 'edge/garden/up/#'

with the action Republish to that topic.

`accessControl` of the component must allow aws.greengrass#PublishToIoTCore on what goes up, and
aws.greengrass#SubscribeToIoTCore on what comes down and on what is echoed or the confirm topic; the policy of the
device must allow iot:Publish, iot:Subscribe and iot:Receive on the same. With `pack`, keep what is packed within these
limits: a publish that is too large is refused with all that is in it. User properties pass through the
classic nucleus (2.10 or newer) and not through the lite one; with `pack` the ids are in the payload. What comes down is
acknowledged by the nucleus before it is stored here.

Where this user may read the device's certificate and key, `awscrt` or `paho` with a `client_id` other than the
thing's name do better: their acknowledgements are the broker's own, and the limits are those of AWS IoT Core.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.errors import ConfigError, LimitError, LinkError
from edge_runtime.links._greengrass import Connection as GreengrassConnection
from edge_runtime.links._greengrass import Limits, Ways
from edge_runtime.links._ipc import Ipc, dial
from edge_runtime.links._line import Line
from edge_runtime.links._link import Connection, OneAtATime
from edge_runtime.pure import quotas
from edge_runtime.pure.topics import check_filter, check_topic

SOCKET = "AWS_GG_NUCLEUS_DOMAIN_SOCKET_FILEPATH_FOR_COMPONENT"
TOKEN = "SVCUID"  # noqa: S105 - the name of a variable
_LIMITS = {
    "lite": Limits(frame=10_000, payload=7_000, echo=4_900, publishes=10, volume=15_000, properties=False),
    "classic": Limits(
        frame=1024 * 1024,
        payload=quotas.PAYLOAD_BYTES,
        echo=quotas.PAYLOAD_BYTES + quotas.TOPIC_BYTES,
        publishes=50,
        volume=1024 * 1024,
        properties=True,
    ),
}


@dataclass(kw_only=True, eq=False)
class GreengrassLink(OneAtATime):
    """A connection through the nucleus, by its IPC. Every field may be left out."""

    nucleus: str = "lite"
    """`lite` or `classic`: whose limits hold. Those of `lite` do for both."""
    socket: str | Path = ""
    """The socket of the IPC. Left out: what the nucleus says in the environment."""
    component: str = ""
    """The component's name: with it a lite nucleus knows us without the token, which a restart of it makes void."""
    echo: Sequence[str] = ()
    """Filters that cover what is published, so that it comes back."""
    confirm_topic: str = ""
    """Where a rule in the cloud confirms by digest; then nothing is echoed."""
    confirm_timeout_s: float = 20.0
    """A publish that is not confirmed by then is sent again."""
    retry_s: float = 1.0
    """How long a busy nucleus is asked again, after 10 ms at first, before it counts as offline."""
    connect_timeout_s: float = 30.0
    """One attempt, from the socket to the last subscription, may take this long."""

    def __post_init__(self) -> None:
        """Check the settings. Raises: ConfigError naming the field."""
        if self.nucleus not in _LIMITS:
            raise ConfigError(f"link: nucleus is {self.nucleus!r}; known are {' and '.join(_LIMITS)}")
        for name, least, most in (
            ("confirm_timeout_s", 0.1, 50),  # the uplink gives a connection up after 60 s
            ("retry_s", 0, 30),
            ("connect_timeout_s", 0.1, 600),
        ):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
                raise ConfigError(f"link: {name} is {value!r}; it must be a number from {least} to {most}")
        if isinstance(self.echo, str):
            raise ConfigError(f"link: echo is {self.echo!r}; it must be a list of topic filters")
        if self.echo and self.confirm_topic:
            raise ConfigError("link: echo and confirm_topic are both given", hint="one way of confirming is enough")
        try:
            for topic_filter in self.echo:
                check_filter(topic_filter)
            if self.confirm_topic:
                check_topic(self.confirm_topic)
        except LimitError as error:
            raise ConfigError(f"link: {'echo' if self.echo else 'confirm_topic'}: {error}") from error
        self._prepare("greengrass", "the nucleus", self.connect_timeout_s)

    def most_bytes(self, topic: str) -> int:
        """Return the most bytes of payload that the nucleus takes, and that can come back where an echo confirms."""
        limits = _LIMITS[self.nucleus]
        return limits.payload if self.confirm_topic else min(limits.payload, limits.echo - len(topic.encode()))

    async def _make(self, line: Line) -> Connection:
        ways = Ways(self.echo, self.confirm_topic, self.confirm_timeout_s, self.retry_s)
        return GreengrassConnection(line, _LIMITS[self.nucleus], ways, self._dial, "the nucleus")

    async def _dial(self) -> Ipc:
        return await dial_nucleus(self.socket, self.component, most_frame=_LIMITS[self.nucleus].frame)


async def dial_nucleus(socket: str | Path = "", component: str = "", *, most_frame: int = _LIMITS["lite"].frame) -> Ipc:
    """Connect as the environment says now: a nucleus that has restarted wants another token.

    Raises: LinkError, UnknownComponentError when the token is void and no `component` is named.
    """
    path = socket or os.environ.get(SOCKET, "")
    if not path:
        raise LinkError(
            f"this is no Greengrass component: {SOCKET} is not in the environment",
            hint="deploy the host as a component, or take the driver awscrt or paho",
        )
    token = os.environ.get(TOKEN, "")
    if token:
        try:
            return await dial(path, {"authToken": token}, most_frame=most_frame)
        except LinkError:
            if not component:
                raise
    if not component:
        raise LinkError(
            f"this is no Greengrass component: {TOKEN} is not in the environment",
            hint="deploy the host as a component; a lite nucleus also knows one that it runs by `component`",
        )
    return await dial(path, {"componentName": component}, most_frame=most_frame)


LINK = GreengrassLink
