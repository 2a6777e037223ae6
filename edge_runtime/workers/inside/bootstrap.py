"""The worker: loads the handler, then takes one event after the other. Runs unchanged AWS Lambda Python handlers."""

from __future__ import annotations

import _sitebuiltins
import builtins
import contextlib
import importlib
import logging
import os
import resource
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn, Self, TextIO, cast

from . import faults
from .codec import Encoder, decode_event, encode_error
from .context import ClientContext, LambdaContext, apply_json, common_values
from .frames import JSON_CONTEXT, NO_CONTEXT, READY, REPLY, REQUEST, SOCKET, SUBJECT

Handler = Callable[[object, LambdaContext], object]

_TRACE = "_X_AMZN_TRACE_ID"
_JSON = "application/json"
_UTC = ":UTC"
_REHEARSALS = 50
_CHUNK = 65536
_KIND_BYTES = 1000
_LONG_NS = 1_000_000
_NOW_AND_THEN = 63  # one in 64, the first frame among them
_OLD = 12  # the first Python 3 minor version whose runtime writes non-ASCII text as it is


class _Logs(logging.Handler):
    """The root logger's handler. It writes to whatever `sys.stdout` is at the time."""

    request_id = ""
    tenant_id: str | None = None

    def emit(self, record: logging.LogRecord) -> None:
        record.aws_request_id = self.request_id
        record.tenant_id = self.tenant_id
        sys.stdout.write(self.format(record))


class Unbuffered:
    """A text stream that keeps nothing back, as `sys.stdout` and `sys.stderr` in AWS.

    What was printed before a crash or a timeout is not lost, and stays in order with what children print.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave it open."""

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the stream has
        return getattr(self.stream, name)

    def write(self, text: str) -> None:
        """Write a text at once."""
        self.stream.write(text)
        self.stream.flush()

    def writelines(self, lines: Iterable[str]) -> None:
        """Write texts, all at once."""
        self.stream.writelines(lines)
        self.stream.flush()


class _State:
    """What changes while a worker runs."""

    marked = False
    """The last invocation had a trace id or a tenant, which the next must not see."""
    forked = False
    peak_kb = 0
    escape = False
    """The runtime writes non-ASCII text as escapes."""
    json = False
    """The log is JSON."""

    def note_fork(self) -> None:
        self.forked = True


_logs = _Logs()
_state = _State()


def rehearse() -> None:
    """Do in the zygote, once for all workers, what each would do by itself on memory of its own."""
    os.environ["TZ"] = _UTC
    time.tzset()
    _prepare_output()
    _prepare_logging()
    _add_exit()
    common = common_values(os.environ)
    encoder = Encoder(escape=True)
    for _ in range(_REHEARSALS):  # the interpreter rewrites code that runs often: in shared memory from here on
        context = LambdaContext(common, "", 0)
        encoder.encode(_event(context, SUBJECT, b"a", b'{"a": [1, 2.5, "b", null]}'))
        REPLY.pack(*REQUEST.unpack(REQUEST.pack(1, 2, 3, 4, 5, 6))[:5])
        _flush()
    del os.environ["TZ"]


def _prepare_output() -> None:
    sys.stdout = Unbuffered(sys.stdout)  # AWS's is no TextIO either
    sys.stderr = Unbuffered(sys.stderr)


def _prepare_logging() -> None:
    # With a handler at the root, `logging.basicConfig()` does nothing, as in AWS.
    logging.Formatter.converter = time.gmtime
    layout = "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s\n"
    _logs.setFormatter(logging.Formatter(layout, "%Y-%m-%dT%H:%M:%S"))
    logging.getLogger().addHandler(_logs)


def resolve(handler: str) -> Handler:
    """Return the function that a handler text (`dir/pkg.mod.func`) names.

    Raises: Fault; anything else that the module's own code raises.
    """
    try:
        module_name, name = handler.rsplit(".", 1)
    except ValueError as error:
        raise faults.Fault(faults.MALFORMED_HANDLER, f"Bad handler '{handler}': {error}") from error
    if module_name.split(".")[0] in sys.builtin_module_names:
        text = f"Cannot use built-in module {module_name} as a handler module"
        raise faults.Fault(faults.BUILT_IN_CONFLICT, text)
    try:
        module = importlib.import_module(module_name.replace("/", "."))
    except ImportError as error:
        text = f"Unable to import module '{module_name}': {faults.text_of(error)}"
        raise faults.Fault(faults.IMPORT_MODULE, text) from error
    except SyntaxError as error:
        text = f"Syntax error in module '{module_name}': {error}"
        trace = [f'  File "{error.filename}" Line {error.lineno}\n    {error.text}']
        raise faults.Fault(faults.SYNTAX, text, trace) from error
    try:
        return cast("Handler", getattr(module, name))
    except AttributeError as error:
        text = f"Handler '{name}' missing on module '{module_name}'"
        raise faults.Fault(faults.HANDLER_NOT_FOUND, text) from error


def run(spec: Mapping[str, Any]) -> NoReturn:
    """Be a worker until the host closes the socket.

    `spec`: handler, root (the task root), environment (all of it), opt (the folder of the layers, if there are any).
    """
    began = time.monotonic_ns()
    try:
        _settle_in(spec["root"], spec["environment"])
        search_path(spec["root"], spec.get("opt"), spec["environment"].get("PYTHONPATH"))
        handler = resolve(spec["handler"])
    except Exception as error:  # noqa: BLE001 - whatever the module's code raises is the function's init error
        fault = faults.error_object(error, "")
        _write_log(fault)
        _flush()
        _send(READY, encode_error(fault, escape=_state.escape), _kind(fault), time.monotonic_ns() - began)
        sys.exit(1)
    _flush()
    _send(READY, b"", b"", time.monotonic_ns() - began)
    _serve(handler)


def _settle_in(root: str, environment: Mapping[str, str]) -> None:
    # The zygote has cleared its own. Not `update`: it asks abstract base classes, which costs memory.
    for name, value in environment.items():
        os.environ[name] = value
    if environment.get("TZ") != _UTC:
        time.tzset()
    version = environment.get("AWS_EXECUTION_ENV", "").rpartition("python3.")[2]
    _state.escape = not version.isdigit() or int(version) < _OLD
    if environment.get("AWS_LAMBDA_LOG_FORMAT", "").upper() == "JSON":
        logs = importlib.import_module(f"{__package__}.logs")
        _logs.setFormatter(logs.JsonFormatter())
        _state.json = True
    level = environment.get("AWS_LAMBDA_LOG_LEVEL", "")
    level = "DEBUG" if level == "TRACE" else level.upper()
    if level in logging.getLevelNamesMapping():
        logging.getLogger().setLevel(level)
    os.chdir(root)
    os.register_at_fork(after_in_child=_state.note_fork)


def search_path(root: str, opt: str | None, python_path: str | None) -> None:
    """Put a function's folders before Python's own, in AWS's order: the task root, then the layers.

    A `PYTHONPATH` stands in for the layers. `.pth` files are read and native libraries found. Source: `bootstrap.py` of
    AWS's Python images.
    """
    if python_path is not None:
        added = [os.path.join(root, folder) for folder in python_path.split(":") if folder]  # noqa: PTH118 - see faults
        sites = [root]
    else:
        python = f"{opt}/python"
        packages = f"{python}/lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
        added = [packages, python] if opt else []
        sites = [root, *added]
    sys.path[:0] = [root, *added]
    for folder in sites:
        if any(name.endswith(".pth") for name in _names(folder)):
            importlib.import_module("site").addsitedir(folder)
    libraries = [f"{opt}/lib"] if opt else []
    for folder in (root, f"{root}/lib", *libraries):
        found = [f"{folder}/{name}" for name in _names(folder) if name.startswith("lib") and ".so" in name]
        if found:
            importlib.import_module(f"{__package__}.native").load(found)


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 - see faults
    except OSError:  # most functions and layers have no such folder
        return []


def _add_exit() -> None:
    # What the `site` module adds to an ordinary interpreter, and handlers use.
    for name in ("exit", "quit"):
        setattr(builtins, name, _sitebuiltins.Quitter(name, "Ctrl-D (i.e. EOF)"))


def _serve(handler: Handler) -> NoReturn:
    # Flat, and without what can be left out: after a switch of processes nothing is in the processor's caches, and each
    # further function costs several times what it would in a loop of its own.
    encode = Encoder(escape=_state.escape).encode
    common, head, read, clock = common_values(os.environ), REQUEST.size, os.read, time.monotonic_ns
    while True:
        frame = read(SOCKET, _CHUNK)
        if len(frame) < head:
            sys.exit(0)  # the host has closed
        began = clock()
        serial, payload, extra, name, kind, deadline = REQUEST.unpack_from(frame)
        if len(frame) < (end := head + name + extra + payload):
            frame = _whole(frame, end)
        body = head + name
        _logs.request_id = request_id = frame[head:body].decode()
        context = LambdaContext(common, request_id, deadline)
        error = b""
        try:
            if kind == NO_CONTEXT and not _state.marked:
                event = decode_event(frame[body:])
            else:
                event = _event(context, kind, frame[body : body + extra], frame[body + extra :])
            reply = encode(handler(event, context))
        except Exception as exc:  # noqa: BLE001 - what a handler raises is its answer
            fault = faults.error_object(exc, request_id)
            _write_log(fault)
            reply, error = encode_error(fault, escape=_state.escape), _kind(fault)
        _flush()
        if _state.forked:
            os._exit(0)  # the handler forked, and this is the child: the answer is the parent's to give
        _send(serial, reply, error, clock() - began)


def _event(context: LambdaContext, kind: int, extra: bytes, payload: bytes) -> object:
    content_type, trace, tenant = _JSON, "", None
    if kind == SUBJECT:
        context.client_context = ClientContext({"subject": extra.decode()})
    elif kind == JSON_CONTEXT:
        content_type, trace = apply_json(context, extra)
        tenant = context.tenant_id
    if trace:
        os.environ[_TRACE] = trace
    elif _state.marked:
        os.environ.pop(_TRACE, None)
    _logs.tenant_id = tenant
    _state.marked = bool(trace or tenant)
    return decode_event(payload) if content_type == _JSON else payload


def _whole(start: bytes, size: int) -> bytes:
    frame = bytearray(size)
    frame[: len(start)] = start
    view, have = memoryview(frame), len(start)
    while have < size:
        got = os.readv(SOCKET, [view[have:]])
        if not got:
            sys.exit(0)
        have += got
    return bytes(frame)


def _write_log(fault: dict[str, object]) -> None:
    if _state.json:
        text = importlib.import_module(f"{__package__}.logs").error_line(fault, escape=_state.escape)
    else:
        text = faults.log_text(fault)
    # A handler may have closed its output: the error still is the answer.
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stdout.write(text.encode(errors="backslashreplace").decode())


def _flush() -> None:
    # What was written to these streams directly. What cannot be flushed is the handler's loss, as above.
    try:
        sys.__stdout__.flush()  # type: ignore[union-attr]  # they exist: the host gave the descriptors
        sys.__stderr__.flush()  # type: ignore[union-attr]  # as above
    except (OSError, ValueError, AttributeError):
        return


def _kind(fault: dict[str, object]) -> bytes:
    return str(fault["errorType"]).encode(errors="backslashreplace")[:_KIND_BYTES]


def _send(serial: int, payload: bytes, kind: bytes, busy_ns: int) -> None:
    # Asking for the peak costs as much as a small handler, so a fast one's is asked for now and then.
    if busy_ns > _LONG_NS or not serial & _NOW_AND_THEN:
        _state.peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    frame = REPLY.pack(serial, len(payload), _state.peak_kb, len(kind), busy_ns) + kind + payload
    sent = os.write(SOCKET, frame)
    while sent < len(frame):
        sent += os.write(SOCKET, memoryview(frame)[sent:])
