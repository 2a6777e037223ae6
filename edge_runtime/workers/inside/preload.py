"""What a zygote for functions that use boto3 does once, so that each of their workers need not.

A client in a fresh process takes a second: imports and parsing, of which nothing depends on the function.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

_SERVICES = ("iot-data", "lambda")
_ALSO = (
    "boto3 botocore.httpsession botocore.parsers botocore.retries.standard botocore.endpoint_provider botocore.regions "
    "botocore.credentials email.parser http.client encodings.idna"
)
_DUMMIES = {
    "AWS_ACCESS_KEY_ID": "warm",
    "AWS_SECRET_ACCESS_KEY": "warm",
    "AWS_REGION": "local",
    "AWS_DEFAULT_REGION": "local",
    # Of the user who runs the host; handlers have their own.
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    "AWS_EC2_METADATA_DISABLED": "true",
}


def boto3(folder: str) -> None:
    """Import boto3 from a folder of packages, and do what making a client does. The caller clears the environment.

    The folder stays at the end of the search path: what a function brings itself comes first. A boto3 that is broken is
    complained of; then a handler that imports it fails, and says why.
    """
    sys.path.append(folder)
    # botocore takes it when it is there, but its threads do not survive a fork.
    sys.modules["awscrt"] = None  # type: ignore[assignment]  # the documented way to forbid an import
    try:
        for name in _ALSO.split():
            importlib.import_module(name)
        os.environ.update(_DUMMIES)
        _warm()
    except Exception as error:  # noqa: BLE001 - whatever a broken installation raises; the workers must still start
        print(f"boto3 cannot be made ready: {error!r}", file=sys.stderr, flush=True)  # noqa: T201 - the host's log
    finally:
        del sys.modules["awscrt"]  # a function may well import it in its own process


def _warm() -> None:
    """Make clients and throw them away; keep what their session has parsed for all sessions to come."""
    package: Any = importlib.import_module("boto3")
    session = package.session.Session()
    for service in _SERVICES:
        session.client(service, endpoint_url="http://127.0.0.1:9").close()
    parsed: dict[object, object] = session._session.get_component("data_loader")._cache  # noqa: SLF001 - see below
    loader: Any = importlib.import_module("botocore.loaders").Loader
    make = loader.__init__

    # A session has a loader of its own, with a cache of its own, and no other way to hand it what is parsed.
    def with_what_is_parsed(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - botocore's
        make(self, *args, **kwargs)
        if not os.environ.get("AWS_DATA_PATH"):
            self._cache.update(parsed)

    loader.__init__ = with_what_is_parsed
    # The session of `boto3.client`. It takes keys, region and settings from the environment when a client is made; what
    # it has read of files so far is forgotten.
    package.setup_default_session()
    inner = package.DEFAULT_SESSION._session  # noqa: SLF001 - there is no other way to make it forget
    inner._config = inner._profile = inner._profile_map = inner._credentials = None  # noqa: SLF001 - same
