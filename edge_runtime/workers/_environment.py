"""The environment variables of a worker: AWS Lambda's, the function's own, and nothing of the host's."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

from edge_runtime import __version__
from edge_runtime.app import Function
from edge_runtime.errors import ConfigError

_LIMIT_BYTES = 4096
_INSIDE = Path(__file__).parent / "inside"
HERE = f"python{sys.version_info.major}.{sys.version_info.minor}"


def check(function: Function, log: Callable[[str, str], None]) -> None:
    """Say what is odd about a function's declaration.

    Raises: ConfigError when its runtime is not Python.
    """
    if not function.runtime.startswith("python"):
        raise ConfigError(
            f"function {function.name!r}: runtime {function.runtime!r} is not supported",
            hint="only Python handlers run here: declare runtime: python3",
        )
    if function.runtime not in ("python3", HERE):
        log(function.name, f"declared for {function.runtime}, runs on {HERE}")
    size = sum(len(key.encode()) + len(str(value).encode()) for key, value in function.environment.items())
    if size > _LIMIT_BYTES:
        log(function.name, f"its environment has {size} bytes; AWS Lambda allows {_LIMIT_BYTES}")


def environment(function: Function, thing: str, root: Path, tmp: Path, stream: str) -> dict[str, str]:
    """Return all variables of a worker. `stream` is unique to it.

    What AWS reserves cannot be changed by the function, the rest can. Source: "Defined runtime environment variables"
    in the AWS Lambda developer guide.
    """
    own = {key: str(value) for key, value in function.environment.items()}
    region = own.get("AWS_REGION") or own.get("AWS_DEFAULT_REGION") or "local"
    runtime = HERE if function.runtime == "python3" else function.runtime
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin",
        "LANG": "C.UTF-8",
        "TZ": ":UTC",
        "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
        "AWS_IOT_THING_NAME": thing,
        "GGC_VERSION": __version__,
        **own,
        "_HANDLER": function.handler,
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{runtime}",
        "AWS_LAMBDA_FUNCTION_NAME": function.name,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_mb),
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{function.name}",
        "AWS_LAMBDA_LOG_STREAM_NAME": f"{time.strftime('%Y/%m/%d', time.gmtime())}/[$LATEST]{stream}",
        "LAMBDA_TASK_ROOT": str(root),
        "LAMBDA_RUNTIME_DIR": str(_INSIDE),
        "TMPDIR": str(tmp),
    }
