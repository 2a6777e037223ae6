"""The shape of a Greengrass Lambda's parameters: which keys there are, what they hold, and their defaults.

The models are made by calls because the names are not ours. Source: AWS IoT Greengrass V2 API reference,
LambdaExecutionParameters; and the configuration of a generated Lambda component as it is seen on a device.
"""

from __future__ import annotations

from typing import Any, Literal

import pydantic
from pydantic import Field

from edge_runtime.loaders._edge_schema import Part, Word


def _model(name: str, **fields: Any) -> type[Part]:  # noqa: ANN401 - a type and a default each
    return pydantic.create_model(name, __base__=Part, **fields)


_MOST = 1 << 31
_MODE = Literal["GreengrassContainer", "NoContainer"]
_SOURCE: Any = _model("Source", topic=(Word, ...), type=(Literal["PUB_SUB", "IOT_CORE"], "PUB_SUB"))
_CONTAINER: Any = _model(
    "Container",
    memorySizeInKB=(int | None, None),
    memorySize=(int | None, None),
    mountROSysfs=(bool, False),
    volumes=(Any, None),
    devices=(Any, None),
)
_PROCESS: Any = _model(
    "Process", isolationMode=(_MODE, "GreengrassContainer"), containerParams=(_CONTAINER | None, None)
)
_EXECUTION: Any = _model("Execution", EnvironmentVariables=(dict[str, Any], {}))
OURS: dict[str, Any] = dict.fromkeys(("code", "handler", "runtime"), (Word | None, None))
"""The keys that Greengrass does not have."""
_FIELDS: dict[str, Any] = {
    "pinned": (bool, True),
    "maxQueueSize": (int, Field(1000, ge=1, le=_MOST)),
    "maxInstancesCount": (int | None, Field(None, ge=1)),
    "maxIdleTimeInSeconds": (int, Field(60, ge=0, le=_MOST)),
    "timeoutInSeconds": (int, Field(3, ge=1, le=_MOST)),
    "statusTimeoutInSeconds": (int, Field(60, ge=1, le=_MOST)),
    "inputPayloadEncodingType": (Literal["json", "binary"], "json"),
    "eventSources": (list[_SOURCE], []),
    "pubsubTopics": (dict[str, _SOURCE], {}),
    "environmentVariables": (dict[str, Any], {}),
    "lambdaExecutionParameters": (_EXECUTION | None, None),
    "execArgs": (list[str], []),
    "linuxProcessParams": (_PROCESS | None, None),
    "containerMode": (_MODE | None, None),
    "containerParams": (_CONTAINER | None, None),
}
PARAMETERS = _model("Parameters", **_FIELDS)
"""`componentLambdaParameters`."""
BARE = _model("Bare", **_FIELDS, **OURS)
"""The same as a file of its own."""
FUNCTION = _model(
    "LambdaFunction",
    lambdaArn=(Word | None, None),
    componentName=(Word | None, None),
    componentVersion=(str | None, None),
    componentPlatforms=(Any, None),
    componentDependencies=(Any, None),
    componentLambdaParameters=(Any, None),
    **OURS,
)
"""`lambdaFunction`."""
