"""Whatever happens to messages, connections and the device, a shadow and its twin become the same."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_runtime.app import ShadowSync as Spec
from edge_runtime.pure import _shadow_tree as trees
from tests.cloud.shadow_cloud import World

VALUE = st.integers(0, 2) | st.none() | st.dictionaries(st.sampled_from(["x", "y"]), st.integers(0, 1), min_size=1)
KEY = st.sampled_from(["a", "b"])
NETWORK = st.sampled_from(["up", "down", "up", "down", "lose up", "lose down", "double", "swap", "cut", "kill", "wait"])
EDIT = st.tuples(st.sampled_from(["here", "there"]), KEY, VALUE)
STEPS = st.lists(NETWORK | EDIT, max_size=40)
Step = str | tuple[str, str, Any]


async def move(world: World, step: str) -> None:
    """Let the network or the device do something."""
    if step == "up":
        await world.carry_up()
    elif step == "down":
        await world.carry_down()
    elif step == "lose up" and world.up:
        world.up.popleft()
    elif step == "lose down" and world.down:
        world.down.popleft()
    elif step == "double" and world.down:
        world.down.append(world.down[0])
    elif step == "swap":
        world.down.rotate(1)
    elif step == "wait":
        await world.clock.advance(7)
    elif step in ("cut", "kill"):
        await world.cut()
        if step == "kill":
            world.boot()
        else:
            await world.connect()


async def heal(world: World) -> None:
    """Give both sides a good connection."""
    await world.cut()
    await world.connect()
    while not world.up:  # after connections that were lost early, the device is careful for up to an hour
        await world.clock.advance(60)
    await world.flow(4)
    assert (await world.agent.rows())[0]["state"] == "in sync"


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(STEPS, st.sampled_from(["section", "latest_timestamp"]))
def test_what_only_one_side_has_changed_is_never_lost(steps: list[Step], conflict: str) -> None:
    """The device only writes `reported`, others only `desired`: each finds what it wrote last, on both sides."""

    async def run() -> None:
        world = World(Spec(("",), conflict=conflict))
        mine: dict[str, object] = {"n": 0}
        theirs: dict[str, object] = {"n": 0}
        await world.set_here("", reported=mine)
        world.cloud.change("", desired=theirs)
        await world.connect()
        for step in steps:
            if isinstance(step, str):
                await move(world, step)
                continue
            side, key, value = step
            if side == "here":
                mine = trees.merge(mine, {key: value})
                await world.set_here("", reported={key: value})
            else:
                theirs = trees.merge(theirs, {key: value})
                world.hear(world.cloud.change("", desired={key: value}))
        await heal(world)
        expected = {"desired": theirs, "reported": mine}
        assert trees.same(world.cloud.state(), expected)
        assert trees.same(await world.state_here(), expected)
        await world.cut()

    asyncio.run(run())


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(NETWORK | EDIT | st.sampled_from(["delete here", "delete there"]), max_size=40),
    st.sampled_from(["section", "latest_timestamp"]),
)
def test_both_sides_become_the_same(steps: list[Step], conflict: str) -> None:
    """Both write everywhere, and delete: in the end both hold the same."""

    async def run() -> None:
        world = World(Spec(("s",), conflict=conflict))
        await world.connect()
        for step in steps:
            if step == "delete here":
                await world.shadows.delete("s")
            elif step == "delete there":
                world.hear(world.cloud.delete("s"))
            elif isinstance(step, str):
                await move(world, step)
            elif step[0] == "here":
                await world.set_here("s", desired={step[1]: step[2]}, reported={step[1]: step[2]})
            else:
                world.hear(world.cloud.change("s", desired={step[1]: step[2]}, reported={step[1]: step[2]}))
        await heal(world)
        assert trees.same(world.cloud.state("s"), await world.state_here("s"))
        document = await world.shadows.document("s")
        assert document is None or not document.dirty
        asked = len(world.cloud.asked)
        await heal(world)
        assert [end for end, _ in world.cloud.asked[asked:]] == ["name/s/get"]  # there was nothing left to say
        await world.cut()

    asyncio.run(run())
