"""What becomes of an event: why one is given up, and what the function's destinations get."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

from edge_runtime.app import Destination, Function
from edge_runtime.clock import Clock, make_event
from edge_runtime.errors import EdgeError, LimitError
from edge_runtime.model import Event, Message, Result
from edge_runtime.pure.events.destination import EXHAUSTED, SUCCESS, TOO_OLD, Outcome, invocation_record
from edge_runtime.pure.permissions import MOST_DEEP, caused, check_publish, depth
from edge_runtime.store.jobs import Entry
from edge_runtime.workers import _report as report
from edge_runtime.workers._retries import ERROR

_log = logging.getLogger(__name__)
_MOST_REASON = 1024
"""AWS Lambda, dead-letter queues: `ErrorMessage` has the first 1 KB."""
_LOOP = "RecursiveInvocationException"
"""What the Invoke API of AWS says of a loop of functions."""
_UNREADABLE = "Runtime.UnmarshalError"
_FOR_EVER_S = 1e9
_A_LITTLE_S = 0.001


class Failure(NamedTuple):
    """Why an event failed."""

    reason: str
    """`type: message`, as it stands in the dead letter."""
    response: bytes
    """The error object, or what else the function answered."""
    condition: str = EXHAUSTED
    status: int = 200
    fault: bool = True
    """The handler itself failed."""
    ran: bool = True
    """It counts as a try."""
    hopeless: bool = False
    """It lies in the event: another try would end as this one did."""


def of_result(result: Result) -> Failure:
    """Return what a result with an error says."""
    # The error object may be the handler's own and hold anything.
    try:
        reason = f"{result.error}: {json.loads(result.payload)['errorMessage']}"[:_MOST_REASON]
    except (ValueError, LookupError, TypeError, RecursionError):
        reason = result.error
    return Failure(reason, result.payload, hopeless=result.error in {_UNREADABLE, report.TOO_LARGE})


def reported(reply: bytes) -> Failure:
    """Return why a message of a batch failed that the handler itself reports, in a reply without an error."""
    return Failure("BatchItemFailure: the handler named it in batchItemFailures", reply, fault=False)


def not_emitted(error: EdgeError, reply: bytes) -> Failure:
    """Return why an event is given up whose handler returned what can never be emitted."""
    return Failure(f"its reply cannot be emitted: {error}", reply, fault=False, hopeless=True)


def too_large(size: int, most: int) -> Failure:
    """Return why an event is given up whose payload is larger than its function takes."""
    return _unseen(report.TOO_LARGE, f"the payload has {size} bytes; the function takes {most}", 413)


def hopeless(function: Function, message: Message, now_ns: int) -> Failure | None:
    """Return why a message shall not be run at all; `now_ns` is the store's running time."""
    event = message.event
    if function.max_age_s and now_ns - message.age_ns > function.max_age_s * 1e9:
        return _too_old(message, function.max_age_s)
    if len(event.payload) > function.payload_bytes:
        return too_large(len(event.payload), function.payload_bytes)
    if event.headers and (found := depth(event.headers)) > MOST_DEEP:
        return _unseen(_LOOP, f"{found} functions have set each other off in a row; {MOST_DEEP} may", 400)
    if function.batch is not None and not _is_text(event.payload):
        return _unseen(_UNREADABLE, "the payload is not UTF-8, and a batch is made of texts", 400)
    return None


def life_left_s(function: Function, message: Message, now_ns: int) -> float:
    """Return how long it is until a message is too old, and never nothing; `now_ns` is the store's running time."""
    if not function.max_age_s:
        return _FOR_EVER_S
    return max(function.max_age_s - (now_ns - message.age_ns) / 1e9, 0.0) + _A_LITTLE_S


def _too_old(message: Message, most_s: float) -> Failure:
    last = message.event.headers.get(ERROR, "")
    if not last:
        return _unseen(TOO_OLD, f"the event is older than {most_s:g} s and was never run", 429, condition=TOO_OLD)
    kind, _, text = last.partition(": ")
    reason = f"{TOO_OLD}: the event is older than {most_s:g} s; last error: {last}"
    return Failure(reason, report.failure(kind, text), TOO_OLD, ran=False, hopeless=True)


def _unseen(kind: str, text: str, status: int, *, condition: str = EXHAUSTED) -> Failure:
    """Return why an event is given up that no handler saw."""
    reason, response = f"{kind}: {text}", report.failure(kind, text)
    return Failure(reason, response, condition, status, fault=False, ran=False, hopeless=True)


def _is_text(payload: bytes) -> bool:
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True


class Destinations:
    """Makes what the destinations of one function get."""

    def __init__(self, function: Function, clock: Clock, route: Callable[[Event], Entry]) -> None:
        self._function = function
        self._clock = clock
        self._route = route

    def success(self, messages: Sequence[Message], request_id: str, request: bytes, reply: bytes) -> list[Entry]:
        """Return what goes to the success destination for the reply to these messages.

        Raises: EdgeError when it can never be emitted.
        """
        wanted = self._function.on_success
        if wanted is None or not (wanted.record or (reply and reply != b"null")):
            return []
        cause = max(messages, key=lambda message: depth(message.event.headers))
        if not wanted.record:
            return [self._entry(wanted, reply, cause)]
        outcome = Outcome(SUCCESS, min(message.tries for message in messages) + 1)
        return [self._record(wanted, request_id, cause, (request, reply or None), outcome)]

    def failure(self, letter: Message, failure: Failure) -> list[Entry]:
        """Return what goes to the failure destination for an event that was given up: nothing if it cannot be."""
        wanted, event = self._function.on_failure, letter.event
        if wanted is None or depth(event.headers) > MOST_DEEP + 1:
            return []  # that of a record of a loop, of which there is one already
        outcome = Outcome(failure.condition, letter.tries, failure.status, failure.fault)
        try:
            if not wanted.record:
                return [self._entry(wanted, failure.response, letter)]
            return [self._record(wanted, event.id, letter, (event.payload, failure.response), outcome)]
        except EdgeError as error:
            _log.warning("a failure record of function %r cannot be emitted: %s", self._function.name, error)
        return []

    def _record(
        self, wanted: Destination, request_id: str, cause: Message, bodies: tuple[bytes, bytes | None], outcome: Outcome
    ) -> Entry:
        """Return the record, without the payloads when it is too large for its target with them."""
        name, now_ns = self._function.name, self._clock.now().wall_ns
        try:
            record = invocation_record(name, request_id, *bodies, outcome=outcome, wall_ns=now_ns)
            return self._entry(wanted, record, cause)
        except LimitError:
            record = invocation_record(name, request_id, None, None, outcome=outcome, wall_ns=now_ns)
            return self._entry(wanted, record, cause)

    def _entry(self, wanted: Destination, payload: bytes, cause: Message) -> Entry:
        check_publish(self._function, wanted.topic)
        headers = caused(cause.event.id, cause.event.headers)
        return self._route(make_event(self._clock, wanted.topic, payload, f"function/{self._function.name}", headers))
