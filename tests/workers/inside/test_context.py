"""The context object."""

from __future__ import annotations

import json
import time

import pytest

from edge_runtime.workers.inside.context import LambdaContext, apply_json, common_values
from edge_runtime.workers.inside.faults import Fault

ENVIRONMENT = {
    "AWS_REGION": "eu-west-1",
    "AWS_LAMBDA_FUNCTION_NAME": "f",
    "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
    "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/f",
    "AWS_LAMBDA_LOG_STREAM_NAME": "s",
}


def make(**given: object) -> LambdaContext:
    context = LambdaContext(common_values(ENVIRONMENT), "r-1", 0)
    apply_json(context, json.dumps(given).encode())
    return context


def test_it_has_what_aws_gives() -> None:
    context = make()
    assert {name: value for name, value in vars(context).items() if name not in ("identity", "_deadline_ns")} == {
        "aws_request_id": "r-1",
        "log_group_name": "/aws/lambda/f",
        "log_stream_name": "s",
        "function_name": "f",
        "memory_limit_in_mb": "128",
        "function_version": "$LATEST",
        "invoked_function_arn": "arn:aws:lambda:eu-west-1:000000000000:function:f",
        "tenant_id": None,
        "client_context": None,
    }
    assert (context.identity.cognito_identity_id, context.identity.cognito_identity_pool_id) == (None, None)
    assert "aws_request_id=r-1" in repr(context)
    assert "_deadline_ns" not in repr(context)


def test_one_context_does_not_change_another() -> None:
    common = common_values(ENVIRONMENT)
    first, second = LambdaContext(common, "a", 0), LambdaContext(common, "b", 0)
    first.extra = 1  # type: ignore[attr-defined]  # handlers do such things
    assert (first.aws_request_id, second.aws_request_id, hasattr(second, "extra")) == ("a", "b", False)


def test_the_time_left_is_by_the_monotonic_clock_and_never_negative() -> None:
    soon = LambdaContext(common_values({}), "r", time.monotonic_ns() + 2_000_000_000)
    assert 1500 < soon.get_remaining_time_in_millis() <= 2000
    assert LambdaContext(common_values({}), "r", 1).get_remaining_time_in_millis() == 0


def test_the_client_context_keeps_the_known_keys_only() -> None:
    client = {"installation_id": "i", "app_title": "t", "unknown": 1}
    context = make(client_context={"custom": {"a": 1}, "env": {"b": 2}, "client": client, "other": 3})
    held = context.client_context
    assert held is not None
    assert held.client is not None
    assert (held.custom, held.env) == ({"a": 1}, {"b": 2})
    assert not hasattr(held, "other")
    assert held.client.installation_id == "i"  # type: ignore[attr-defined]  # slots are set by name
    assert held.client.app_version_code is None  # type: ignore[attr-defined]  # as above
    assert repr(held).startswith("ClientContext([custom={'a': 1},env={'b': 2},client=Client([installation_id=i,")


def test_the_subject_joins_the_callers_own_context() -> None:
    held = make(client_context='{"custom": {"a": 1}}', custom={"subject": "t"}).client_context
    assert held is not None
    assert held.custom == {"a": 1, "subject": "t"}
    alone = make(custom={"subject": "t"}).client_context
    assert alone is not None
    assert (alone.custom, alone.env, alone.client) == ({"subject": "t"}, None, None)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"client_context": "{"}, "Unable to parse Client Context JSON: Expecting property name"),
        ({"client_context": "[1]"}, "Unable to parse Client Context JSON: not an object"),
        ({"identity": "x"}, "Unable to parse Cognito Identity JSON: Expecting value"),
    ],
)
def test_a_context_that_cannot_be_read_is_a_fault(given: dict[str, object], text: str) -> None:
    with pytest.raises(Fault) as caught:
        make(**given)
    assert caught.value.kind == "Runtime.LambdaContextUnmarshalError"
    assert str(caught.value).startswith(text)


def test_what_is_not_json_is_said_by_the_content_type() -> None:
    context = LambdaContext(common_values({}), "r", 0)
    assert apply_json(context, b'{"content_type": "text/plain", "trace_id": "T"}') == ("text/plain", "T")
    assert apply_json(context, b"{}") == ("application/json", "")
