"""The jobs service of AWS IoT in a few lines, by the rules of its developer guide, with faults on request."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

ROOT = "$aws/things/pi-7/jobs"
OVER = {"SUCCEEDED", "FAILED", "REJECTED", "CANCELED", "TIMED_OUT", "REMOVED"}
Sent = tuple[str, bytes]


@dataclass
class Execution:
    """A job for the thing."""

    id: str
    document: object
    number: int = 1
    status: str = "QUEUED"
    details: dict[str, str] = field(default_factory=dict)
    version: int = 1
    minutes: list[int] = field(default_factory=list)
    """The step timeouts that the device has set."""
    history: list[tuple[str, str]] = field(default_factory=list)
    """Each status that was accepted, with its step."""

    def state(self) -> dict[str, Any]:
        """Return the `executionState`."""
        return {"status": self.status, "statusDetails": self.details, "versionNumber": self.version}

    def whole(self) -> dict[str, Any]:
        """Return the `execution`."""
        return {
            "jobId": self.id,
            "thingName": "pi-7",
            **self.state(),
            "executionNumber": self.number,
            "queuedAt": 1_700_000_000,
            "jobDocument": self.document,
        }


class JobCloud:
    """Takes requests, returns answers."""

    def __init__(self) -> None:
        self.jobs: dict[str, Execution] = {}
        self.refuse: list[str] = []
        """Error codes of the next requests."""
        self.asked: list[str] = []
        """The ends of the topics of all requests."""
        self.updates: list[dict[str, Any]] = []
        self.rejections: list[str] = []

    def create(self, job: str, document: object, **more: Any) -> list[Sent]:  # noqa: ANN401 - fields of Execution
        """Add a job, or execute it anew; return what the service tells."""
        before = self.jobs.pop(job, None)
        number = before.number + 1 if before else 1
        self.jobs[job] = Execution(job, document, number, **more)
        return self.notify()

    def set(self, job: str, status: str) -> list[Sent]:
        """Change a status from the cloud's side."""
        one = self.jobs[job]
        one.status, one.version = status, one.version + 1
        return self.notify()

    def notify(self) -> list[Sent]:
        """Return a notice of the next job."""
        found = self._next()
        return [self._sent("notify-next", {"timestamp": 1, **({"execution": found.whole()} if found else {})})]

    def handle(self, topic: str, payload: bytes) -> list[Sent]:
        """Answer a request."""
        end = topic.removeprefix(f"{ROOT}/")
        data = json.loads(payload)
        self.asked.append(end)
        assert len(payload) < 128 * 1024
        token = {"clientToken": data["clientToken"]}
        if self.refuse:
            return [self._refusal(end, token, self.refuse.pop(0))]
        match end.split("/"):
            case ["start-next"]:
                return self._start(token)
            case [job, "update"]:
                return self._update(job, data, token)
            case [job, "get"]:
                return self._get(job, data, token)
            case _:
                return [self._refusal(end, token, "InvalidTopic")]

    def _next(self) -> Execution | None:
        alive = [one for one in self.jobs.values() if one.status not in OVER]
        return next((one for one in alive if one.status == "IN_PROGRESS"), alive[0] if alive else None)

    def _start(self, token: Mapping[str, str]) -> list[Sent]:
        found = self._next()
        if found is None:
            return [self._sent("start-next/accepted", {**token, "timestamp": 1})]
        if found.status == "QUEUED":
            found.status, found.version = "IN_PROGRESS", found.version + 1
        return [self._sent("start-next/accepted", {**token, "execution": found.whole(), "timestamp": 1})]

    def _get(self, job: str, data: Mapping[str, Any], token: Mapping[str, str]) -> list[Sent]:
        found = self.jobs.get(job)
        if found is None or data["executionNumber"] != found.number:
            return [self._refusal(f"{job}/get", token, "ResourceNotFound")]
        if found.status in OVER:
            return [self._refusal(f"{job}/get", token, "TerminalStateReached")]
        assert data["includeJobDocument"] is True
        return [self._sent(f"{job}/get/accepted", {**token, "execution": found.whole(), "timestamp": 1})]

    def _update(self, job: str, data: Mapping[str, Any], token: Mapping[str, str]) -> list[Sent]:
        self.updates.append(dict(data))
        end, found = f"{job}/update", self.jobs.get(job)
        if found is None or data["executionNumber"] != found.number:
            return [self._refusal(end, token, "ResourceNotFound")]
        state = {"executionState": found.state()}
        if not _details_are_right(data["statusDetails"]) or data["status"] not in _SET:
            return [self._refusal(end, token, "InvalidRequest")]
        if found.status in OVER:
            return [self._refusal(end, {**token, **state}, "InvalidStateTransition")]
        if data.get("expectedVersion", found.version) != found.version:
            return [self._refusal(end, {**token, **state}, "VersionMismatch")]
        found.status, found.details = data["status"], data["statusDetails"]
        found.version += 1
        found.history.append((found.status, found.details.get("step", "")))
        if "stepTimeoutInMinutes" in data:
            found.minutes.append(data["stepTimeoutInMinutes"])
        answer = {**token, "timestamp": 1, "executionState": found.state()}
        return [self._sent(f"{end}/accepted", answer), *(self.notify() if found.status in OVER else [])]

    def _refusal(self, end: str, more: Mapping[str, Any], code: str) -> Sent:
        self.rejections.append(code)
        return self._sent(f"{end}/rejected", {**more, "code": code, "message": "no", "timestamp": 1})

    @staticmethod
    def _sent(end: str, data: object) -> Sent:
        return f"{ROOT}/{end}", json.dumps(data).encode()


_SET = {"IN_PROGRESS", "SUCCEEDED", "FAILED", "REJECTED"}


def _details_are_right(details: Mapping[str, str]) -> bool:
    """By the model of `iot-jobs-data`."""
    return len(details) <= 10 and all(
        re.fullmatch("[a-zA-Z0-9:_-]{1,128}", key) and 1 <= len(value) <= 1024 and value.isprintable()
        for key, value in details.items()
    )
