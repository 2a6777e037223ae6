"""What is carried along: remembered with a commit that somebody else causes, and never with one of its own."""

from __future__ import annotations

from pathlib import Path

from tests.store.kit import entry
from tests.store.test_store import opened, rest


async def test_what_is_carried_waits_for_somebody_elses_commit(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        commits = 0

        def count(statement: str) -> None:
            nonlocal commits
            commits += statement == "COMMIT"

        await store.work(lambda w: w.db.set_trace_callback(count))
        store.carry({"k": "one", "l": "two"})
        store.carry({"k": "three"})
        await rest(store)
        assert (commits, await store.recall("k")) == (0, None)
        await store.change([entry()])
        assert (commits, await store.recall("k"), await store.recall("l")) == (1, "three", "two")
        assert store.counters("a").produced == 1
        await store.change([entry()])
        assert commits == 2
        await store.work(lambda w: w.db.set_trace_callback(None))


async def test_what_nobody_took_along_is_not_there_later(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await store.change([entry()])
        store.carry({"k": "v"})
        await rest(store)
    async with opened(tmp_path) as store:
        assert await store.recall("k") is None
