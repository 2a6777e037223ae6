"""The context object that a handler gets."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping

from .faults import CONTEXT_UNMARSHAL, Fault, text_of

_W3C = ("traceparent", "tracestate", "baggage")
_SHOWN = (
    "aws_request_id",
    "log_group_name",
    "log_stream_name",
    "function_name",
    "memory_limit_in_mb",
    "function_version",
    "invoked_function_arn",
    "client_context",
    "identity",
    "tenant_id",
)
_CLIENT = ("installation_id", "app_title", "app_version_name", "app_version_code", "app_package_name")


class Client:
    """The app that called."""

    __slots__ = _CLIENT

    def __init__(self, values: Mapping[str, object]) -> None:
        for name in _CLIENT:
            setattr(self, name, values.get(name))

    def __repr__(self) -> str:
        return _shown(self, _CLIENT)


class ClientContext:
    """What the caller said about itself; `custom["subject"]` is the topic of the event."""

    __slots__ = ("client", "custom", "env")

    def __init__(self, custom: object, env: object = None, client: object = None) -> None:
        self.custom = custom
        self.env = env
        self.client = Client(client) if isinstance(client, Mapping) else None

    def __repr__(self) -> str:
        return _shown(self, ("custom", "env", "client"))


class CognitoIdentity:
    """Who called."""

    __slots__ = ("cognito_identity_id", "cognito_identity_pool_id")

    def __init__(self, identity: object = None, pool: object = None) -> None:
        self.cognito_identity_id = identity
        self.cognito_identity_pool_id = pool

    def __repr__(self) -> str:
        return _shown(self, ("cognito_identity_id", "cognito_identity_pool_id"))


class LambdaContext:
    """The second argument of a handler."""

    aws_request_id: str
    log_group_name: str | None
    log_stream_name: str | None
    function_name: str | None
    memory_limit_in_mb: str | None
    """A text, as in AWS."""
    function_version: str | None
    invoked_function_arn: str
    tenant_id: str | None
    client_context: ClientContext | None
    identity: CognitoIdentity
    _deadline_ns: int
    _w3c_fields: Mapping[str, str] = {}

    def __init__(self, common: dict[str, object], request_id: str, deadline_ns: int) -> None:
        # `common` holds every attribute: a copy of it costs a third of setting each.
        self.__dict__ = values = common.copy()
        values["aws_request_id"] = request_id
        values["_deadline_ns"] = deadline_ns

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds until the function is stopped, never below 0.

        By the monotonic clock, which the host shares: a device's wall clock jumps.
        """
        return max(0, (self._deadline_ns - time.monotonic_ns()) // 1_000_000)

    def log(self, message: object) -> None:
        """Write to the log, without a newline."""
        sys.stdout.write(str(message))

    def w3c(self) -> dict[str, str]:
        """Return the W3C trace context of the invocation: its `traceparent`, `tracestate` and `baggage`, as given."""
        return dict(self._w3c_fields)

    @property
    def _epoch_deadline_time_in_ms(self) -> int:
        # AWS's own attribute, which some tools read; reckoned anew, to be right by the wall clock of the moment.
        return time.time_ns() // 1_000_000 + (self._deadline_ns - time.monotonic_ns()) // 1_000_000

    def __repr__(self) -> str:
        return _shown(self, _SHOWN)


def common_values(env: Mapping[str, str]) -> dict[str, object]:
    """Return the attributes of a context, those that are the same in all invocations read from an environment."""
    region, name = env.get("AWS_REGION", ""), env.get("AWS_LAMBDA_FUNCTION_NAME", "")
    return {
        "aws_request_id": "",
        "log_group_name": env.get("AWS_LAMBDA_LOG_GROUP_NAME"),
        "log_stream_name": env.get("AWS_LAMBDA_LOG_STREAM_NAME"),
        "function_name": env.get("AWS_LAMBDA_FUNCTION_NAME"),
        "memory_limit_in_mb": env.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE"),
        "function_version": env.get("AWS_LAMBDA_FUNCTION_VERSION"),
        "invoked_function_arn": f"arn:aws:lambda:{region}:000000000000:function:{name}",
        "tenant_id": None,
        "client_context": None,
        "identity": CognitoIdentity(),
        "_deadline_ns": 0,
    }


def apply_json(context: LambdaContext, raw: bytes) -> tuple[str, str]:
    """Fill a context in from the JSON that came with the event; return its content type and its trace id.

    Raises: Fault (`Runtime.LambdaContextUnmarshalError`).
    """
    given = json.loads(raw)  # the host's own, so it is sound
    client = _parsed(given.get("client_context"), "Client Context")
    if client is not None:
        context.client_context = ClientContext(client.get("custom"), client.get("env"), client.get("client"))
        trace = client.get("w3c")
        if isinstance(trace, dict):
            context._w3c_fields = {key: trace[key] for key in _W3C if isinstance(trace.get(key), str)}  # noqa: SLF001 - its maker
    custom = given.get("custom")
    if custom is not None:
        held = context.client_context or ClientContext(None)
        held.custom = {**held.custom, **custom} if isinstance(held.custom, dict) else custom
        context.client_context = held
    identity = _parsed(given.get("identity"), "Cognito Identity")
    if identity is not None:
        context.identity = CognitoIdentity(identity.get("cognitoIdentityId"), identity.get("cognitoIdentityPoolId"))
    values = {key: given[key] for key in ("invoked_function_arn", "tenant_id") if key in given}
    context.__dict__.update(values)
    return given.get("content_type", "application/json"), given.get("trace_id", "")


def _parsed(value: object, what: str) -> dict[str, object] | None:
    if value == "":
        return None
    if isinstance(value, str):  # a header of a caller, passed on unread
        try:
            value = json.loads(value)
        except Exception as error:
            raise Fault(CONTEXT_UNMARSHAL, f"Unable to parse {what} JSON: {text_of(error)}") from error
    if value is not None and not isinstance(value, dict):
        raise Fault(CONTEXT_UNMARSHAL, f"Unable to parse {what} JSON: not an object")
    return value


def _shown(thing: object, names: object) -> str:
    held = ",".join(f"{name}={getattr(thing, name, None)}" for name in names)  # type: ignore[attr-defined]  # str list
    return f"{type(thing).__name__}([{held}])"
