"""The one tree of errors.

    EdgeError
    ├── ConfigError (ValueError)            an app file, an option or a name is wrong
    ├── NotFoundError (LookupError)         no object of that name
    ├── LimitError (ValueError)             a topic or payload breaks a quota
    ├── QueueFullError (BlockingIOError)    nothing was accepted: the queue is full and may not drop
    ├── StoreError (OSError)                the disk or the database failed; nothing was accepted
    ├── HostError (ConnectionError)         the running host cannot be reached, or there is one already
    ├── FunctionError (RuntimeError)        a handler failed
    ├── DeniedError (PermissionError)       a function did what the app does not allow it
    ├── DeviceError (OSError)               a sensor gives no reading, or an output does not obey
    └── LinkError (ConnectionError)         the broker cannot be reached: try again later
        └── RefusedError (PermissionError)  the broker refused for good: do not try again

Each class also inherits the builtin that a reader would catch. Errors of other libraries are mapped once, at the
border where they arise.
"""

from __future__ import annotations


class EdgeError(Exception):
    """The root. `str()` says what failed and which object; `hint` is what to do or run next, or empty."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class ConfigError(EdgeError, ValueError):
    """What a person wrote is wrong."""


class NotFoundError(EdgeError, LookupError):
    """There is no object of that name."""


class LimitError(EdgeError, ValueError):
    """A topic or a payload breaks a quota of AWS IoT Core or of this runtime."""


class QueueFullError(EdgeError, BlockingIOError):
    """A queue that may not drop is full. Nothing of the call was accepted."""


class StoreError(EdgeError, OSError):
    """The disk or the database failed. Nothing of the call was accepted."""


class HostError(EdgeError, ConnectionError):
    """The running host cannot be reached, or another one has the state folder."""


class FunctionError(EdgeError, RuntimeError):
    """A handler raised, timed out, or its worker died. `kind` is the `errorType` a Lambda caller would see."""

    def __init__(self, message: str, *, kind: str = "Unhandled", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.kind = kind


class DeniedError(EdgeError, PermissionError):
    """A function used a topic, a function or a device that `allow` in the app does not name. Nothing was done."""


class DeviceError(EdgeError, OSError):
    """A sensor gives no reading, or an output does not obey: it may be asked again."""


class LinkError(EdgeError, ConnectionError):
    """The cloud broker cannot be reached or went away. What was not acknowledged is to be sent again.

    `answered`: there is somebody who said no, in words or by hanging up at once; it is not the network.
    `hung_up`: a connection that stood was closed, perhaps for what was just done on it; it is no silence.
    """

    def __init__(self, message: str, *, hint: str = "", answered: bool = False, hung_up: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.answered = answered
        self.hung_up = hung_up


class RefusedError(LinkError, PermissionError):
    """The broker refused this message for good (an MQTT 5 reason code of 0x80 or more that a retry cannot mend)."""

    def __init__(self, message: str, *, code: int = 0x80, hint: str = "", answered: bool = True) -> None:
        super().__init__(message, hint=hint, answered=answered)
        self.code = code
