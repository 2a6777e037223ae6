"""The environment variables of a worker: AWS Lambda's, the function's own, and nothing of the host's."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

from edge_runtime import __version__
from edge_runtime.app import Function

_LIMIT_BYTES = 4096
_INSIDE = Path(__file__).parent / "inside"
HERE = f"python{sys.version_info.major}.{sys.version_info.minor}"


def check(function: Function, log: Callable[[str, str], None]) -> None:
    """Say what is odd about a function's declaration."""
    if function.runtime.startswith("python") and function.runtime not in ("python3", HERE):
        log(function.name, f"declared for {function.runtime}, runs on {HERE}")
    size = sum(len(key.encode()) + len(str(value).encode()) for key, value in function.environment.items())
    if size > _LIMIT_BYTES:
        log(function.name, f"its environment has {size} bytes; AWS Lambda allows {_LIMIT_BYTES}")


def environment(
    function: Function, thing: str, root: Path, tmp: Path, stream: str, *, opt: Path | None = None
) -> dict[str, str]:
    """Return all variables of a worker. `stream` is unique to it; `opt` is the folder of its layers.

    What AWS reserves cannot be changed by the function, the rest can. `PYTHONPATH` is not set: that is the function's
    alone. Source: "Defined runtime environment variables" in the AWS Lambda developer guide.
    """
    own = {key: str(value) for key, value in function.environment.items()}
    region = own.get("AWS_REGION") or own.get("AWS_DEFAULT_REGION") or "local"
    runtime = HERE if function.runtime == "python3" else function.runtime
    return {
        **_paths(function, root, opt),
        "LANG": "C.UTF-8",
        "TZ": ":UTC",
        "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
        "AWS_IOT_THING_NAME": thing,
        "GGC_VERSION": __version__,
        **own,
        **_logging(function, own),
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


def _paths(function: Function, root: Path, opt: Path | None) -> dict[str, str]:
    """Return where programs, native libraries and Node's modules are looked for, in AWS's order."""
    programs = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
    libraries = f"{root}:{root}/lib"
    values = {"PATH": programs, "LD_LIBRARY_PATH": libraries}
    if opt is not None:
        values = {"PATH": f"{programs}:{opt}/bin", "LD_LIBRARY_PATH": f"{libraries}:{opt}/lib"}
    if function.runtime.startswith("nodejs"):
        major = function.runtime.removeprefix("nodejs").partition(".")[0]
        layers = [f"{opt}/nodejs/node{major}/node_modules", f"{opt}/nodejs/node_modules"] if opt else []
        values["NODE_PATH"] = ":".join([*layers, str(root)])
    return values


def _logging(function: Function, own: dict[str, str]) -> dict[str, str]:
    """Return the variables of the log format and level; AWS sets the level with the JSON format alone, INFO if none."""
    as_json = function.log_format.upper() == "JSON"
    values = {"AWS_LAMBDA_LOG_FORMAT": "JSON" if as_json else "Text"}
    level = function.log_level or own.get("AWS_LAMBDA_LOG_LEVEL", "INFO" if as_json else "")
    if level:
        values["AWS_LAMBDA_LOG_LEVEL"] = level.upper()
    return values
