"""The handlers that are run in AWS's runtime client and here. Each group is a module of acts, picked by the event."""

from __future__ import annotations

DISPATCH = """
def handler(event, context):
    global now
    now = context
    name = event["act"] if isinstance(event, dict) and "act" in event else event
    return ACTS[name]()
"""

REPLIES = """
import collections, dataclasses, datetime, decimal, enum, math, time, typing, uuid
D = decimal.Decimal
Point = collections.namedtuple("Point", "x y")
class Named(typing.NamedTuple):
    a: object
class Whole(enum.IntEnum):
    one = 1
class Text(str, enum.Enum):
    a = "x"
class Other(enum.Enum):
    a = 1
class Int(int):
    __str__ = __repr__ = lambda self: "not me"
class Float(float):
    __str__ = __repr__ = lambda self: "not me"
class Shown(D):
    __str__ = lambda self: "12"
class Record:
    def _asdict(self):
        return {"a": Point(1, D("2.50"))}
class Crooked:
    def _asdict(self):
        return [1]
@dataclasses.dataclass
class Data:
    a: int = 1
class Bytes(bytes):
    pass
def circle():
    a = []
    a.append(a)
    return a
def circle_of_names():
    a = []
    a.append(Point(1, a))
    return a
def deep():
    a = []
    for _ in range(100_000):
        a = [a]
    return a
async def wait():
    return 1
ACTS = {
    "none": lambda: None,
    "true": lambda: True,
    "text": lambda: "text",
    "empty": lambda: [{}, [], (), ""],
    "non-ascii": lambda: {"ключ": "é \\U0001f600 \\u2028 \\x7f"},
    "escapes": lambda: '"\\\\/\\b\\f\\n\\r\\t\\0\\x1f</script>',
    "int": lambda: [0, -1, 2**63, 2**200],
    "huge int": lambda: 10**5000,
    "float": lambda: [0.1 + 0.2, 1e16, 1e-7, -0.0, 1e400],
    "nan": lambda: [math.nan, math.inf, -math.inf],
    "nan key": lambda: {math.nan: 1, math.inf: 2},
    "decimal": lambda: {"a": D("1.10"), "b": [D("1E+2"), D("-0.00")], "c": D("1E-30")},
    "bare decimal": lambda: D("3.140"),
    "decimal nan": lambda: [D("NaN"), D("sNaN"), D("-Infinity"), D("1")],
    "decimal subclass": lambda: [Shown("1")],
    "decimal key": lambda: {D("1"): 1},
    "bytes": lambda: b"\\x00\\xffraw",
    "bytes subclass": lambda: Bytes(b"raw"),
    "nested bytes": lambda: {"a": ["é".encode(), b"x"]},
    "bad nested bytes": lambda: [b"\\xff"],
    "bytes key": lambda: {b"k": 1},
    "bad bytes key": lambda: {b"\\xff": 1},
    "bytearray": lambda: bytearray(b"x"),
    "memoryview": lambda: memoryview(b"x"),
    "tuple": lambda: (1, (2, ())),
    "named tuple": lambda: Point(1, [Point(2, None)]),
    "typed tuple": lambda: Named({"a": Named(D("1.0"))}),
    "named tuple in a tuple": lambda: (1, {"k": (Point(1, 2),)}),
    "asdict": lambda: {"r": Record()},
    "crooked asdict": lambda: Crooked(),
    "struct time": lambda: time.gmtime(0),
    "dict": lambda: collections.OrderedDict(z=1, a=2),
    "counter": lambda: collections.Counter("aab"),
    "keys": lambda: {1: 1, 1.5: 2, True: 3, None: 4, "1": 5, 2**70: 6},
    "tuple key": lambda: {(1, 2): 3},
    "tuple key in a list": lambda: [{(1,): 1}],
    "int subclass": lambda: [Int(7), {Int(8): Int(9)}],
    "float subclass": lambda: [Float(1.5), {Float(2.5): 1}],
    "int enum": lambda: {Whole.one: Whole.one},
    "text enum": lambda: {Text.a: Text.a},
    "enum": lambda: Other.a,
    "bool key": lambda: {False: 0},
    "set": lambda: {1},
    "frozenset": lambda: [frozenset()],
    "datetime": lambda: datetime.datetime(2026, 1, 1),
    "date": lambda: datetime.date(2026, 1, 1),
    "delta": lambda: datetime.timedelta(1),
    "uuid": lambda: uuid.UUID(int=1),
    "complex": lambda: 1j,
    "object": lambda: {"a": object()},
    "generator": lambda: (x for x in [1]),
    "range": lambda: range(3),
    "dict view": lambda: {}.keys(),
    "class": lambda: int,
    "function": lambda: len,
    "dataclass": lambda: Data(),
    "exception": lambda: ValueError("x"),
    "deque": lambda: collections.deque([1]),
    "ellipsis": lambda: ...,
    "circle": circle,
    "circle of names": circle_of_names,
    "deep": deep,
    "set beside a decimal": lambda: [D(1), {1}],
    "after that": lambda: [D(1), "a"],
}
"""

ERRORS = """
import asyncio, decimal, json, subprocess, sys
class Own(Exception):
    pass
class Outer:
    class Inner(ValueError):
        pass
class Told(Exception):
    def __init__(self, a, b):
        super().__init__(a, b)
class Silent(Exception):
    def __str__(self):
        return ""
def fail(error):
    raise error
def chain():
    try:
        1 / 0
    except ZeroDivisionError as error:
        raise KeyError("later") from error
def meanwhile():
    try:
        1 / 0
    except ZeroDivisionError:
        {}["gone"]
def hidden():
    try:
        1 / 0
    except ZeroDivisionError:
        raise Own("alone") from None
def again():
    try:
        1 / 0
    except ZeroDivisionError:
        raise
def noted():
    error = Own("noted")
    error.add_note("a note")
    raise error
def several():
    raise ExceptionGroup("some", [ValueError(1), KeyError("k")])
def lines():
    raise Own("over lines")
def finally_too():
    try:
        raise Own("first")
    finally:
        print("cleaning up")
def in_generator():
    yield 1
    raise Own("inside")
def asserted():
    assert 1 == 2, "sums"
async def coroutine():
    raise Own("awaited")
def endless():
    return endless()
def down(n):
    return down(n - 1) if n else 1 / 0
ACTS = {
    "divide": lambda: 1 / 0,
    "own": lambda: fail(Own("text")),
    "no text": lambda: fail(Own()),
    "silent": lambda: fail(Silent("x")),
    "inner": lambda: fail(Outer.Inner("in")),
    "two arguments": lambda: fail(Told("a", 2)),
    "non-ascii": lambda: fail(Own("größe \\U0001f600")),
    "many lines": lambda: fail(Own("one\\n  two\\n\\n three")),
    "object as text": lambda: fail(Own({"a": 1})),
    "class": lambda: fail(Own),
    "no exception": lambda: fail("text"),
    "chain": chain,
    "meanwhile": meanwhile,
    "hidden": hidden,
    "again": again,
    "noted": noted,
    "several": several,
    "lines": lines,
    "finally": finally_too,
    "generator": lambda: list(in_generator()),
    "assertion": asserted,
    "asyncio": lambda: asyncio.run(coroutine()),
    "repeats": lambda: down(20),
    "endless": endless,
    "key": lambda: {}["missing"],
    "index": lambda: [][0],
    "attribute": lambda: None.x,
    "name": lambda: undefined,
    "type": lambda: 1 + "a",
    "stop": lambda: next(iter([])),
    "json": lambda: json.loads("{"),
    "import": lambda: __import__("nowhere"),
    "decimal": lambda: decimal.Decimal("x"),
    "decode": lambda: b"\\xff".decode(),
    "os": lambda: open("/does/not/exist"),
    "called": lambda: subprocess.run(["false"], check=True),
    "syntax": lambda: exec("a b"),
    "exec": lambda: exec("1/0"),
    "warning": lambda: fail(UserWarning("w")),
    "timeout": lambda: fail(TimeoutError()),
    "memory": lambda: fail(MemoryError()),
    "system": lambda: fail(SystemError("s")),
    "recursion by hand": lambda: fail(RecursionError("too deep")),
    "not implemented": lambda: fail(NotImplementedError("later")),
    "absent": None,
}
"""

LOGS = """
import decimal, logging, sys, warnings
logging.basicConfig(format="not this", level="DEBUG")
logging.warning("while loading")
own = logging.getLogger("own.name")
class Odd:
    def __repr__(self):
        return "odd"
def with_error(how, **more):
    try:
        1 / 0
    except ZeroDivisionError:
        how("failed: %s", "so", **more)
def formatted():
    handler = logging.getLogger().handlers[0]
    before = handler.formatter
    handler.setFormatter(logging.Formatter("%(levelname)s %(aws_request_id)s %(name)s %(message)s\\n"))
    own.error("in another shape")
    handler.setFormatter(before)
def leveled():
    logging.getLogger().setLevel("DEBUG")
    for level in (1, 5, 10, 15, 20, 25, 30, 45, 50, 99):
        logging.log(level, "level %d", level)
    logging.getLogger().setLevel("WARNING")
def attributes():
    seen = []
    class Second(logging.Handler):
        def emit(self, record):
            seen.append([record.aws_request_id, record.tenant_id])
    second = Second()
    logging.getLogger().addHandler(second)
    own.error("x")
    logging.getLogger().removeHandler(second)
    return seen
def forced():
    root = logging.getLogger()
    before = root.handlers[:]
    logging.basicConfig(force=True, format="%(message)s of my own", stream=sys.stdout)
    logging.error("text")
    root.handlers[:] = before
ACTS = {
    "warning": lambda: logging.warning("hello %s %d", "you", 7),
    "info": lambda: logging.info("hidden?"),
    "debug": lambda: logging.debug("hidden?"),
    "critical": lambda: logging.critical("c"),
    "own": lambda: own.error("é \\U0001f600"),
    "many lines": lambda: logging.error("a\\n b\\n"),
    "empty": lambda: logging.error(""),
    "dict": lambda: logging.error({"a": 1, "b": decimal.Decimal("1.5"), "c": Odd()}),
    "dict with arguments": lambda: logging.error("%(a)s", {"a": 1}),
    "object": lambda: logging.error(Odd()),
    "exception": lambda: with_error(logging.exception),
    "exc_info": lambda: with_error(own.warning, exc_info=True),
    "stack": lambda: own.error("s", extra={"stack": 1}),
    "extra": lambda: own.error("x", extra={"device": "pump", "n": 1.5, "odd": Odd(), "none": None}),
    "extra that clashes": lambda: own.error(
        "x", extra={"level": "mine", "requestId": "mine", "location": "mine", "tenantId": "mine"}
    ),
    "named level": lambda: (logging.addLevelName(35, "NOTICE"), logging.log(35, "n"))[0],
    "levels": leveled,
    "formatted": formatted,
    "attributes": attributes,
    "forced": forced,
    "bad arguments": lambda: logging.error("%d", "x"),
    "child": lambda: own.getChild("c").error("x"),
    "handlers": lambda: [
        len(logging.getLogger().handlers),
        logging.getLogger().level,
        logging.getLogger().handlers[0].level,
    ],
    "print": lambda: print("a", "b", 1),
    "stderr": lambda: print("to stderr", file=sys.stderr),
    "context.log": lambda: (now.log("one"), now.log(" two"), now.log({"a": 1}), now.log("\\n"))[0],
    "error": lambda: 1 / 0,
    "error é": lambda: {}["é"],
    "captured": lambda: (
        logging.captureWarnings(True),
        warnings.warn("w", stacklevel=1),
        logging.captureWarnings(False),
    )[0],
    "converter": lambda: [
        logging.Formatter.converter.__name__,
        logging.raiseExceptions,
        logging.lastResort is not None,
    ],
}
"""

OUTPUT = """
import contextlib, io, os, subprocess, sys
def order():
    print("one", end=" ")
    os.write(1, b"two ")
    print("three", end=" ", file=sys.stderr)
    subprocess.run(["echo", "four"])
    sys.stdout.write("five")
    sys.stdout.writelines([" six", "\\n"])
    sys.stdout.buffer.write(b"seven\\n")
    print("eight")
def caught():
    with contextlib.redirect_stdout(io.StringIO()) as held:
        print("held")
    return held.getvalue()
def with_stream():
    with sys.stdout as out:
        print(type(out).__name__)
    print("still open")
ACTS = {
    "order": order,
    "caught": caught,
    "types": lambda: [
        type(sys.stdout).__name__,
        type(sys.stderr).__name__,
        type(sys.stdout.stream).__name__,
        hasattr(sys.stdout, "nothing"),
    ],
    "with": with_stream,
    "attributes": lambda: [sys.stdout.fileno(), sys.stderr.fileno(), sys.stdout.isatty(), sys.stdout.encoding],
    "write": lambda: sys.stdout.write("x\\n"),
    "empty": lambda: print(),
    "carriage": lambda: print("a\\rb"),
    "non-ascii": lambda: print("é \\U0001f600"),
    "input": lambda: sys.stdin.read(),
}
"""

CONTEXT = """
import json, os, sys, time
def shown(thing):
    return [type(thing).__name__, repr(thing), [n for n in dir(thing) if not n.startswith("_")]]
def client():
    held = now.client_context
    return (
        None
        if held is None
        else [shown(held), held.custom, held.env, None if held.client is None else shown(held.client)]
    )
def slots():
    try:
        now.identity.other = 1
    except AttributeError as error:
        return str(error)
def remaining():
    left = now.get_remaining_time_in_millis()
    return [type(left).__name__, 0 < left <= 3000]
ACTS = {
    "repr": lambda: repr(now),
    "names": lambda: shown(now)[2],
    "client": client,
    "identity": lambda: shown(now.identity),
    "remaining": remaining,
    "slots": slots,
    "values": lambda: {n: v for n, v in vars(now).items() if isinstance(v, str | None) and not n.startswith("_")},
    "types": lambda: {n: type(getattr(now, n)).__name__ for n in shown(now)[2]},
    "set": lambda: (setattr(now, "mine", 1), now.mine)[1],
    "w3c": lambda: now.w3c(),
    "trace": lambda: [os.environ.get("_X_AMZN_TRACE_ID"), os.getenv("_X_AMZN_TRACE_ID")],
    "tenant": lambda: now.tenant_id,
    "deadline": lambda: abs(now._epoch_deadline_time_in_ms / 1000 - time.time() - 3) < 1,
    "aws": lambda: {
        n: v
        for n, v in sorted(os.environ.items())
        if (n.startswith(("AWS_", "LAMBDA_", "_H", "TZ"))) and n != "AWS_LAMBDA_RUNTIME_API"
    },
    "places": lambda: [os.getcwd(), sys.path[0] in ("", os.getcwd()), __name__, __file__, os.listdir()],
    "clock": lambda: [time.tzname, time.timezone],
    "event": lambda: None,
}
"""

RAW = "def handler(event, context):\n    return [type(event).__name__, repr(event)]\n"

LOADING = {
    "no dot": ("app", ""),
    "built-in": ("sys.exit", ""),
    "built-in package": ("time.sub.exit", ""),
    "missing": ("nowhere.handler", ""),
    "missing deep": ("pkg/none.handler", ""),
    "no module": (".handler", ""),
    "relative": ("..app.handler", ""),
    "no function": ("app.nothing", "x = 1"),
    "needs": ("app.handler", "import nowhere"),
    "needs a part": ("app.handler", "from json import nothing"),
    "needs, told oddly": ("app.handler", "raise ImportError"),
    "syntax": ("app.handler", "def handler(event, context):\n    return (\n"),
    "indentation": ("app.handler", "def handler(event, context):\nreturn 1\n"),
    "tabs": ("app.handler", "if 1:\n        a = 1\n\tb = 2\n"),
    "null": ("app.handler", "a = '\0'"),
    "encoding": ("app.handler", "# coding: nonsense\n"),
    "syntax inside": ("app.handler", "exec('a b')"),
    "raises": ("app.handler", "def check():\n    raise ValueError('not today')\nprint('loading')\ncheck()\n"),
    "raises é": ("app.handler", "raise KeyError('é')\n"),
    "own error": ("app.handler", "class Own(Exception):\n    pass\nraise Own\n"),
    "recursion": ("app.handler", "import app\napp.handler\n"),
    "name": ("app.handler", "undefined\n"),
}
"""Handler, and the source of `app.py`: what cannot be loaded."""

CALLING = {
    "no function": "handler = 5\n",
    "too few": "def handler(event):\n    return 1\n",
    "too many": "def handler(event, context, more):\n    return 1\n",
    "class": "class handler:\n    def __init__(self, event, context):\n        pass\n",
    "none": "handler = None\n",
}
"""What cannot be called, or gives what cannot be written."""

ODD = """
class Mute(Exception):
    def __str__(self):
        raise RuntimeError
def speak():
    raise Mute
def half():
    raise ValueError("\\ud800")
ACTS = {"mute": speak, "half a letter": lambda: "\\ud800", "half a letter in an error": half}
"""
"""What kills AWS's client (the sandbox is begun anew), and not a worker."""

ENDS = {
    "exit 0": "import sys\ndef handler(event, context):\n    print('going')\n    sys.exit(0)\n",
    "exit 3": "import sys\ndef handler(event, context):\n    sys.exit(3)\n",
    "exit text": "import sys\ndef handler(event, context):\n    sys.exit('why')\n",
    "exit none": "def handler(event, context):\n    raise SystemExit\n",
    "exit big": "def handler(event, context):\n    raise SystemExit(256 + 7)\n",
    "exit()": "def handler(event, context):\n    exit(2)\n",
    "_exit": "import os\ndef handler(event, context):\n    print('half a line', end='')\n    os._exit(5)\n",
    "abort": "import os\ndef handler(event, context):\n    os.abort()\n",
    "kill": "import os\ndef handler(event, context):\n    print('last')\n    os.kill(os.getpid(), 9)\n",
    "interrupt": "def handler(event, context):\n    raise KeyboardInterrupt\n",
    "exit at import": "import sys\nprint('loading')\nsys.exit(4)\n",
    "exit 0 at import": "import sys\nsys.exit()\n",
    "interrupt at import": "raise KeyboardInterrupt\n",
    "own": "class Own(BaseException):\n    pass\ndef handler(event, context):\n    raise Own('out')\n",
    "generator": "def handler(event, context):\n    raise GeneratorExit\n",
    "atexit": "import atexit, sys\natexit.register(print, 'bye')\ndef handler(event, context):\n    sys.exit(1)\n",
}
"""Sources of `app.py` whose process ends."""
