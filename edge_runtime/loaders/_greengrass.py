"""Read the parameters of a Greengrass Lambda as keys of `edge.yaml`.

Source of names and defaults: AWS IoT Greengrass V2 API reference, LambdaExecutionParameters; and the configuration of a
generated Lambda component as it is seen on a device.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_runtime.errors import ConfigError
from edge_runtime.loaders import _greengrass_schema as schema
from edge_runtime.loaders._validate import check
from edge_runtime.loaders._yaml import Document, Where, read

_ARN = re.compile(r"arn:[^:]*:lambda:[^:]*:[^:]*:function:([^:]+)(?::[^:]+)?")
_NO_NAME = re.compile(r"[^A-Za-z0-9_-]+")
_HANDLERS = {
    "lambda_function.py": ("lambda_function.lambda_handler", "python3"),
    "index.js": ("index.handler", "nodejs"),
    "index.mjs": ("index.handler", "nodejs"),
}
"""What AWS calls the handler of a new function, by the file that is there."""
_MOST_TIMEOUT_S = 900
_MOST_WORKERS = 64
_WORKERS = 4
_LEAST_MB = 128
_EVENT_BYTES = 4096
_LEAST_QUEUE_BYTES = 2 << 20
"""The largest event must find room."""


@dataclass
class Parameters:
    """What a parameter file says."""

    name: str
    """Of the function."""
    keys: dict[str, Any] = field(default_factory=dict)
    """As they would stand in `edge.yaml` under the function."""
    down: list[str] = field(default_factory=list)
    """The topic filters that are to come from the cloud."""
    notes: list[str] = field(default_factory=list)
    """What is not done as it is said."""


def parameters(path: Path, base: Path) -> Parameters:
    """Return what the file at `path` says: `{"lambdaFunction": ...}`, the inside of that, or the parameters alone.

    Paths in what is returned are relative to the folder `base`.

    Raises: ConfigError with all that is wrong, each as `file:line: key.path: what is wrong`.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}", hint="name the file of the parameters") from error
    # JSON is YAML but for tabs, which no text of JSON can hold; and this reader knows the lines.
    document = read(text.replace(b"\t", b" "), path.name)
    found = _read(document, path.absolute(), base)
    document.check()
    return found


def _read(document: Document, path: Path, base: Path) -> Parameters:
    data: Any = document.data
    where: Where = ()
    if not isinstance(data, Mapping):
        document.add((), "the file holds no JSON object")
        return Parameters("")
    if isinstance(data.get("lambdaFunction"), Mapping):
        if others := [key for key in data if key != "lambdaFunction"]:
            document.add((others[0],), "stands beside lambdaFunction; the parameters of one function are inside it")
        data, where = data["lambdaFunction"], ("lambdaFunction",)
    ours: dict[str, Any] = {}
    inner: Any = data
    if {"componentLambdaParameters", "lambdaArn", "componentName"} & data.keys():
        head = check(schema.FUNCTION, data, where, document)
        ours = head.model_dump() if head else {}
        inner, where = ours.pop("componentLambdaParameters", None), (*where, "componentLambdaParameters")
        inner = {} if inner is None else inner
        part = check(schema.PARAMETERS, inner, where, document)
    else:
        part = check(schema.BARE, inner, where, document)
    values = part.model_dump() if part else {}
    found = Parameters(_name(ours, path))
    if values:
        values |= {key: value for key, value in ours.items() if key in schema.OURS}
        code = path.parent / (values["code"] or ".")
        found.keys["code"] = os.path.relpath(code, base)
        _fill(found, values, code)
        _fill_process(found, values)
        if "maxQueueSize" in inner:
            size = found.keys["queue"]["limit"]
            found.notes.append(f"maxQueueSize {values['maxQueueSize']}: the queue is bounded by bytes, {size} of them")
    return found


def _name(head: Mapping[str, Any], path: Path) -> str:
    """Return the function's name: that in the ARN, else the last word of the component's, else the file's."""
    arn = _ARN.fullmatch(head.get("lambdaArn") or "")
    text = arn[1] if arn else (head.get("componentName") or path.stem).rpartition(".")[2]
    return _NO_NAME.sub("-", text).strip("-")[:64] or "function"


def _fill(found: Parameters, values: Mapping[str, Any], code: Path) -> None:
    handler, runtime = next(((h, r) for file, (h, r) in _HANDLERS.items() if (code / file).is_file()), ("", ""))
    sources = [*values["eventSources"], *(source for _, source in sorted(values["pubsubTopics"].items()))]
    found.down = [source["topic"] for source in sources if source["type"] == "IOT_CORE"]
    executed = values["lambdaExecutionParameters"] or {}
    found.keys |= {
        "handler": values["handler"] or handler,
        "runtime": values["runtime"] or runtime or "python3",
        "pinned": values["pinned"],
        "timeout": min(values["timeoutInSeconds"], _MOST_TIMEOUT_S),
        "status_timeout": values["statusTimeoutInSeconds"],
        "idle": values["maxIdleTimeInSeconds"],
        "binary": values["inputPayloadEncodingType"] == "binary",
        "environment": {**values["environmentVariables"], **executed.get("EnvironmentVariables", {})},
        "events": [{"topic": source["topic"]} for source in sources],
        "queue": {"limit": max(values["maxQueueSize"] * _EVENT_BYTES, _LEAST_QUEUE_BYTES)},
    }
    if values["timeoutInSeconds"] > _MOST_TIMEOUT_S:
        found.notes.append(f"timeoutInSeconds {values['timeoutInSeconds']}: {_MOST_TIMEOUT_S} is the most")
    if values["execArgs"]:
        found.notes.append("execArgs: the runtime passes no arguments to a handler")


def _fill_process(found: Parameters, values: Mapping[str, Any]) -> None:
    process = values["linuxProcessParams"] or {}
    mode = values["containerMode"] or process.get("isolationMode")
    container = values["containerParams"] or process.get("containerParams") or {}
    memory_kb = container.get("memorySizeInKB") or container.get("memorySize") or 0
    memory_mb = max(_LEAST_MB, min(math.ceil(memory_kb / 1024), 10_240))
    found.keys["memory"] = memory_mb
    if mode == "GreengrassContainer":
        found.notes.append("isolationMode GreengrassContainer: the function is isolated as far as the kernel allows")
    if container.get("volumes") or container.get("devices"):
        found.notes.append("containerParams: volumes and devices are not mounted; the function sees those of the host")
    if 0 < memory_kb < _LEAST_MB * 1024:
        found.notes.append(f"memorySizeInKB {memory_kb}: a worker gets at least {_LEAST_MB} MB")
    wanted = values["maxInstancesCount"]
    workers = 1 if values["pinned"] else min(wanted or min(_WORKERS, os.cpu_count() or 1), _MOST_WORKERS)
    found.keys["concurrency"] = workers
    if wanted and wanted > workers:
        why = "a pinned function has one worker" if values["pinned"] else f"{_MOST_WORKERS} workers are the most"
        found.notes.append(f"maxInstancesCount {wanted}: {why}")
    ram_mb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20
    if workers * memory_mb > ram_mb:
        found.notes.append(
            f"maxInstancesCount: {workers} workers of {memory_mb} MB may need more than the {ram_mb} MB of RAM"
        )
