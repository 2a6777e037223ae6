"""Components of AWS IoT Greengrass v2: `edge build greengrass`.

Without an app it is the component of the runtime: it installs an environment in its work folder, once, from what it has
with it. With an app it is a component of that app, which runs it with the runtime that the other one installed: each
app is a process of its own, with its own rights, configuration, log and state.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import edge_runtime
from edge_runtime.app import App
from edge_runtime.building.app_files import files_of
from edge_runtime.building.plan import Copy, Pack, Plan, Remove, Step, Write
from edge_runtime.building.recipe import (
    TOKENS,
    Component,
    Platform,
    access_control,
    as_yaml,
    needs_tokens,
    recipe,
    recipe_offline,
)
from edge_runtime.plugin import load

RUNTIME = "com.example.EdgeRuntime"
INSTALLER = Path(__file__).parent.parent / "installer" / "edge-install.sh"
ARCHITECTURES = {"aarch64": ("aarch64",), "arm": ("armv7l", "armv6l"), "amd64": ("x86_64",)}
"""What `uname -m` says, by what Greengrass calls it. `edge-install.sh` takes the right one of several."""
TREE = "greengrass-build"
"""The folder that `gdk component build` makes, and `gdk component publish` takes."""

_INSTALL = f'sh "{{artifacts:path}}/{INSTALLER.name}" install "{{artifacts:path}}" .'
# Something has to run: where a component is bound to this one, it would end with it.
_REST = "exec sleep infinity"
# No variable for the folder of another component is known to both nuclei, but its place below the root is the same.
# Nor do both install one component before the other: so this waits, for ten minutes at most.
_RUN = """\
set -eu
edge="{kernel:rootPath}/work/RUNTIME/venv/bin/edge"
tries=0
until [ -x "$edge" ]; do
  tries=$((tries + 1))
  if [ "$tries" -gt 600 ]; then
    echo "edge: RUNTIME is not installed: there is no $edge" >&2
    exit 1
  fi
  sleep 1
done
"$edge" install "{artifacts:path}/BUNDLE" --for-good --app app --state state
exec "$edge" run app --state state
"""


def plan_runtime(
    bucket: str,
    out: Path,
    *,
    name: str = RUNTIME,
    architectures: Sequence[str] = ("aarch64", "armv7l", "armv6l", "x86_64"),
    work: Path | None = None,
) -> Plan:
    """Return the plan of the runtime's component for these architectures, as `uname -m` says them.

    Raises: ConfigError when a name or version is none, or there are no locks for an architecture.
    """
    wanted = {group: tuple(one for one in all_ if one in architectures) for group, all_ in ARCHITECTURES.items()}
    platforms = tuple(
        Platform(group, (INSTALLER.name, *(f"edge-runtime-{one}.zip" for one in chosen)))
        for group, chosen in wanted.items()
        if chosen
    )
    component = Component(
        name=name,
        version=edge_runtime.__version__,
        description="Runs AWS Lambda handlers on the device, online and offline.",
        platforms=platforms,
        steps={"install": _INSTALL, "run": _REST},
    )
    place = _artifacts(component, out)
    steps: list[Step] = [Copy(INSTALLER, place / INSTALLER.name, 0o755)]
    for one in (one for platform in wanted.values() for one in platform):
        steps += load("deploy", "runtime").plan(one, place / f"edge-runtime-{one}.zip", work=work).steps
    return _plan(component, bucket, out, steps)


def plan_app(
    app: App, app_file: Path, bucket: str, out: Path, *, name: str, version: str, runtime: str = RUNTIME
) -> Plan:
    """Return the plan of an app's component. `app` was read with `building.recipe.CORE` as its thing.

    Raises: ConfigError when a name or version is none, files of the app lie elsewhere, or there are too many topics.
    """
    bundle = f"{name}.zip"
    major = edge_runtime.__version__.partition(".")[0]
    needs = {runtime: f">={edge_runtime.__version__} <{int(major) + 1}.0.0"}
    if needs_tokens(app):
        needs[TOKENS] = ">=2.0.3 <3.0.0"
    through_nucleus = app.link is not None and app.link.driver == "greengrass"
    component = Component(
        name=name,
        version=version,
        description=f"An app of {runtime}.",
        platforms=(Platform("*", (bundle,)),),
        steps={"run": _RUN.replace("RUNTIME", runtime).replace("BUNDLE", bundle)},
        environment={"EDGE_THING": "{iot:thingName}"} if through_nucleus else {},
        access=access_control(app, name),
        needs=needs,
    )
    parts = tuple(sorted(files_of(app, app_file).items()))
    pack = Pack(parts, _artifacts(component, out) / bundle, name.replace(".", "-"), version)
    return _plan(component, bucket, out, [pack])


def _artifacts(component: Component, out: Path) -> Path:
    return out / TREE / "artifacts" / component.name / component.version


def _plan(component: Component, bucket: str, out: Path, steps: list[Step]) -> Plan:
    tree = out / TREE
    online, offline = as_yaml(recipe(component, bucket)), as_yaml(recipe_offline(component))
    recipes = [
        Write(tree / "recipes" / "recipe.yaml", online),
        Write(tree / "recipe-offline.yaml", offline),
        # The same by the name that a deployment from the disk looks for.
        Write(tree / "recipes-offline" / f"{component.name}-{component.version}.yaml", offline),
    ]
    results = (recipes[0].path, recipes[1].path, _artifacts(component, out))
    return Plan("greengrass", (Remove(tree), *steps, *recipes), results)
