"""The parts of a board, and being on or off: what gpiozero's classes say of it each in its own way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_OFF_WORDS = ("", "off", "closed")


def parts(device: Any) -> dict[str, Any]:  # noqa: ANN401 - an object without types
    """Return the devices that a board is made of, by name, or by number where they have none.

    What is one thing to its user (a Motor of two pins, a Servo, a display whose digits take turns) has no parts.
    """
    import gpiozero  # noqa: PLC0415 - imported late

    if isinstance(device, gpiozero.RGBLED):
        return dict(zip(("red", "green", "blue"), device._leds, strict=False))  # noqa: SLF001 - it has no other way
    one_thing = (
        *(gpiozero.Motor, gpiozero.PhaseEnableMotor, gpiozero.Servo, gpiozero.TonalBuzzer),
        *(gpiozero.RotaryEncoder, gpiozero.LEDMultiCharDisplay),
    )
    if not isinstance(device, gpiozero.CompositeDevice) or isinstance(device, one_thing):
        return {}
    named = device._named  # noqa: SLF001 - it has no other way
    fields = device.namedtuple._fields
    return {
        field if field in named else str(n): part for n, (field, part) in enumerate(zip(fields, device, strict=False))
    }


def is_output(device: Any) -> bool:  # noqa: ANN401 - an object without types
    """Tell whether an object can be commanded: its value can be set, and it has no events of its own."""
    value = getattr(type(device), "value", None)
    return getattr(value, "fset", None) is not None and not hasattr(type(device), "when_activated")


def outputs(device: Any) -> dict[str, Any]:  # noqa: ANN401 - an object without types
    """Return those parts of a board that can be commanded."""
    return {name: part for name, part in parts(device).items() if is_output(part)}


def leaves(device: Any) -> Iterator[Any]:  # noqa: ANN401 - objects without types
    """Yield the outputs that a device consists of: itself, when it has no parts."""
    inner = parts(device)
    if not inner:
        yield device
    for part in inner.values():
        if is_output(part):
            yield from leaves(part)


def rests(device: Any) -> bool:  # noqa: ANN401 - an object without types
    """Tell whether null is a value of the device's: a Servo that is let go of, a TonalBuzzer that is quiet."""
    import gpiozero  # noqa: PLC0415 - imported late

    return isinstance(device, gpiozero.Servo | gpiozero.TonalBuzzer)


def differs(value: object) -> bool:
    """Tell whether a value is another one than that of a device that is off."""
    if isinstance(value, str):
        return value.strip().lower() not in _OFF_WORDS
    if isinstance(value, Mapping):
        return any(differs(part) for part in value.values())
    if isinstance(value, list | tuple):
        return any(differs(part) for part in value)
    return bool(value)


def is_on(device: Any) -> bool:  # noqa: ANN401 - an object without types
    """Tell whether a device is on, any part of it. One that blinks is on. Raises what reading it raises."""
    if is_blinking(device):
        return True
    inner = parts(device)
    if inner:
        return any(is_on(part) for part in inner.values() if is_output(part))
    value = device.value
    return value is not None if rests(device) else differs(value)


def is_blinking(device: Any) -> bool:  # noqa: ANN401 - an object without types
    """Tell whether a blink or a pulse goes on in the background, its own or that of the board it is a part of."""
    threads = (getattr(one, "_blink_thread", None) for one in (device, getattr(device, "_controller", None)))
    return any(thread is not None and thread.is_alive() for thread in threads)


def settle(device: Any) -> None:  # noqa: ANN401 - an object without types
    """End what blinks: the device, and each part, which gpiozero would let go on beside the whole board."""
    board = getattr(device, "_controller", None)
    if hasattr(device, "_stop_blink"):
        device._stop_blink()  # noqa: SLF001 - what its verbs call
    if board is not None and not getattr(board, "_blink_leds", True):
        board._stop_blink()  # noqa: SLF001 - no part of it blinks any more: it would find that out at the next blink
    for part in outputs(device).values():
        settle(part)


def turn_off(device: Any) -> None:  # noqa: ANN401 - an object without types
    """Switch a device off: by its own `off`, `stop` or `detach`, or else by its value. So all its parts.

    A part that fails does not keep the others on. Raises what the first one raised.
    """
    failed: list[Exception] = []
    for one, what in ((device, _off), *((part, turn_off) for part in outputs(device).values())):
        try:
            what(one)
        except Exception as error:  # noqa: BLE001 - raised below, when all the others are off
            failed.append(error)
    if failed:
        raise failed[0]


def _off(device: Any) -> None:  # noqa: ANN401 - an object without types
    import gpiozero  # noqa: PLC0415 - imported late

    if not isinstance(device, gpiozero.LEDMultiCharDisplay):  # its `off` is undone by the thread that shows the digits
        for name in ("off", "stop", "detach"):
            method = getattr(device, name, None)
            if callable(method):
                method()
                return
    if is_output(device) or hasattr(device, "simulate"):
        put(device, off_of(device))


def put(device: Any, value: object) -> None:  # noqa: ANN401 - an object without types
    """Give a single output a value. The stand-in of one that only measures what it is told is told that."""
    settable = getattr(type(device), "value", None)
    if getattr(settable, "fset", None) is None and hasattr(device, "simulate"):
        device.simulate(value)
    else:
        device.value = value


def off_of(device: Any) -> Any:  # noqa: ANN401 - whatever the driver's value is
    """Return the value that a device has when it is off. For parts that are no outputs it is None."""
    import gpiozero  # noqa: PLC0415 - imported late

    if isinstance(device, gpiozero.LEDMultiCharDisplay):
        return (" ",) * len(device.plex)
    if isinstance(device, gpiozero.LEDCharDisplay):
        return " "
    if rests(device):
        return None
    inner = {} if isinstance(device, gpiozero.LEDBarGraph) else parts(device)
    if inner:
        return tuple(off_of(part) if is_output(part) else None for part in inner.values())
    return zero(device.value)


def zero(value: object) -> Any:  # noqa: ANN401 - of the kind of the value
    """Return the value of that kind that means off."""
    if isinstance(value, Mapping):
        return {key: zero(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return tuple(zero(part) for part in value)
    if isinstance(value, str):
        return "off" if value.strip().lower() in ("on", "off") else ""
    return type(value)(0) if isinstance(value, bool | int | float) else None
