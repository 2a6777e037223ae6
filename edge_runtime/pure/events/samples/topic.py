"""A message on a topic, local or from AWS IoT Core.

A handler gets the payload itself, with nothing around it; the topic is `context.client_context.custom["subject"]`,
which `edge invoke --topic` sets.
"""

from __future__ import annotations

import json
from typing import Any


def topic(*, body: str = '{"value": 1}') -> Any:  # noqa: ANN401 - any JSON
    """Return the payload of a message, which is JSON.

    Raises: ValueError when BODY is no JSON.
    """
    return json.loads(body)
