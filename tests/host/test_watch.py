"""Hot reload: what counts as a change, and what it sets off."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from edge_runtime.app import App, Function
from edge_runtime.errors import HostError
from edge_runtime.host import _changes
from edge_runtime.host._changes import Compared, Places, Told, bursts
from edge_runtime.host.watch import Reloader
from edge_runtime.loaders import OVERLAY
from edge_runtime.model import Result

Watched = Told | Compared
MOST_QUEUED = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())


@pytest.fixture
def code(tmp_path: Path) -> Path:
    folder = tmp_path / "site" / "code"
    (folder / "lib").mkdir(parents=True)
    (folder / "app.py").write_text("1")
    return folder


@contextlib.contextmanager
def watching(kind: str, *roots: Path, without: Path | None = None) -> Iterator[Watched]:
    places = Places(roots, without)
    watched: Watched = Told(places) if kind == "told" else Compared(places, every_s=0.01)
    try:
        yield watched
    finally:
        watched.close()


both = pytest.mark.parametrize("kind", ["told", "compared"])


async def seen(watched: Watched) -> set[Path]:
    async with asyncio.timeout(10):
        return await watched.changed()


def replace_file(path: Path) -> None:
    new = path.with_name("new~")
    new.write_text("22")
    new.replace(path)


def replace_folder(folder: Path) -> None:
    fresh = folder.with_name("fresh")
    fresh.mkdir()
    (fresh / "app.py").write_text("333")
    folder.rename(folder.with_name("before"))
    fresh.rename(folder)


@both
@pytest.mark.parametrize(
    "change",
    [
        lambda code: (code / "app.py").write_text("22"),
        lambda code: replace_file(code / "app.py"),
        lambda code: (code / "lib" / "new.py").write_text("1"),
        lambda code: (code / "app.py").unlink(),
        lambda code: (code / "link.py").symlink_to("app.py"),
        lambda code: os.link(code / "app.py", code / "same.py"),
        replace_folder,
    ],
    ids=["write", "rename-over", "new-below", "delete", "symlink", "hard-link", "whole-folder"],
)
async def test_a_save_is_seen(kind: str, change: object, code: Path) -> None:
    with watching(kind, code) as watched:
        change(code)  # type: ignore[operator]  # one of the functions above
        assert await seen(watched) == {code}


@both
async def test_what_is_made_later_is_watched_too(kind: str, code: Path) -> None:
    with watching(kind, code) as watched:
        (code / "fresh" / "deep").mkdir(parents=True)
        (code / "fresh" / "deep" / "a.py").write_text("1")
        assert await seen(watched) == {code}
        replace_folder(code)
        assert await seen(watched) == {code}
        (code / "app.py").write_text("4444")
        assert await seen(watched) == {code}


@both
async def test_what_is_no_code_is_left_out(kind: str, code: Path) -> None:
    state = code / "state"
    for folder in (code / "__pycache__", code / ".git", state):
        folder.mkdir()
    with watching(kind, code, without=state) as watched:
        names = ["__pycache__/app.pyc", ".git/index", "state/queue.db", ".app.py.swp", "app.py~", "4913", "#app.py#"]
        for name in names:
            (code / name).write_text("x")
        (code.parent / "other.py").write_text("x")
        (code / "app.py").write_text("22")
        assert await seen(watched) == {code}
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await watched.changed()
        for name in names:
            (code / name).write_text("yy")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await watched.changed()


@both
async def test_a_file_is_watched_by_its_name(kind: str, code: Path) -> None:
    archive, app_file = code.parent / "code.zip", code.parent / "edge.yaml"
    app_file.write_text("thing: a\n")
    with watching(kind, archive, app_file) as watched:
        archive.write_text("1")  # it was not there
        assert await seen(watched) == {archive}
        replace_file(app_file)
        assert await seen(watched) == {app_file}


async def test_a_burst_is_one() -> None:
    class Busy:
        """Tells of something every turn of the loop, for a while."""

        def __init__(self) -> None:
            self.left = [{Path("a")}, {Path("b")}, {Path("a")}]

        async def changed(self) -> set[Path]:
            if not self.left:
                await asyncio.get_running_loop().create_future()
            return self.left.pop()

    stream: AsyncIterator[set[Path]] = bursts(Busy(), quiet_s=0.01)  # type: ignore[arg-type]  # a fake
    assert await anext(stream) == {Path("a"), Path("b")}


async def test_what_never_rests_is_reported_all_the_same() -> None:
    class Endless:
        async def changed(self) -> set[Path]:
            await asyncio.sleep(0.001)
            return {Path("a")}

    async with asyncio.timeout(10):
        assert await anext(bursts(Endless())) == {Path("a")}  # type: ignore[arg-type]  # a fake


async def test_too_many_changes_at_once_are_a_change_of_everything(code: Path) -> None:
    with watching("told", code) as watched:
        assert isinstance(watched, Told)
        if MOST_QUEUED > 100_000:
            pytest.skip("this kernel keeps too many changes for a quick test")
        for number in range(MOST_QUEUED // 2 + 2):  # two kinds of change, so that none is joined to the one before
            (code / f"{number % 2}.py").write_text("")
            (code / f"{number % 2}.py").unlink()
        assert await seen(watched) == {code}


def test_without_inotify_files_are_compared(
    code: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Missing:
        """The C library of a system without inotify."""

    monkeypatch.setattr("ctypes.CDLL", lambda *_, **__: Missing())
    assert isinstance(_changes.watch(Places([code])), Compared)
    assert "this system has no inotify" in caplog.text


class FakePool:
    """Notes what is refreshed."""

    def __init__(self, result: Result | HostError | None = None) -> None:
        self.result = result or Result(b"")
        self.refreshed: asyncio.Queue[str] = asyncio.Queue()

    async def refresh(self, name: str) -> Result:
        """Do as told."""
        self.refreshed.put_nowait(name)
        if isinstance(self.result, HostError):
            raise self.result
        return self.result


@contextlib.asynccontextmanager
async def reloading(app: App, pool: FakePool, caplog: pytest.LogCaptureFixture) -> AsyncIterator[asyncio.Queue[App]]:
    """Reload while the block runs; what succeeds the app comes through the queue."""
    caplog.set_level(logging.INFO)
    apps: asyncio.Queue[App] = asyncio.Queue()
    task = asyncio.create_task(Reloader(app, app.base / "edge.yaml", app.base / ".edge", pool, apps.put_nowait).run())
    try:
        await logged(caplog, "watching the code of")
        yield apps
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def logged(caplog: pytest.LogCaptureFixture, words: str) -> None:
    async with asyncio.timeout(20):
        while words not in caplog.text:  # noqa: ASYNC110 - a log has no event
            await asyncio.sleep(0.005)


def declared(code: Path) -> App:
    layer = code.parent / "layer.zip"
    first = Function("f", code, "app.handler")
    return App("a", code.parent, functions=(first, replace(first, name="g", layers=(layer,))))


async def test_the_functions_whose_code_it_is_are_reloaded(code: Path, caplog: pytest.LogCaptureFixture) -> None:
    pool = FakePool()
    async with reloading(declared(code), pool, caplog), asyncio.timeout(10):
        (code / "app.py").write_text("22")
        assert sorted([await pool.refreshed.get(), await pool.refreshed.get()]) == ["f", "g"]
        (code.parent / "layer.zip").write_text("x")
        assert await pool.refreshed.get() == "g"
        await logged(caplog, "g has changed and was reloaded in")
    assert pool.refreshed.empty()


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (Result(b'{"errorMessage": "no sun"}', "OSError"), "f has changed and does not start: OSError: no sun"),
        (Result(b"[]", "Odd"), "f has changed and does not start: Odd"),
        (HostError("closing"), "f has changed and was not reloaded: closing"),
    ],
)
async def test_what_goes_wrong_is_logged(
    result: Result | HostError, words: str, code: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with reloading(declared(code), FakePool(result), caplog):
        (code / "app.py").write_text("22")
        await logged(caplog, words)


async def test_an_app_file_succeeds_when_it_is_right(code: Path, caplog: pytest.LogCaptureFixture) -> None:
    pool = FakePool()
    async with reloading(declared(code), pool, caplog) as apps, asyncio.timeout(20):
        (code.parent / "edge.yaml").write_text("thing: a\nfoo: 1\n")
        await logged(caplog, "edge.yaml:2: foo: unknown key")
        assert apps.empty()
        (code.parent / ".edge").mkdir()
        (code.parent / ".edge" / OVERLAY).write_text('{"strict": "true", "thing": "c"}')
        (code.parent / "edge.yaml").write_text("thing: b\n")
        assert (await apps.get()).thing == "c"  # what the nucleus says still counts
    assert pool.refreshed.empty()


async def test_an_app_file_that_was_saved_while_the_host_started_counts_too(
    code: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (code.parent / "edge.yaml").write_text("thing: b\n")
    async with reloading(declared(code), FakePool(), caplog) as apps, asyncio.timeout(20):
        assert (await apps.get()).thing == "b"
