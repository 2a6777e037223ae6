"""The libraries that drive pins: whether they are there, and can be used."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError

_VENV = "in a venv made with --system-site-packages"
_NEEDS = {
    "lgpio": ("lgpio", "lgpio", f"apt install python3-lgpio, {_VENV}"),
    "rpigpio": ("RPi.GPIO", "RPi.GPIO", f"apt install python3-rpi.gpio, {_VENV}"),
    "gpiod": ("gpiod", "gpiod", "pip install 'edge-runtime[gpiod]'"),
}
"""By factory: the module that it needs, the package that holds it, and how to get it."""
_OLD_GPIOZERO = "2.0.1.post3"
"""Before it gpiozero took gpiochip4 on every Pi 5, which newer kernels call gpiochip0, whatever chip was asked for."""


def wrong(factory: str, version: Callable[[str], str], load: Callable[[str], object]) -> str:
    """Return what is wrong with the library that a factory needs, or an empty text.

    `version` takes the name of a package and raises PackageNotFoundError; `load` imports a module.
    """
    if factory not in _NEEDS:
        return ""
    module, package, install = _NEEDS[factory]
    try:
        found = version(package)
    except PackageNotFoundError:
        found = ""  # a package of apt's may not say; the import tells
    if reason := _unusable(factory, found, version("gpiozero"), install):
        return reason
    # lgpio makes a FIFO in the current folder as it is imported, and a service may not write there.
    os.environ.setdefault("LG_WD", tempfile.gettempdir())
    try:
        load(module)
    except Exception as error:  # noqa: BLE001 - a library without its machine fails in any way as it is imported
        if isinstance(error, ModuleNotFoundError) and error.name in (module, module.partition(".")[0]):
            return f"the library {module} is missing: {install}"
        return f"the library {module} cannot be used: {error}"
    return ""


def _unusable(factory: str, found: str, gpiozero: str, install: str) -> str:
    """Return why a version cannot be used, or an empty text."""
    if factory == "lgpio" and found.startswith("0.0."):
        text = f"lgpio {found} is empty, which pip takes where there is no wheel (Python 3.13)"
        return f"{text}: pip uninstall lgpio; {install}"
    if factory == "lgpio" and _number(gpiozero) < _number(_OLD_GPIOZERO):
        return f"gpiozero {gpiozero} takes the wrong chip of a Pi 5: pip install 'gpiozero>={_OLD_GPIOZERO}'"
    if factory == "gpiod" and found and _number(found) < (2, 1):
        return f"gpiod {found} has another interface than 2.1: {install}"
    return ""


def _number(version: str) -> tuple[int, ...]:
    """Return `2.0.1.post3` as (2, 0, 1, 3)."""
    parts = ("".join(c for c in part if c.isdigit()) for part in version.split("."))
    return tuple(int(part) for part in parts if part)
