"""The configuration of a Greengrass component: taken on at the start and while the host runs."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from edge_runtime.app import App
from edge_runtime.clock import Clock, SystemClock
from edge_runtime.host import configuration
from edge_runtime.host.configuration import Configuration
from edge_runtime.links._ipc import Ipc
from edge_runtime.links._ipc import dial as dial_ipc
from edge_runtime.loaders import OVERLAY, load_app
from tests.nucleus import TOKEN, Nucleus, start_nucleus


class Component:
    """A host's part that follows, and the apps that it finds."""

    def __init__(self, folder: Path, nucleus: Nucleus) -> None:
        self.token = TOKEN
        self.apps: asyncio.Queue[App] = asyncio.Queue()
        self.void = asyncio.Event()
        self.state = folder / "state"
        self.app_file = folder / "edge.yaml"
        self._nucleus = nucleus
        self.configuration = Configuration(self.app_file, self.state, self.dial)

    async def dial(self) -> Ipc:
        """Connect to the nucleus."""
        return await dial_ipc(self._nucleus.socket, {"authToken": self.token}, most_frame=10_000)

    def load(self) -> App:
        """Return the app with which a host would start."""
        return load_app(self.app_file, self.state)

    @asynccontextmanager
    async def following(self, clock: Clock | None = None) -> AsyncIterator[None]:
        """Follow while the block runs."""
        clock = clock or SystemClock()
        task = asyncio.create_task(self.configuration.run(clock, self.apps.put_nowait, self.void.set))
        try:
            async with asyncio.timeout(30):
                yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def nucleus(tmp_path: Path) -> AsyncIterator[Nucleus]:
    async with start_nucleus(tmp_path) as it:
        yield it


@pytest.fixture
def component(tmp_path: Path, nucleus: Nucleus) -> Component:
    (tmp_path / "edge.yaml").write_text("thing: pi-7\n")
    return Component(tmp_path, nucleus)


async def logged(caplog: pytest.LogCaptureFixture, words: str) -> None:
    while words not in caplog.text:  # noqa: ASYNC110 - a log has no event
        await asyncio.sleep(0.005)


async def test_it_is_there_before_the_host_starts(component: Component, nucleus: Nucleus) -> None:
    nucleus.config["app"] = {"thing": "pi-8"}
    await component.configuration.fetch()
    assert component.load().thing == "pi-8"


async def test_on_a_core_the_thing_is_the_core(
    component: Component, nucleus: Nucleus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The recipe says what the core is called: that goes before the app file, and the deployment before both."""
    monkeypatch.setenv("EDGE_THING", "core-1")
    await component.configuration.fetch()
    assert component.load().thing == "core-1"
    nucleus.config["app"] = {}
    await component.configuration.fetch()
    assert component.load().thing == "core-1"
    nucleus.config["app"] = {"thing": "pi-8"}
    await component.configuration.fetch()
    assert component.load().thing == "pi-8"
    nucleus.config.pop("app")
    monkeypatch.setenv("EDGE_THING", "")
    await component.configuration.fetch()
    assert component.load().thing == "pi-7"


async def test_without_a_nucleus_what_is_kept_is_used(
    component: Component, nucleus: Nucleus, caplog: pytest.LogCaptureFixture
) -> None:
    nucleus.config["app"] = {"thing": "pi-8"}
    await component.configuration.fetch()
    nucleus.stop()
    await component.configuration.fetch()
    assert component.load().thing == "pi-8"
    assert "does not say how this component is configured, what is kept is used" in caplog.text


async def test_a_check_that_takes_long_is_not_cut_short(component: Component, nucleus: Nucleus) -> None:
    """The nucleus has answered. What is kept and what the host starts with must be the same, however slow it is."""
    nucleus.config["app"] = {"thing": "pi-8"}
    component.app_file.unlink()
    os.mkfifo(component.app_file)  # who reads it waits until somebody writes
    patience_s = 2.0
    component.configuration = Configuration(component.app_file, component.state, component.dial, patience_s=patience_s)
    fetching = asyncio.create_task(component.configuration.fetch())
    done, _ = await asyncio.wait({fetching}, timeout=patience_s + 1)
    assert not done
    await asyncio.to_thread(component.app_file.write_text, "thing: pi-7\n")
    await fetching
    assert json.loads((component.state / OVERLAY).read_text()) == {"thing": "pi-8"}
    component.app_file.unlink()
    component.app_file.write_text("thing: pi-7\n")
    assert component.load().thing == "pi-8"


async def test_a_check_that_nobody_waits_for_any_more_keeps_nothing(component: Component, nucleus: Nucleus) -> None:
    """Else the next one would find it kept, and take it for what the host has."""
    nucleus.config["app"] = {"thing": "pi-8"}
    component.app_file.unlink()
    os.mkfifo(component.app_file)
    async with component.following():
        await asyncio.to_thread(component.app_file.write_text, "thing: pi-7\n")  # somebody reads: the check has begun
    component.app_file.unlink()
    component.app_file.write_text("thing: pi-7\n")
    async with component.following():
        assert (await component.apps.get()).thing == "pi-8"


async def test_a_connection_that_stood_is_made_again_without_delay(component: Component, nucleus: Nucleus) -> None:
    waits: list[float] = []

    class Counting(SystemClock):
        """Tells how long it would have slept."""

        async def sleep(self, seconds: float) -> None:
            waits.append(seconds)

    nucleus.config["app"] = {}

    def asked() -> int:
        return sum(operation.endswith("GetConfiguration") for operation, _ in nucleus.requests)

    async with component.following(Counting()):
        for _ in range(8):
            before = asked()
            await nucleus.until(lambda: any(peer.followed for peer in nucleus.peers))
            nucleus.configure(other="1")
            await nucleus.until(lambda before=before: asked() >= before + 2)  # type: ignore[misc]  # bound here
            nucleus.cut()  # now: it has asked again, so the first answer was taken in
            await nucleus.until(lambda: not nucleus.peers)
    assert len(waits) >= 7
    assert max(waits) <= 1.0


async def test_a_deployment_changes_it_while_the_host_runs(component: Component, nucleus: Nucleus) -> None:
    async with component.following():
        await nucleus.until(lambda: any(peer.followed for peer in nucleus.peers))
        nucleus.configure(logLevel="DEBUG")  # what is none of ours changes nothing
        nucleus.configure(app={"thing": "pi-8"})
        assert (await component.apps.get()).thing == "pi-8"
        nucleus.configure(app={"thing": "pi-9"})
        assert (await component.apps.get()).thing == "pi-9"
        nucleus.config.pop("app")
        nucleus.configure(other="1")
        assert (await component.apps.get()).thing == "pi-7"
    assert component.apps.empty()


async def test_what_is_wrong_is_said_once_and_not_taken_on(
    component: Component, nucleus: Nucleus, caplog: pytest.LogCaptureFixture
) -> None:
    async with component.following():
        await nucleus.until(lambda: any(peer.followed for peer in nucleus.peers))
        nucleus.configure(app={"thing": "pi-8", "foo": "1"})
        await logged(caplog, "foo: unknown key")
        nucleus.configure(other="1")  # asked again, it says the same
        nucleus.configure(app={"thing": "pi-8"})
        assert (await component.apps.get()).thing == "pi-8"
        nucleus.configure(app="text")
        await logged(caplog, "app: unknown key")
        nucleus.configure(app={"thing": "pi-9"})
        assert (await component.apps.get()).thing == "pi-9"
    assert caplog.text.count("foo: unknown key") == 1
    assert caplog.text.count("the configuration of before stays in use") == 2
    assert json.loads((component.state / OVERLAY).read_text()) == {"thing": "pi-9"}
    assert [path.name for path in component.state.iterdir()] == [OVERLAY]


async def test_a_connection_that_breaks_is_made_again_and_nothing_is_missed(
    component: Component, nucleus: Nucleus
) -> None:
    async with component.following():
        await nucleus.until(lambda: any(peer.followed for peer in nucleus.peers))
        nucleus.cut()
        nucleus.config["app"] = {"thing": "pi-8"}
        assert (await component.apps.get()).thing == "pi-8"


async def test_a_void_token_ends_the_process_to_get_another(component: Component, nucleus: Nucleus) -> None:
    async with component.following():
        await nucleus.until(lambda: any(peer.followed for peer in nucleus.peers))
        nucleus.restart()
        await component.void.wait()
    assert configuration.RESTART == 75


async def test_a_disk_that_is_read_only_is_said(
    component: Component, nucleus: Nucleus, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    component.state.write_text("in the way")
    nucleus.config["app"] = {"thing": "pi-8"}
    await component.configuration.fetch()
    assert "the configuration cannot be kept in" in caplog.text


def test_a_component_is_known_by_its_environment() -> None:
    assert configuration.is_component({"AWS_GG_NUCLEUS_DOMAIN_SOCKET_FILEPATH_FOR_COMPONENT": "/x"})
    assert not configuration.is_component({})


async def test_a_whole_host_takes_it_on(tmp_path: Path, nucleus: Nucleus, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process itself, as the nucleus would start it."""
    (tmp_path / "edge.yaml").write_text("thing: pi-7\nlink: {driver: greengrass}\n")
    command = partial(asyncio.create_subprocess_exec, stderr=asyncio.subprocess.PIPE)
    monkeypatch.setenv("AWS_GG_NUCLEUS_DOMAIN_SOCKET_FILEPATH_FOR_COMPONENT", str(nucleus.socket))
    monkeypatch.setenv("SVCUID", TOKEN)
    process = await command(sys.executable, "-m", "edge_runtime", "run", str(tmp_path))
    assert process.stderr is not None
    try:
        async with asyncio.timeout(40):
            await _line(process.stderr, "thing pi-7 accepts events")
            await nucleus.until(lambda: any(peer.followed for peer in nucleus.peers))
            nucleus.configure(app={"thing": "pi-8"})
            await _line(process.stderr, "thing pi-8 accepts events")
            nucleus.restart()
            await _line(process.stderr, "to be started with a new token")
            assert await process.wait() == configuration.RESTART
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _line(stream: asyncio.StreamReader, words: str) -> None:
    while line := await stream.readline():
        if words in line.decode():
            return
    raise AssertionError(f"{words!r} was not logged")
