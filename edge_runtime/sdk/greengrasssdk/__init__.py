"""The AWS IoT Greengrass Core SDK for handlers that were written for it, over the endpoint of the edge host.

It can be imported anywhere, in a unit test on a laptop too; a call needs a host. Standard library only.
"""

from __future__ import annotations

from ._clients import IoTDataPlane, Lambda, SecretsManager, ShadowError
from ._http import GreengrassRuntimeError

__all__ = [
    "GreengrassRuntimeError",
    "IoTDataPlane",
    "Lambda",
    "SecretsManager",
    "ShadowError",
    "client",
]

_CLIENTS: dict[str, type[IoTDataPlane | Lambda | SecretsManager]] = {
    "iot-data": IoTDataPlane,
    "lambda": Lambda,
    "secretsmanager": SecretsManager,
}


def client(client_type: str, *_: object) -> IoTDataPlane | Lambda | SecretsManager:
    """Return a client for `iot-data`, `lambda` or `secretsmanager`. Needs no host yet.

    Raises: ValueError for any other name.
    """
    found = _CLIENTS.get(client_type)
    if found is None:
        raise ValueError(f"greengrasssdk has no client {client_type!r}; it has {', '.join(sorted(_CLIENTS))}")
    return found()
