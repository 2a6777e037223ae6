"""The Invoke API, asked by boto3 and by hand."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from edge_runtime.endpoints import Who
from edge_runtime.endpoints._names import parse
from edge_runtime.errors import DeniedError, EdgeError, HostError, LimitError, QueueFullError, StoreError
from edge_runtime.model import Result
from tests.endpoints.serving import NARROW, NARROW_TOKEN, TOKEN, endpoint

pytest.importorskip("boto3")

INVOKE = "/2015-03-31/functions/echo/invocations"
ARN = "arn:aws:lambda:local:000000000000:function:echo"


def reply(client: Any, **request: Any) -> dict[str, Any]:  # noqa: ANN401 - boto3's
    answer = client.invoke(FunctionName=request.pop("FunctionName", "echo"), **request)
    return {**answer, "Payload": answer["Payload"].read()}


def code(client: Any, **request: Any) -> str:  # noqa: ANN401 - boto3's
    with pytest.raises(client.exceptions.ClientError) as caught:
        reply(client, **request)
    error: str = caught.value.response["Error"]["Code"]
    return error


async def test_a_synchronous_invocation() -> None:
    async with endpoint() as it:
        context = base64.b64encode(b'{"custom": {"k": 1}}').decode()
        got = await it.boto("lambda", lambda c: reply(c, Payload=b"[1]", LogType="Tail", ClientContext=context))
    assert (got["StatusCode"], got["Payload"], got["ExecutedVersion"]) == (200, b'{"ok": true}', "$LATEST")
    assert base64.b64decode(got["LogResult"]) == b"START\nEND\n"
    assert "FunctionError" not in got
    assert got["ResponseMetadata"]["RequestId"] == "id-of-the-call"
    told = {"invoked_function_arn": ARN, "client_context": '{"custom": {"k": 1}}'}
    assert it.backend.asked == [("call", Who(), "echo", b"[1]", told)]


async def test_an_error_of_the_function_is_an_answer() -> None:
    async with endpoint() as it:
        it.backend.result = Result(b'{"errorType": "ValueError"}', "ValueError", "x" * 5000)
        got = await it.boto("lambda", lambda c: reply(c, LogType="Tail"))
    assert (got["StatusCode"], got["FunctionError"], got["Payload"]) == (
        200,
        "Unhandled",
        b'{"errorType": "ValueError"}',
    )
    assert len(base64.b64decode(got["LogResult"])) == 4096


async def test_no_payload_is_an_empty_object_and_the_log_only_comes_when_asked_for() -> None:
    async with endpoint() as it:
        got = await it.boto("lambda", reply)
    assert "LogResult" not in got
    assert it.backend.asked[0][3] == b"{}"


async def test_an_asynchronous_invocation_is_accepted() -> None:
    async with endpoint() as it:
        context = base64.b64encode(b"{}").decode()
        got = await it.boto("lambda", lambda c: reply(c, InvocationType="Event", Payload=b"1", ClientContext=context))
    assert (got["StatusCode"], got["Payload"]) == (202, b"")
    assert got["ResponseMetadata"]["RequestId"] == "id-of-the-event"
    assert it.backend.asked == [("begin", Who(), "echo", b"1", "{}")]


async def test_a_dry_run_does_nothing() -> None:
    async with endpoint() as it:
        got = await it.boto("lambda", lambda c: reply(c, InvocationType="DryRun"))
    assert got["StatusCode"] == 204
    assert it.backend.asked == []


@pytest.mark.parametrize(
    ("name", "qualifier"),
    [("echo", None), ("echo:prod", None), (ARN, None), (f"{ARN}:3", "3"), ("000000000000:function:echo", "$LATEST")],
)
async def test_every_name_that_aws_knows_a_function_by(name: str, qualifier: str | None) -> None:
    more = {"Qualifier": qualifier} if qualifier else {}
    async with endpoint() as it:
        await it.boto("lambda", lambda c: reply(c, FunctionName=name, **more))
    assert it.backend.asked[0][2] == "echo"


def test_names() -> None:
    assert parse("000000000000:echo", None) == "echo"
    assert parse("function:echo:$LATEST", "$LATEST") == "echo"
    for name, qualifier in (("a/b", None), ("", None), ("a" * 300, None), ("echo", "no way"), ("echo:1", "2")):
        with pytest.raises(ValueError, match=r"is no |does not match"):
            parse(name, qualifier)


async def test_bytes_reach_a_function_that_takes_bytes_and_no_other() -> None:
    async with endpoint() as it:
        await it.boto("lambda", lambda c: reply(c, FunctionName="raw", Payload=b"\xff"))
        assert it.backend.asked[0][2:4] == ("raw", b"\xff")
        assert await it.boto("lambda", lambda c: code(c, Payload=b"\xff")) == "InvalidRequestContentException"
        deep = b"[" * 200_000
        assert await it.boto("lambda", lambda c: code(c, Payload=deep)) == "InvalidRequestContentException"
        big = b'"' + b"x" * 400_000
        assert await it.boto("lambda", lambda c: code(c, Payload=big)) == "InvalidRequestContentException"
    assert len(it.backend.asked) == 1


async def test_an_unknown_function() -> None:
    async with endpoint() as it:
        status, headers, body = await it.http("POST", INVOKE.replace("echo", "nobody"))
    assert (status, headers["x-amzn-errortype"]) == (404, "ResourceNotFoundException")
    assert json.loads(body)["Message"] == f"Function not found: {ARN.replace('echo', 'nobody')}"


async def test_what_is_too_large_is_refused() -> None:
    async with endpoint() as it:
        payload = b'"' + b"x" * 6_291_555 + b'"'
        assert await it.boto("lambda", lambda c: code(c, Payload=payload)) == "RequestTooLargeException"
        await it.boto("lambda", lambda c: reply(c, Payload=b'"' + b"x" * 6_291_554 + b'"'))
    assert len(it.backend.asked) == 1


async def test_a_context_that_is_none_is_refused() -> None:
    async with endpoint() as it:
        for context in ("%%%", base64.b64encode(b"[1]").decode(), base64.b64encode(b"{").decode(), "a" * 3584):
            status, headers, _ = await it.http("POST", INVOKE, b"{}", {"x-amz-client-context": context})
            assert (status, headers["x-amzn-errortype"]) == (400, "InvalidRequestContentException")


@pytest.mark.parametrize("header", ["x-amz-invocation-type", "x-amz-log-type"])
async def test_a_type_that_does_not_exist_is_refused(header: str) -> None:
    async with endpoint() as it:
        status, headers, _ = await it.http("POST", INVOKE, b"{}", {header: "Often"})
    assert (status, headers["x-amzn-errortype"]) == (400, "InvalidParameterValueException")


@pytest.mark.parametrize(
    ("error", "kind", "status", "name"),
    [
        (DeniedError("no"), "RequestResponse", 403, "AccessDeniedException"),
        (LimitError("deep"), "RequestResponse", 400, "RecursiveInvocationException"),
        (LimitError("large"), "Event", 413, "RequestTooLargeException"),
        (QueueFullError("full"), "Event", 429, "TooManyRequestsException"),
        (StoreError("disk"), "Event", 503, "ServiceUnavailableException"),
        (HostError("closing", hint="later"), "RequestResponse", 503, "ServiceUnavailableException"),
        (RuntimeError("a mistake"), "Event", 500, "InternalFailureException"),
    ],
)
async def test_errors_of_the_host_have_the_names_of_aws(
    error: EdgeError | RuntimeError, kind: str, status: int, name: str
) -> None:
    async with endpoint() as it:
        it.fails_with(error)
        got, headers, _ = await it.http("POST", INVOKE, b"{}", {"x-amz-invocation-type": kind})
    assert (got, headers["x-amzn-errortype"]) == (status, name)


async def test_a_busy_function_is_throttled() -> None:
    async with endpoint() as it:
        it.backend.result = Result(b"{}", "TooManyRequestsException")
        status, headers, body = await it.http("POST", INVOKE, b"{}")
        assert (status, headers["x-amzn-errortype"]) == (429, "TooManyRequestsException")
        assert json.loads(body)["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
        # A handler's own error of that name is an answer.
        it.backend.result = Result(b"{}", "TooManyRequestsException", "START RequestId: 1\n")
        assert (await it.http("POST", INVOKE, b"{}"))[0] == 200


async def test_a_function_sees_and_invokes_what_it_may() -> None:
    async with endpoint() as it:
        got = await it.boto("lambda", lambda c: c.list_functions()["Functions"], NARROW_TOKEN)
        assert [one["FunctionName"] for one in got] == ["echo"]
        await it.boto("lambda", reply, NARROW_TOKEN)
        assert it.backend.asked[0][1] == Who(NARROW, "r-1", 2)
        for name in ("raw", "nobody"):
            found = await it.boto("lambda", lambda c, name=name: code(c, FunctionName=name), NARROW_TOKEN)  # type: ignore[misc]  # mypy cannot infer a default
            assert found == "AccessDeniedException"


async def test_the_list_has_pages() -> None:
    def pages(client: Any) -> list[str]:  # noqa: ANN401 - boto3's
        found = client.get_paginator("list_functions").paginate(PaginationConfig={"PageSize": 2})
        return [one["FunctionName"] for page in found for one in page["Functions"]]

    async with endpoint() as it:
        assert await it.boto("lambda", pages) == ["echo", "narrow", "raw"]
        status, _, _ = await it.http("GET", "/2015-03-31/functions/?MaxItems=none", token=TOKEN)
        assert status == 400


async def test_one_function() -> None:
    async with endpoint() as it:
        one = await it.boto("lambda", lambda c: c.get_function(FunctionName=ARN))
        same = await it.boto("lambda", lambda c: c.get_function_configuration(FunctionName="echo"))
        status, _, _ = await it.http("GET", "/2015-03-31/functions/nobody")
    told = one["Configuration"]
    assert (told["FunctionArn"], told["Timeout"], told["MemorySize"], told["Handler"]) == (ARN, 7, 64, "app.handler")
    assert one["Concurrency"] == {"ReservedConcurrentExecutions": 2}
    assert {**same, "ResponseMetadata": None} == {**told, "ResponseMetadata": None}
    assert status == 404
