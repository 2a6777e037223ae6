"""What mosquitto is told: its configuration, who its users are and what each may do, as texts made from data.

Source of the keys: mosquitto.conf(5) and mosquitto_passwd(1) of mosquitto 2.0.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from edge_runtime.app import LocalBroker
from edge_runtime.errors import ConfigError, LimitError
from edge_runtime.pure import topics

NAME: Final = "local"
"""The name of the trigger that emits what devices publish; its events are of the source `mqtt/local`."""
TARGET: Final = "broker"
"""The target of what goes out to devices."""
READER, WRITER = "host.in", "host.out"
"""The users of the host itself. No device can have such a name."""
LEAST_VERSION: Final = (2, 0, 0)
"""Before it there was no `$7$`, and a listener took what did not need a password."""

_HASH_ROUNDS = 101
"""mosquitto's own. Passwords here are random, 115 bits, so that a slower hash would only make each connection slow."""
_SALT_BYTES, _HASH_BYTES = 12, 64
_HEADER_BYTES = 4096
"""What a packet has beside its payload: topic and properties."""
_AUTOSAVE_S = 300
_MOST_QUEUED_BYTES = 16 << 20
_DEVICE = re.compile(r"[A-Za-z0-9_-]{1,64}")
_VERSION = re.compile(r"mosquitto version (\d+)\.(\d+)\.(\d+)")

KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    "esphome": ("{name}/#", "homeassistant/+/{name}/#"),
    "tasmota": ("cmnd/{name}/#", "stat/{name}/#", "tele/{name}/#", "tasmota/discovery/#"),
    "zigbee2mqtt": ("zigbee2mqtt/#", "homeassistant/#"),
}
"""The topics that firmware uses as it comes, by its name; `{name}` is the device's."""


class Access(NamedTuple):
    """What a user may do. Everything else is denied."""

    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    both: tuple[str, ...] = ()


def check_device(name: str) -> None:
    """Return if a device may have that name. Raises: ConfigError."""
    if not _DEVICE.fullmatch(name):
        raise ConfigError(f"{name!r} is no name of a device; allowed: 1 to 64 letters, digits, - and _")


def topics_of(name: str, kind: str = "", given: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the filters of the topics that device `name` may read and write.

    Those given, or those of its kind of firmware (a key of `KINDS`), or all below its name.

    Raises: ConfigError for a filter that cannot be granted.
    """
    filters = tuple(given) or tuple(text.replace("{name}", name) for text in KINDS.get(kind, ("{name}/#",)))
    for one in filters:
        check_grant(one)
    return tuple(dict.fromkeys(filters))


def check_grant(topic_filter: str) -> None:
    """Return if a filter may stand in the access list. Raises: ConfigError."""
    try:
        topics.check_filter(topic_filter)
    except LimitError as error:
        raise ConfigError(str(error)) from error
    if topic_filter != topic_filter.strip() or not topic_filter.isprintable():
        raise ConfigError(f"topic filter {topic_filter!r} begins or ends with a space, or has a sign that is no text")
    if topic_filter.startswith("$"):
        raise ConfigError(f"topic filter {topic_filter!r}: topics that begin with $ are the broker's own")


def hashed(password: str, salt: bytes) -> str:
    """Return what mosquitto keeps of a password: PBKDF2 with HMAC-SHA512. `salt` are 12 random bytes.

    Raises: ValueError for a salt of another length.
    """
    if len(salt) != _SALT_BYTES:
        raise ValueError(f"a salt has {_SALT_BYTES} bytes, not {len(salt)}")
    derived = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, _HASH_ROUNDS, _HASH_BYTES)
    return f"$7${_HASH_ROUNDS}${base64.b64encode(salt).decode()}${base64.b64encode(derived).decode()}"


def passwords(hashes: Mapping[str, str]) -> str:
    """Return the password file for users and their `hashed` passwords."""
    return "".join(f"{user}:{text}\n" for user, text in hashes.items())


def access(users: Mapping[str, Access]) -> str:
    """Return the access list. Who is not in it may do nothing."""
    return "\n".join(f"user {user}\n{''.join(_grants(one))}" for user, one in users.items())


def _grants(one: Access) -> Iterable[str]:
    for right, filters in (("read", one.read), ("write", one.write), ("readwrite", one.both)):
        for topic_filter in filters:
            yield f"topic {right} {topic_filter}\n"


def users(spec: LocalBroker, devices: Mapping[str, Sequence[str]]) -> dict[str, Access]:
    """Return what everybody may do: the host what it is declared to, and devices their own topics, by their names."""
    host = {READER: Access(read=spec.topics)}
    if spec.publish:
        host[WRITER] = Access(write=spec.publish)
    return {**host, **{name: Access(both=tuple(filters)) for name, filters in devices.items()}}


def configuration(spec: LocalBroker) -> str:
    """Return `mosquitto.conf`. All its files lie in the folder in which mosquitto is started."""
    told = any(one.startswith("$SYS/") for one in spec.topics)
    lines = [
        "# Written by edge at each start: change edge.yaml instead.",
        "allow_anonymous false",
        "password_file passwd",
        "acl_file acl",
        *_listener(spec.port, spec.address, tls=True),
        *(_listener(spec.plain_port, spec.address, tls=False) if spec.plain_port else ()),
        "persistence true",
        "persistence_location ./",
        "persistence_file mosquitto.db",
        f"autosave_interval {_AUTOSAVE_S}",
        "persistent_client_expiration 14d",
        # Many boards can publish with QoS 0 only; while the host is not connected, theirs wait as well.
        "queue_qos0_messages true",
        # By default it drops what comes after the thousandth message, and has acknowledged it.
        "max_queued_messages 0",
        f"max_queued_bytes {_MOST_QUEUED_BYTES}",
        "max_inflight_messages 100",
        # Not message_size_limit: that acknowledges what it throws away.
        f"max_packet_size {spec.payload_bytes + _HEADER_BYTES}",
        "set_tcp_nodelay true",
        f"sys_interval {10 if told else 0}",
        "connection_messages true",
        "log_dest stderr",
        "log_timestamp false",
        *(f"log_type {kind}" for kind in ("error", "warning", "notice", "information")),
    ]
    return "\n".join(lines) + "\n"


def _listener(port: int, address: str, *, tls: bool) -> list[str]:
    # A client that could take any id would end another one's session, and what waits in it.
    lines = [f"listener {port} {address}", "use_username_as_clientid true"]
    return [*lines, "certfile server.pem", "keyfile server.key", "tls_version tlsv1.2"] if tls else lines


def version(text: str) -> tuple[int, int, int]:
    """Return the version in the first words of `mosquitto -h`.

    Raises: ConfigError when it is none, or one that is too old.
    """
    found = _VERSION.search(text)
    if found is None:
        raise ConfigError(
            f"what `mosquitto -h` says names no version: {text[:80]!r}", hint="sudo apt install mosquitto"
        )
    number = (int(found[1]), int(found[2]), int(found[3]))
    if number < LEAST_VERSION:
        raise ConfigError(
            f"mosquitto {'.'.join(found.groups())} is too old; 2.0 is the first that will do",
            hint="sudo apt install mosquitto, of Debian 11 or newer",
        )
    return number


def is_ready(line: str) -> bool:
    """Tell whether a line of mosquitto's log says that it listens."""
    return line.startswith("mosquitto version ") and line.endswith(" running")


def has_joined(line: str, user: str) -> bool:
    """Tell whether a line of mosquitto's log says that a user has connected."""
    return line.startswith("New client connected from ") and f" as {user} (" in line


def is_serious(line: str) -> bool:
    """Tell whether somebody should read a line of mosquitto's log."""
    return line.startswith(("Error", "Warning")) or line.endswith(("not authorised.", "oversize packet."))


def why_ended(lines: Sequence[str], spec: LocalBroker, folder: str) -> tuple[str, str]:
    """Return why mosquitto did not start, and what mends it, by the last lines of its log."""
    text = "\n".join(lines)
    ports = " or ".join(str(port) for port in (spec.port, spec.plain_port) if port)
    if "Address already in use" in text:
        fix = f"see who has it: sudo ss -ltnp; or choose another: broker: {{port: {spec.port + 1}}}"
        return f"port {ports} of {spec.address} is taken by another program", fix
    if "Cannot assign requested address" in text:
        return f"no interface of this machine has the address {spec.address}", "see those there are: ip -brief address"
    if "Permission denied" in text and spec.port < 1024:  # noqa: PLR2004 - ports below are root's
        return f"port {ports} may be used by root only", "choose one from 1024 on: broker: {port: 8883}"
    if "server certificate" in text or "server key" in text:
        return "mosquitto cannot use its certificate", f"have a new one made: rm {folder}/server.pem"
    errors = [line for line in lines if line.startswith("Error")] or list(lines[-1:]) or ["it said nothing"]
    return f"mosquitto does not start: {errors[-1]}", "see what it is told: edge broker config"
