"""The clients. Method and parameter names are those of the AWS IoT Greengrass Core SDK for Python."""

from __future__ import annotations

import io
from urllib.parse import quote

from ._http import GreengrassRuntimeError, ask

_Bytes = str | bytes | bytearray


class ShadowError(GreengrassRuntimeError):
    """A shadow cannot be read or written."""


class IoTDataPlane:
    """`client("iot-data")`."""

    def publish(
        self,
        topic: str,
        payload: _Bytes = b"",
        queueFullPolicy: str = "BestEffort",  # noqa: N803 - AWS's name
        **_: object,
    ) -> None:
        """Emit on a topic; it is on disk when this returns.

        With the policy `BestEffort` a queue that is full and may not drop swallows the message without a word, with
        `AllOrException` it raises.

        Raises: ValueError for a bad argument, GreengrassRuntimeError.
        """
        if not isinstance(topic, str) or not topic:
            raise ValueError(f"topic must be a text that is not empty, not {topic!r}")
        if queueFullPolicy not in ("BestEffort", "AllOrException"):
            raise ValueError(f"queueFullPolicy is BestEffort or AllOrException, not {queueFullPolicy!r}")
        try:
            ask("POST", f"/topics/{quote(topic, safe='')}?qos=1", _bytes(payload, "payload"))
        except GreengrassRuntimeError as error:
            if error.code != "ThrottlingException" or queueFullPolicy == "AllOrException":
                raise

    def get_thing_shadow(self, thingName: str) -> dict[str, bytes]:  # noqa: N803 - AWS's name
        """Return `{"payload": document}`. Raises: ShadowError."""
        return _shadow("GET", thingName)

    def update_thing_shadow(self, thingName: str, payload: _Bytes) -> dict[str, bytes]:  # noqa: N803 - same
        """Change a shadow and return `{"payload": document}`. Raises: ShadowError."""
        return _shadow("POST", thingName, _bytes(payload, "payload"))

    def delete_thing_shadow(self, thingName: str) -> dict[str, bytes]:  # noqa: N803 - same
        """Remove a shadow and return `{"payload": document}`. Raises: ShadowError."""
        return _shadow("DELETE", thingName)


class Lambda:
    """`client("lambda")`."""

    def invoke(
        self,
        FunctionName: str,  # noqa: N803 - AWS's name
        InvocationType: str = "RequestResponse",  # noqa: N803 - same
        Payload: _Bytes = b"",  # noqa: N803 - same
        ClientContext: str = "",  # noqa: N803 - same
        Qualifier: str = "",  # noqa: N803 - same
        **_: object,
    ) -> dict[str, object]:
        """Invoke a function. `Payload` is what goes to it; `ClientContext` is base64 of JSON.

        Returns `FunctionError`, empty or `Unhandled`, and `Payload` as a stream, empty for the type `Event`.

        Raises: ValueError for a bad argument, GreengrassRuntimeError.
        """
        if not isinstance(FunctionName, str) or not FunctionName:
            raise ValueError(f"FunctionName must be a text that is not empty, not {FunctionName!r}")
        headers = {"X-Amz-Invocation-Type": InvocationType}
        if ClientContext:
            headers["X-Amz-Client-Context"] = ClientContext
        query = f"?Qualifier={quote(Qualifier, safe='')}" if Qualifier else ""
        path = f"/2015-03-31/functions/{quote(FunctionName, safe='')}/invocations{query}"
        found, content = ask("POST", path, _bytes(Payload, "Payload"), headers)
        return {"FunctionError": found.get("x-amz-function-error", ""), "Payload": io.BytesIO(content)}


class SecretsManager:
    """`client("secretsmanager")`."""

    def get_secret_value(self, SecretId: str, **_: object) -> dict[str, object]:  # noqa: N803 - AWS's name
        """Refuse: the host keeps no secrets.

        Raises: GreengrassRuntimeError, always.
        """
        raise GreengrassRuntimeError(
            f"secret {SecretId!r}: this edge host keeps no secrets; give it in the environment of the function",
            "ResourceNotFoundException",
        )


def _shadow(method: str, thing: str, body: bytes = b"") -> dict[str, bytes]:
    if not isinstance(thing, str) or not thing:
        raise ValueError(f"thingName must be a text that is not empty, not {thing!r}")
    try:
        _, content = ask(method, f"/things/{quote(thing, safe='')}/shadow", body)
    except GreengrassRuntimeError as error:
        raise ShadowError(str(error), error.code) from error
    return {"payload": content}


def _bytes(value: object, name: str) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, bytes | bytearray):
        return bytes(value)
    raise ValueError(f"{name} must be a text or bytes, not {type(value).__name__}")
