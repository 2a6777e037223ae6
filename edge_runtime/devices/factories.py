"""How the wires are driven: the choice of gpiozero's pin factory."""

from __future__ import annotations

import os
import tempfile
from importlib.metadata import entry_points
from typing import Any

from edge_runtime.errors import ConfigError

_ENV = "GPIOZERO_PIN_FACTORY"
_LOCAL = ("lgpio", "rpigpio", "native")  # those that drive the pins of the Pi they run on
_CHOICE = ("lgpio", "rpigpio")  # lgpio is the only one for a Pi 5; native is an experiment of gpiozero's
_HINT = "run `edge run --simulate` to try the app without hardware; on a Raspberry Pi run `apt install python3-lgpio`"


def wants_mock() -> bool:
    """Tell whether the environment asks for mock pins: then everything is simulated."""
    return os.environ.get(_ENV, "").lower() == "mock"


def real_factory(refused: dict[str, str] | None = None) -> Any:  # noqa: ANN401 - an object of a library without types
    """Return a new pin factory for the pins of this machine: the one that GPIOZERO_PIN_FACTORY names, else lgpio.

    `refused` gets the reasons of those that were tried before it, by name.

    Raises: ConfigError with the reason of each factory that was tried.
    """
    wanted = os.environ.get(_ENV, "").lower()
    plugins = {point.name: point for point in entry_points(group="gpiozero_pin_factories")}
    if wanted and wanted not in plugins:
        raise ConfigError(
            f"{_ENV} names {wanted!r}, which is no pin factory", hint=f"known: {', '.join(sorted(plugins))}"
        )
    reasons: dict[str, str] = {}  # reason -> the first factory that gave it
    for name in (wanted,) if wanted else _CHOICE:
        try:
            return _make(name, plugins[name])
        except Exception as error:  # noqa: BLE001 - each library fails in its own way, and its reason is passed on
            reasons.setdefault(str(error), name)
            if refused is not None:
                refused[name] = str(error)
    tried = "; ".join(f"{name}: {reason}" for reason, name in reasons.items())
    raise ConfigError(f"the GPIO pins of this machine cannot be reached ({tried})", hint=_HINT)


def _make(name: str, point: Any) -> Any:  # noqa: ANN401 - objects of a library without types
    if name in _LOCAL:
        from gpiozero.pins.local import get_pi_revision  # noqa: PLC0415 - gpiozero is imported late

        get_pi_revision()  # raises off a Pi, before lgpio is imported, which starts a thread and makes a FIFO
        # That FIFO lands in the current folder, which a service may not write to.
        os.environ.setdefault("LG_WD", tempfile.gettempdir())
    return point.load()()
