"""The disk is full, by our own limit or by somebody else: what may be dropped is dropped and counted, and it heals."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.lab import Lab, Report, library, listen, need_small_disk, tell, trials
from tests.faults.oracle import Said, Verdict, judge
from tests.faults.subject import QUEUES, Order

MIB = 1 << 20


@contextmanager
def small(folder: Path, kib: int) -> Iterator[Lab]:
    """Give a subject with a small disk at `folder`."""
    need_small_disk()
    folder.mkdir()
    with Lab(library(), small_disk=(folder, kib)) as lab:
        yield lab


def look(lab: Lab, disk: Path, marks: Path, to: Path) -> tuple[Said, Verdict]:
    """Judge what is on the small disk."""
    state = to / "copy"
    shutil.copytree(lab.seen(disk / "state"), state)
    said = listen(marks)
    verdict = judge(said, state, QUEUES)
    assert verdict.broken == []
    return said, verdict


@pytest.mark.long
def test_its_own_limit(lab: Lab, tmp_path: Path) -> None:
    state, marks = tmp_path / "state", tmp_path / "marks"
    biggest = 0
    for seed in range(trials(2, 10)):
        order = Order(str(state), str(marks), seed, "only", 1200, limit_bytes=MIB)
        assert lab.live(order) == Report(0, pytest.approx(0, abs=60))  # type: ignore[arg-type]  # near enough
        biggest = max(biggest, (state / "queue.db").stat().st_size)
    said = listen(marks)
    verdict = judge(said, state, QUEUES)
    assert verdict.broken == []
    assert verdict.lost > 0
    assert biggest <= 5 * MIB, "the limit, and the 4 MB that SQLite needs to free anything"
    tell(
        f"full/own limit: {len(said.accepted)} accepted with 1 MiB of room, {verdict.lost} dropped and counted, "
        f"{verdict.waiting} wait; the file took {biggest / MIB:.1f} MiB"
    )


@pytest.mark.long
@pytest.mark.parametrize("kib", [3072, 5120, 12288])
@pytest.mark.parametrize("keep_free", [0.0, 0.05])
def test_somebody_else_fills_the_disk(tmp_path: Path, kib: int, keep_free: float) -> None:
    disk, marks = tmp_path / "disk", tmp_path / "marks"
    with small(disk, kib) as lab:
        for seed in range(trials(1, 5)):
            order = Order(str(disk / "state"), str(marks), seed, "squeezed", 240, keep_free=keep_free)
            assert lab.live(order).code == 0
        said, verdict = look(lab, disk, marks, tmp_path)
    tell(
        f"full/foreign hog/{kib} KiB, {keep_free:.0%} kept free: {len(said.accepted)} accepted, {verdict.lost} dropped "
        f"and counted; {', '.join(said.told)}"
    )


@pytest.mark.long
@pytest.mark.parametrize("abrupt", [False, True], ids=["closed", "crashed"])
@pytest.mark.parametrize("ballast", [True, False], ids=["ballast", "no ballast"])
def test_boot_on_a_full_disk(tmp_path: Path, *, abrupt: bool, ballast: bool) -> None:
    disk, marks = tmp_path / "disk", tmp_path / "marks"
    with small(disk, 6144) as lab:
        assert lab.live(Order(str(disk / "state"), str(marks), 1, "only", 200, abrupt=abrupt)).code == 0
        waited = len(listen(marks).accepted)
        if not ballast:
            lab.seen(disk / "state" / "ballast").unlink()
        assert lab.live(Order(str(disk / "state"), str(marks), 2, "pipeline", 40, hog=True)).code == 0
        said, _ = look(lab, disk, marks, tmp_path)
    tell(
        f"full/boot/{'crashed' if abrupt else 'closed'}, {'with' if ballast else 'without'} ballast: {waited} waited, "
        f"0 lost; slowest start {max(said.opened_ms):.0f} ms"
    )
