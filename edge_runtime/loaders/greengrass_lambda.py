"""The parameter file of a Greengrass Lambda, as given to `create-component-version`, run as an app of one function.

    {"lambdaFunction": {
      "lambdaArn": "arn:aws:lambda:eu-west-1:123456789012:function:irrigate:3",
      "code": "./irrigate", "handler": "app.handler",
      "componentLambdaParameters": {
        "eventSources": [{"topic": "edge/in/+", "type": "PUB_SUB"}],
        "pinned": false, "timeoutInSeconds": 3, "environmentVariables": {"K": "v"}}}}

The inside of `lambdaFunction`, or `componentLambdaParameters` alone, are read too, and so are the names that are seen
on a device (`pubsubTopics`, `containerMode`, `lambdaExecutionParameters`).

`code`, `handler` and `runtime` are not Greengrass's, which has them from the function's version in AWS: they stand
beside `lambdaArn`, or beside the parameters. `code` is a folder or a zip, looked for beside the file; without it, it is
the file's own folder. Without `handler` it is AWS's own: `lambda_function.lambda_handler` or `index.handler`, whichever
file is there. The thing has the name of the machine. An `edge.yaml` can name such a file in a function
(`greengrass: ./lambda.json`), and says there what is to be otherwise.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from edge_runtime.app import App
from edge_runtime.loaders._greengrass import parameters
from edge_runtime.loaders._overlay import NOTHING, lay_over
from edge_runtime.loaders._yaml import Document
from edge_runtime.loaders.edge_yaml import build


def accepts(path: Path) -> bool:
    """Tell whether this loader reads a file of that name."""
    return path.suffix == ".json"


def load(path: Path, overlay: Mapping[str, Any] = NOTHING) -> App:
    """Return the app of the one function that the file describes; `overlay` is merged into it as into an `edge.yaml`.

    Raises: ConfigError with all that is wrong, each as `file:line: key.path: what is wrong`.
    """
    base = path.absolute().parent
    found = parameters(path, base)
    thing = re.sub(r"[^a-zA-Z0-9:_-]+", "-", platform.node())[:128] or "thing"
    document = Document(path.name, {"thing": thing, "functions": {found.name: found.keys}})
    lay_over(document, overlay)
    app = build(document, base)
    document.check()
    away = [f"eventSources: {one!r} is to come from the cloud, and there is no link" for one in found.down]
    return replace(app, notes=tuple(f"{path.name}: {note}" for note in [*found.notes, *away]))
