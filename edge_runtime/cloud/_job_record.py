"""What is kept of a job over a restart: one at a time, as a memo of the store."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from edge_runtime.errors import StoreError
from edge_runtime.pure.job_messages import Execution


@dataclass(slots=True)
class Record:
    """A job, from the moment it was taken up until its end is known to the cloud; the last one stays as it was."""

    id: str
    number: int
    document: str
    """The job document, as JSON."""
    step: str = ""
    """What was begun last."""
    kept: dict[str, str] = field(default_factory=dict)
    """What the operation must know to go on at that step."""
    begun: int = 0
    """How often work on it was begun: more than once after a restart of the host."""
    status: str = ""
    """Its end, `SUCCEEDED`, `FAILED` or `REJECTED`; empty while it is worked on."""
    details: dict[str, str] = field(default_factory=dict)
    """The status details that go with its end."""
    open: bool = True
    """Whether the cloud may not know the end yet."""

    @property
    def working(self) -> bool:
        """Whether there is something left to do."""
        return self.open and not self.status

    @property
    def telling(self) -> bool:
        """Whether it has ended, and the cloud has not said that it knows."""
        return self.open and bool(self.status)

    def same(self, execution: Execution) -> bool:
        """Tell whether this is the very execution of the very job."""
        return (self.id, self.number) == (execution.id, execution.number)

    def to_text(self) -> str:
        """Return what `from_text` reads."""
        return json.dumps(asdict(self), separators=(",", ":"))


_KINDS: Mapping[str, type] = {
    "id": str,
    "number": int,
    "document": str,
    "step": str,
    "kept": dict,
    "begun": int,
    "status": str,
    "details": dict,
    "open": bool,
}


def from_text(text: str) -> Record:
    """Return the record that was written. Raises: StoreError when it was written in a way that is not known here."""
    try:
        data = json.loads(text)
    except ValueError:
        data = None
    if not isinstance(data, dict) or {key: type(value) for key, value in data.items()} != _KINDS:
        raise StoreError(f"the job in hand was stored in a way that is not known here: {text:.60}")
    return Record(**data)
