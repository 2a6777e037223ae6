"""The pool without processes."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from edge_runtime.errors import NotFoundError
from edge_runtime.workers.inline import InlinePool
from edge_runtime.workers.inside.context import LambdaContext


def soil(event: object, context: LambdaContext) -> object:
    assert isinstance(event, dict)
    custom = context.client_context.custom if context.client_context else None
    return {"wet": event["value"] > 0.5, "topic": custom, "f": context.function_name, "n": Decimal("1.50")}


async def test_it_answers_as_a_worker_does() -> None:
    pool = InlinePool({"soil": soil}, thing="pi")
    await pool.start()
    topic = {"custom": {"subject": "device/soil"}}
    result = await pool.invoke("soil", b'{"value": 0.7}', request_id="r-1", context=topic)
    assert result.error == ""
    assert result.payload == b'{"wet": true, "topic": {"subject": "device/soil"}, "f": "soil", "n": 1.50}'
    assert result.log.startswith("START RequestId: r-1 Version: $LATEST\nEND RequestId: r-1\nREPORT RequestId: r-1\t")
    await pool.close()


async def test_errors_have_the_same_shape() -> None:
    pool = InlinePool({"soil": soil})
    result = await pool.invoke("soil", b"{}", request_id="r-1")
    fault = json.loads(result.payload)
    assert (result.error, fault["errorMessage"], fault["requestId"]) == ("KeyError", "'value'", "r-1")
    assert "in soil" in fault["stackTrace"][-1]
    bad = await pool.invoke("soil", b"{", request_id="r-2")
    assert bad.error == "Runtime.UnmarshalError"
    (status,) = pool.status()
    assert (status.function, status.invocations, status.errors) == ("soil", 2, 2)
    assert status.last_error.startswith("Runtime.UnmarshalError: Unable to unmarshal input: ")


async def test_bytes_and_the_time_left() -> None:
    pool = InlinePool({"f": lambda event, context: [str(event), context.get_remaining_time_in_millis() > 50_000]})
    raw = {"content_type": "application/octet-stream"}
    result = await pool.invoke("f", b"\xff", request_id="r", context=raw, timeout_s=60.0)
    assert json.loads(result.payload) == ["b'\\xff'", True]


async def test_an_unknown_function_is_not_found() -> None:
    with pytest.raises(NotFoundError, match=r"no function named 'soul'; did you mean 'soil'\?"):
        await InlinePool({"soil": soil}).invoke("soul", b"{}", request_id="r")
