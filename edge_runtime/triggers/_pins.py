"""gpiozero's own threads that look again and again, and what takes their place."""

from __future__ import annotations

import contextlib
from typing import Any

from edge_runtime.pure.smoothing import Smoother

_PATIENCE_S = 1.0


def has_one_pin(device: Any) -> bool:  # noqa: ANN401 - an object without types
    """Tell whether a device is an input with one pin whose edges are its events."""
    from gpiozero import DigitalInputDevice  # noqa: PLC0415 - imported late

    return isinstance(device, DigitalInputDevice)


def buttons(device: Any) -> dict[str, Any]:  # noqa: ANN401 - objects without types
    """Return the buttons of a ButtonBoard by the names they were given, or by their numbers; none for another."""
    from gpiozero import ButtonBoard  # noqa: PLC0415 - imported late

    if not isinstance(device, ButtonBoard):
        return {}
    fields = enumerate(device.namedtuple._fields)  # gpiozero makes a name where none was given
    return {str(n) if name == f"device_{n}" else name: device[n] for n, name in fields}


def stop_hold_thread(device: Any) -> None:  # noqa: ANN401 - an object without types
    """End the thread with which a Button asks itself ten times a second whether it is held: that is done here."""
    thread = getattr(device, "_hold_thread", None)
    if thread is not None:
        thread.stopping.set()


class Smoothing:
    """A smoothing input whose thread looks at nothing but its pin, ten or a hundred times a second.

    That thread is ended here, and started again by `close`. In between the device's `value` is kept right by `fill`,
    but for the values on the way from 0 to 1.
    """

    def __init__(self, device: Any) -> None:  # noqa: ANN401 - an object without types
        self._device = device
        queue = device._queue  # noqa: SLF001 - gpiozero has no public way to stop it
        queue.stopping.set()
        with contextlib.suppress(RuntimeError):  # it does not end at once, or was never started
            queue.join(_PATIENCE_S)

    @staticmethod
    def of(device: Any) -> Smoothing | None:  # noqa: ANN401 - an object without types
        """Return the smoothing of a MotionSensor or LineSensor; None for all other devices.

        Others that smooth measure more than their pin: the time of an echo, or of a charge.
        """
        from gpiozero import GPIODevice, SmoothedInputDevice  # noqa: PLC0415 - imported late

        if not isinstance(device, SmoothedInputDevice) or type(device)._read is not GPIODevice._read:  # noqa: SLF001 - it tells what is measured
            return None
        # Without a period it reads as fast as it can: there are no samples to be reckoned.
        return Smoothing(device) if device._queue.sample_wait > 0 else None  # noqa: SLF001 - as above

    def smoother(self, level: int, start_ns: int) -> Smoother:
        """Return the state of the device, whose pin has that level."""
        queue = self._device._queue  # noqa: SLF001 - as above
        count = queue.queue.maxlen
        active = [queue.average([1] * n + [0] * (count - n)) > self._device.threshold for n in range(count + 1)]
        self.fill(level)
        return Smoother(active, queue.sample_wait, level=level, start_ns=start_ns)

    def fill(self, level: int) -> None:
        """Let the device's `value` be this level."""
        queue = self._device._queue  # noqa: SLF001 - as above
        queue.queue.extend([level] * queue.queue.maxlen)
        queue.full.set()

    def close(self) -> None:
        """Let the device look by itself again."""
        old = self._device._queue  # noqa: SLF001 - as above
        if old is not None:
            new = type(old)(self._device, old.queue.maxlen, old.sample_wait, old.partial, old.average, old.ignore)
            self._device._queue = new  # noqa: SLF001 - as above
            new.start()
