"""The process whose provisioning is cut off: at the n-th call that changes the disk, for n from one on.

    python tests/cloud/provision_subject.py FOLDER CA first|force|full

For each n a child is forked that dies there (or finds the disk full), then one that is let finish. One line of JSON
says what was found. It ends with the first n that is not reached.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
import json
import os
import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from edge_runtime.clock import FakeClock
from edge_runtime.cloud import identity
from edge_runtime.cloud._slots import Slot, Slots
from edge_runtime.cloud.provisioning import Claim, Enrolment, Wish
from edge_runtime.errors import EdgeError
from edge_runtime.standin.certs import Certificates, TlsFiles
from tests.cloud.registrar import Cloud
from tests.identities import Authority

CALLS = ("open", "replace", "fsync", "unlink", "mkdir", "symlink", "rmdir")
WISH = Wish(template="edge-runtime", serial="1234", endpoint="iot.example")
DEAD = 137


def cut(at: int, *, full: bool) -> None:
    """Die before the call of that number, or let it and all later ones find no room."""
    count = itertools.count(1)

    def wrapped(call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - those of the call
            if call.__name__ == "open" and not arguments[1] & (os.O_CREAT | os.O_DIRECTORY):
                return call(*arguments, **options)  # it only reads
            if next(count) >= at:
                if not full:
                    os._exit(DEAD)
                if call.__name__ in {"open", "mkdir", "symlink", "fsync"}:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return call(*arguments, **options)

        return counted

    for name in CALLS:
        setattr(os, name, wrapped(getattr(os, name)))


async def provision(cloud: Cloud, out: Path, claim: Claim | None, *, again: bool) -> str:
    """Run once; return the name of the error, or nothing."""
    try:
        with Slots(out) as slots:
            await Enrolment(slots, WISH, cloud.dial, FakeClock(), say=lambda _: None).run(claim, again=again)
    except EdgeError as error:
        return type(error).__name__
    return ""


def once(cloud: Cloud, out: Path, claim: Claim, *, again: bool = False, at: int = 0, full: bool = False) -> str:
    """Run once, perhaps cut off at a call."""
    if at:
        cut(at, full=full)
    return asyncio.run(provision(cloud, out, claim, again=again))


def life(work: Callable[[], str]) -> tuple[bool, str]:
    """Do it in a child; return whether that was killed, and what it said."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, work().encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as said:
        text = said.read()
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in {0, DEAD}, code
    return code == DEAD, text


def state(out: Path) -> str:
    """Say what `current` leads to."""
    if not (out / "current").exists():
        return "none"
    slot = out / "current"
    try:
        identity.read(slot / "device.pem.crt", slot / "private.pem.key")
        return "whole" if (slot / "thing.json").exists() else "torn"
    except EdgeError as error:
        return str(error)


def keys(out: Path) -> set[bytes]:
    """Return all keys of devices that are there."""
    return {path.read_bytes() for path in out.glob("[0-9]*/private.pem.key")}


def main(folder: Path, ca: Path, how: str) -> None:
    """Go through all the steps."""
    files = TlsFiles(ca, ca.with_name("server.pem"), ca.with_name("server.key"))
    authority = Authority(Certificates(files, files), folder / "work")
    pair = authority.issue("claim")
    claim, again = Claim(pair.certificate, pair.key), how == "force"
    for at in itertools.count(1):
        place = folder / str(at)
        place.mkdir()
        out, cloud = place / "certs", Cloud(authority, place)
        if again:
            life(partial(once, cloud, out, claim))
        before = os.readlink(out / "current") if again else ""  # noqa: PTH115 - as it is written
        killed, error = life(partial(once, cloud, out, claim, again=again, at=at, full=how == "full"))
        after, made = state(out), keys(out)
        done = again and after == "whole" and os.readlink(out / "current") != before  # noqa: PTH115 - same
        _, failed = life(partial(once, cloud, out, claim, again=again and not done))
        assert not failed, failed
        slot = Slot(out / "current")
        with Slots(out) as slots:
            unfinished = slots.unfinished is not None
        report = {
            "at": at,
            "killed": killed,
            "error": error,
            "after": after,
            "thing": slot.read_json("thing.json").get("thing"),
            "pair": state(out) == "whole",
            "key_kept": made <= keys(out),
            "left": sorted(path.name for path in slot.path.iterdir()),
            "unfinished": unfinished,
        }
        sys.stdout.write(json.dumps(report) + "\n")
        shutil.rmtree(place)
        if not killed and not error:
            return


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
