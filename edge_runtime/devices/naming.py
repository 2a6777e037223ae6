"""What the events of a driver are called: gpiozero's own names of them, `when_` left out. Imports no gpiozero."""

from __future__ import annotations


def levels(cls: type) -> tuple[str, str]:
    """Return what a driver class calls becoming active and inactive: `pressed` and `released` for a Button.

    It is `active` and `inactive` where it has no name of its own.
    """
    found = []
    for plain, word in (("when_activated", "active"), ("when_deactivated", "inactive")):
        event = getattr(cls, plain, None)
        own = [n for n in dir(cls) if n.startswith("when_") and n != plain and getattr(cls, n) is event]
        found.append(own[0].removeprefix("when_") if own else word)
    return found[0], found[1]


def event_names(cls: type) -> list[str]:
    """Return all events that a device of a class may emit: those of `levels`, `held`, `rotated`."""
    extra = {"held": "hold_time", "rotated": "when_rotated"}
    return [*levels(cls), *(name for name, attribute in extra.items() if hasattr(cls, attribute))]
