"""The credentials that an app lends to its functions, as it declares them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from edge_runtime.app import App
from edge_runtime.clock import Clock

if TYPE_CHECKING:
    from edge_runtime.cloud.credentials import Credentials


def lent(app: App, clock: Clock) -> Credentials | None:
    """Return the credentials of the role that the app names, None when it names none. Asks nobody yet."""
    if app.link is None or app.link.credentials is None:
        return None
    from edge_runtime.cloud import credentials  # noqa: PLC0415 - most apps lend none

    role, options = app.link.credentials, app.link.options
    if not role.endpoint:
        return credentials.Credentials(credentials.token_exchange(os.environ), clock)
    files = (str(options.get(name) or "") for name in ("certificate", "key", "ca"))
    identity = credentials.Identity(app.thing, *files)
    return credentials.Credentials(credentials.role_alias(role.endpoint, role.name, identity, role.port), clock)


def region(app: App) -> str:
    """Return the AWS region of functions that declare none, empty when the app does not tell."""
    if app.link is None or app.link.credentials is None:
        return ""
    from edge_runtime.cloud.credentials import region_of  # noqa: PLC0415 - as above

    return region_of(app.link.credentials.endpoint) or os.environ.get("AWS_REGION", "")
