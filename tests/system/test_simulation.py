"""What docs/guides/simulation.md and docs/guides/testing.md say is so: each command says what the guide shows."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.system.guide import GUIDES, Step, is_shown, steps

ROOT = Path(__file__).parents[2]
_SHELL = shutil.which("bash") or "/bin/sh"
_WEEK = "field-week.jsonl"
"""What `test_week` plays."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "components", tmp_path / "components")
    (tmp_path / "hardware").symlink_to(ROOT / "hardware")
    edge, test = tmp_path / "bin" / "edge", tmp_path / "bin" / "pytest"
    edge.parent.mkdir()
    edge.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m edge_runtime "$@"\n', encoding="utf-8")
    more = "-p no:asyncio -p no:cacheprovider"
    test.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m pytest {more} "$@"\n', encoding="utf-8")
    for program in (edge, test):
        program.chmod(0o755)
    return tmp_path


def follow(step: Step, folder: Path) -> None:
    """Do one step, and check what is said."""
    if step.path:
        (folder / step.path).parent.mkdir(exist_ok=True)
        (folder / step.path).write_text(step.shown, encoding="utf-8")
        return
    done = subprocess.run(
        [_SHELL, "-c", step.command],
        cwd=folder,
        env={**os.environ, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, f"$ {step.command}\n{done.stdout}"
    assert is_shown(done.stdout, step.shown), f"$ {step.command}\n{done.stdout}"


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("guide", "least"), [("simulation.md", 4), ("testing.md", 4)])
def test_the_guide_is_true(folder: Path, guide: str, least: int) -> None:
    done = [step for step in steps((GUIDES / guide).read_text(encoding="utf-8")) if _WEEK not in step.command]
    assert len(done) >= least
    for step in done:
        follow(step, folder)
