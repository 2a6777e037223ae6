"""One mosquitto as a child of this process: from its start until it is gone.

It ends with the host, however that ends: the kernel sends it SIGTERM then, and it saves what it holds. Who starts the
next one waits until it has let go of the lock.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import shutil
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from edge_runtime.app import LocalBroker
from edge_runtime.clock import Clock
from edge_runtime.errors import ConfigError, HostError
from edge_runtime.host._broker_folder import BrokerFolder, User
from edge_runtime.pure import mosquitto
from edge_runtime.pure.bucket import Bucket
from edge_runtime.threads import in_thread

_log = logging.getLogger("edge_runtime.broker")
PATHS = ("/usr/sbin", "/usr/local/sbin")
"""Where Debian puts it, and where the path of a user does not lead."""
_START_S = 30.0
_LET_GO_S = 10.0
_END_S = 10.0
_AGAIN_S = 0.5
_RELOAD_S = 10.0
_LONGEST_LINE = 1 << 20
_LAST_LINES = 50
_LINES_PER_S, _MOST_LINES = 1.0, 100.0
_KEPT = ("PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH")


class Child:
    """Start it once; then wait for its end, or stop it."""

    def __init__(
        self,
        spec: LocalBroker,
        folder: BrokerFolder,
        clock: Clock,
        *,
        paths: Sequence[str] = PATHS,
        let_go_s: float = _LET_GO_S,
        reload_s: float = _RELOAD_S,
    ) -> None:
        """`paths` are looked through after those of the environment; `let_go_s` is what another one gets to end in.

        `reload_s` is how long `reload` waits for its word.
        """
        self._paths = paths
        self._let_go_s = let_go_s
        self._reload_s = reload_s
        self.version = ""
        self.user: User | None = None
        """As whom it runs; None: as this process."""
        self._spec = spec
        self._folder = folder
        self._clock = clock
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._last: deque[str] = deque(maxlen=_LAST_LINES)
        self.joined = asyncio.Event()
        """Set when the host has connected to it to hear what devices publish."""
        self._ready = asyncio.Event()
        self._reloaded = asyncio.Event()
        self._quota = Bucket(_LINES_PER_S, _MOST_LINES)

    @property
    def pid(self) -> int:
        """Its process id, 0 while there is none."""
        return self._process.pid if self._process is not None and self._process.returncode is None else 0

    async def start(self, hosts: list[str]) -> None:
        """Write its files, start it, and return when it listens.

        Raises: ConfigError, HostError, StoreError, with what mends it.
        """
        program = await in_thread("broker.find", self._find)
        now_s = self._clock.now().wall_ns / 1e9
        await in_thread("broker.open", self._folder.open)
        lock = await self._lock()
        try:
            self.user = await in_thread("broker.files", partial(self._folder.lay_out, self._spec, hosts, now_s))
            self._process = await self._spawn(program, lock)
        finally:
            os.close(lock)  # the child has its own: as long as it lives, the file is locked
        self._reader = asyncio.create_task(self._read(self._process), name="broker.log")
        try:
            async with asyncio.timeout(_START_S):
                await self._listens()
        except BaseException as error:
            await self.stop()
            if isinstance(error, TimeoutError):
                text = f"mosquitto does not say within {_START_S:g} s that it listens"
                raise HostError(text, hint="its log tells more: EDGE_LOG=debug edge run") from error
            raise

    async def ended(self) -> str:
        """Return when it has ended by itself, with how."""
        assert self._process is not None  # noqa: S101 - for the type checker
        code = await self._process.wait()
        await self._read_out()
        said = f": {self._last[-1]}" if self._last else ""
        return f"mosquitto {f'was killed by signal {-code}' if code < 0 else f'ended with status {code}'}{said}"

    async def reload(self) -> None:
        """Have it read again who may connect, and return when it says so. Who may no more is cut off then.

        When it says nothing for long, that is a warning: another version may have other words for it.
        """
        if not self.pid:
            return  # it reads the files when it starts
        self._reloaded.clear()
        self._signal(signal.SIGHUP)
        try:
            async with asyncio.timeout(self._reload_s):
                await self._reloaded.wait()
        except TimeoutError:
            _log.warning("mosquitto does not say within %g s that it has read who may connect", self._reload_s)

    async def stop(self) -> None:
        """End it, and return when it is gone; it saves what it holds. Safe to call twice."""
        process = self._process
        if process is None:
            return
        ending = asyncio.ensure_future(process.wait())
        try:
            for _ in range(int(_END_S / _AGAIN_S)):
                # More than once: a signal that comes before its main loop begins is forgotten.
                self._signal(signal.SIGTERM)
                if (await asyncio.wait([ending], timeout=_AGAIN_S))[0]:
                    break
        finally:
            if not ending.done():
                self._signal(signal.SIGKILL)
        await ending
        await self._read_out()

    # -- the start -----------------------------------------------------------------------------------------------

    def _find(self) -> str:
        """Return the program. Raises: ConfigError when there is none, or too old a one."""
        program = shutil.which("mosquitto", path=os.pathsep.join([os.environ.get("PATH", os.defpath), *self._paths]))
        if program is None:
            raise ConfigError(
                "the app declares a broker, and mosquitto is not installed",
                hint="sudo apt install mosquitto; its own service on port 1883 does not matter here",
            )
        try:
            done = subprocess.run([program, "-h"], capture_output=True, timeout=_START_S, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ConfigError(
                f"{program} cannot be run: {error}", hint="sudo apt install --reinstall mosquitto"
            ) from error
        self.version = ".".join(str(part) for part in mosquitto.version(done.stdout.decode(errors="replace")))
        return program

    async def _lock(self) -> int:
        """Return the locked file, once no other mosquitto runs in the folder. Raises: HostError."""
        path = self._folder.path / "lock"
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise HostError(f"{path} cannot be used: {error.strerror or error}") from error
        try:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return handle
            if await self._locked(handle):
                return handle
            with contextlib.suppress(ValueError, ProcessLookupError, PermissionError):
                os.kill(int(os.pread(handle, 20, 0)), signal.SIGKILL)  # of a host that was killed; it hangs
            if await self._locked(handle):
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)
        raise HostError(f"another mosquitto holds {path}", hint=f"see which: cat {path}")

    async def _locked(self, handle: int) -> bool:
        # Of a copy: a thread that waits for ever must not hold a number that is used for something else by then.
        copy = os.dup(handle)

        def lock() -> None:
            try:
                fcntl.flock(copy, fcntl.LOCK_EX)
            finally:
                os.close(copy)

        locking = in_thread("broker.lock", lock)
        await asyncio.wait([locking], timeout=self._let_go_s)
        return locking.done() and locking.exception() is None

    async def _spawn(self, program: str, lock: int) -> asyncio.subprocess.Process:
        user = self.user or (-1, -1)
        try:
            return await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", str(Path(__file__).with_name("_launch_broker.py"))),
                *(str(number) for number in (lock, os.getpid(), *user)),
                *(program, "-c", "mosquitto.conf"),
                cwd=self._folder.run,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                limit=_LONGEST_LINE,
                env={name: os.environ[name] for name in _KEPT if name in os.environ},
                pass_fds=(lock,),
                start_new_session=True,  # Ctrl-C is for the host, which ends it last
            )
        except OSError as error:
            raise HostError(f"mosquitto cannot be started: {error}") from error

    async def _listens(self) -> None:
        """Return when it does. Raises: HostError when it has ended instead, TimeoutError."""
        assert self._process is not None  # noqa: S101 - for the type checker
        either = [
            asyncio.create_task(self._ready.wait(), name="broker.ready"),
            asyncio.create_task(self._process.wait(), name="broker.ended"),
        ]
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in either:
                task.cancel()
            await asyncio.gather(*either, return_exceptions=True)
        if self._process.returncode is not None:
            await self._read_out()
            why, fix = mosquitto.why_ended([*self._last], self._spec, str(self._folder.path))
            raise HostError(why, hint=fix)

    # -- its log -------------------------------------------------------------------------------------------------

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None  # noqa: S101 - for the type checker
        while True:
            try:
                raw = await process.stderr.readline()
            except ValueError:
                continue  # a line of a megabyte: what a client has called itself
            if not raw:
                return
            line = "".join(c if c.isprintable() else "?" for c in raw.decode(errors="replace").rstrip())
            self._last.append(line)
            if mosquitto.is_ready(line):
                self._ready.set()
            elif line.startswith("Reloading config"):
                self._reloaded.set()
            elif mosquitto.has_joined(line, mosquitto.READER):
                self.joined.set()
            serious = mosquitto.is_serious(line)
            # Whoever is on the network can have it write lines.
            if not serious or not self._quota.take(1.0, self._clock.now().mono_ns / 1e9):
                _log.log(logging.WARNING if serious else logging.DEBUG, "%s", line)

    async def _read_out(self) -> None:
        if self._reader is not None:
            await asyncio.gather(self._reader, return_exceptions=True)

    def _signal(self, number: int) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)
