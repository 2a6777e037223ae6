"""What is said to the jobs service of AWS IoT and heard from it, over MQTT.

Sources: AWS IoT developer guide, "Jobs device MQTT API operations", and the model of the same API over HTTP
(`iot-jobs-data`), which has the lengths and patterns of `JobId` and `DetailsMap`.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

IN_PROGRESS, SUCCEEDED, FAILED, REJECTED = "IN_PROGRESS", "SUCCEEDED", "FAILED", "REJECTED"
TERMINAL = frozenset({SUCCEEDED, FAILED, REJECTED, "TIMED_OUT", "CANCELED", "REMOVED"})
MOST_DETAILS = 10
MOST_KEY = 128
MOST_VALUE = 1024
"""Characters by the model; counted in bytes here, to be safe."""
MARK = "..."
"""Stands at the end of a value that was too long."""
_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_DEEP = 100
_TOKENS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}]', re.DOTALL)
_MOST_DIGITS = 40


class _Odd:
    """Stands for a number that JSON does not have, or one so long that it is meant to do harm."""


ODD = _Odd()
Details = Mapping[str, str]
NO_DETAILS: Details = {}


class State(NamedTuple):
    """How the cloud says that a job execution stands."""

    status: str
    version: int
    details: Details = NO_DETAILS


@dataclass(frozen=True, slots=True)
class Execution:
    """A job for this thing."""

    id: str
    number: int
    """Tells this execution of the job from other ones of the same job."""
    state: State
    document: object = None
    """As parsed, whatever it is."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of the service, or its notice. What is missing or of a wrong kind is as if left out."""

    token: str = ""
    execution: Execution | None = None
    """None: there is none."""
    state: State | None = None
    code: str = ""
    """Of a refusal."""
    message: str = ""


class Heard(NamedTuple):
    """What a topic says about the message on it."""

    kind: str
    """`notify-next`, `start-next`, `get`, `update`."""
    job: str = ""
    accepted: bool = True


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics of the jobs of a thing. Those of Greengrass's own jobs have a level more, and are none of them."""

    thing: str
    root: str = field(init=False)

    def __post_init__(self) -> None:
        """Put the beginning together."""
        object.__setattr__(self, "root", f"$aws/things/{self.thing}/jobs")

    @property
    def filters(self) -> tuple[str, ...]:
        """What is to be subscribed to."""
        return tuple(f"{self.root}/{end}" for end in ("notify-next", "start-next/+", "+/update/+", "+/get/+"))

    @property
    def updates(self) -> str:
        """The filter of what `update` returns."""
        return f"{self.root}/+/update"

    def start_next(self) -> str:
        """Return where the next job is asked for."""
        return f"{self.root}/start-next"

    def get(self, job: str) -> str:
        """Return where a job is asked for."""
        return f"{self.root}/{job}/get"

    def update(self, job: str) -> str:
        """Return where the status of a job is told."""
        return f"{self.root}/{job}/update"

    def heard(self, topic: str) -> Heard | None:
        """Return what a topic of a message that came says; None when it has nothing to do with these jobs."""
        if not topic.startswith(f"{self.root}/"):
            return None
        match topic.removeprefix(f"{self.root}/").split("/"):
            case ["notify-next"]:
                return Heard("notify-next")
            case ["start-next", "accepted" | "rejected" as end]:
                return Heard("start-next", "", end == "accepted")
            case [job, "get" | "update" as kind, "accepted" | "rejected" as end] if _ID.fullmatch(job):
                return Heard(kind, job, end == "accepted")
            case _:
                return None


def reply(payload: bytes) -> Reply:
    """Return what a message says. Raises: ValueError when it is no JSON object."""
    data = _parse(payload.decode("utf-8"))
    if not isinstance(data, dict):
        raise ValueError("it is no JSON object")  # noqa: TRY004 - whoever reads minds what came, not its type
    found = data.get("execution")
    execution = _execution(found) if isinstance(found, dict) and found else None
    state = data.get("executionState")
    return Reply(
        _text(data, "clientToken"),
        execution,
        _state(state) if isinstance(state, dict) else None,
        _text(data, "code"),
        _text(data, "message"),
    )


def ask(token: str, **more: object) -> bytes:
    """Return a request."""
    return json.dumps({"clientToken": token, **more}, separators=(",", ":")).encode("ascii")


def details(pairs: Mapping[str, str]) -> dict[str, str]:
    """Return what AWS takes as `statusDetails`: the first ten pairs that say something, in characters it allows.

    A control character becomes a space, and what is too long ends with a mark.
    """
    found: dict[str, str] = {}
    for key, value in pairs.items():
        name = re.sub(r"[^a-zA-Z0-9:_-]", "_", key)[:MOST_KEY]
        # Class C: control and format characters, lone surrogates, and code points that mean nothing.
        text = "".join(" " if unicodedata.category(sign)[0] == "C" else sign for sign in value).strip()
        if name and text and len(found) < MOST_DETAILS:
            found[name] = _cut(text)
    return found


def _cut(text: str) -> str:
    data = text.encode()
    if len(data) <= MOST_VALUE:
        return data.decode("utf-8")
    return data[: MOST_VALUE - len(MARK)].decode("utf-8", "ignore") + MARK


def _execution(found: Mapping[str, object]) -> Execution | None:
    job = _text(found, "jobId")
    if not _ID.fullmatch(job):
        return None
    return Execution(job, _int(found, "executionNumber"), _state(found), found.get("jobDocument"))


def _state(found: Mapping[str, object]) -> State:
    pairs = found.get("statusDetails")
    told = {str(k): v for k, v in pairs.items() if isinstance(v, str)} if isinstance(pairs, dict) else {}
    return State(_text(found, "status"), _int(found, "versionNumber"), told)


def _int(found: Mapping[str, object], key: str) -> int:
    value = found.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _text(found: Mapping[str, object], key: str) -> str:
    value = found.get(key)
    return value if isinstance(value, str) else ""


def _parse(text: str) -> object:
    """Parse JSON whose odd parts must not make the rest unreadable: the id of a job stands beside its document."""
    try:
        return json.loads(text, parse_int=_number, parse_constant=lambda _: ODD)
    except RecursionError:
        return json.loads(_pruned(text), parse_int=_number, parse_constant=lambda _: ODD)


def _number(text: str) -> object:
    return int(text) if len(text) <= _MOST_DIGITS else ODD


def _pruned(text: str) -> str:
    """Return a text with what is nested very deep taken away; so much is left that it still counts as too deep."""
    kept: list[str] = []
    depth = begin = 0
    for token in _TOKENS.finditer(text):
        sign = token[0]
        if sign in "[{":
            depth += 1
            if depth == _DEEP + 1:
                kept.append(text[begin : token.start()])
        elif sign in "]}":
            if depth == _DEEP + 1:
                kept.append("null")
                begin = token.end()
            depth -= 1
    return "".join([*kept, text[begin:] if depth <= _DEEP else ""])
