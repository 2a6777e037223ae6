"""What all tests of samples need."""

from __future__ import annotations

import json
from typing import Any


def read(event: Any) -> Any:  # noqa: ANN401 - any JSON
    """Return an event as a handler gets it: through JSON, which must lose nothing of it."""
    again = json.loads(json.dumps(event, allow_nan=False))
    assert again == event
    return again
