"""Plans are carried out in order; what fails says which step and why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from edge_runtime.building.carry_out import carry_out
from edge_runtime.building.plan import Copy, Plan, Remote, Remove, Run, Step, Write
from edge_runtime.errors import ConfigError, EdgeError, StoreError


def plan(*steps: Step) -> Plan:
    return Plan("test", steps)


def test_all_steps_in_order(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "__pycache__").mkdir(parents=True)
    (source / "__pycache__" / "a.pyc").write_text("x")
    (source / "run.sh").write_text("#!/bin/sh\n")
    (source / "run.sh").chmod(0o755)
    told: list[tuple[str, float]] = []
    out = tmp_path / "out"
    carry_out(
        plan(
            Copy(source, out / "app"),
            Copy(source / "run.sh", out / "plain.sh", 0o644),
            Write(out / "secret" / "key", b"1", 0o600),
            Run(("sh", "-c", 'echo "$WORD" > word; cat > said'), out, {"WORD": "yes"}, b"given"),
            Copy(out, tmp_path / "kept"),
            Remove(out),
            Remove(tmp_path / "never"),
        ),
        lambda what, share: told.append((what, round(share, 2))),
    )
    assert told[0] == ("copying source", 0.0)
    assert told[-1] == ("done", 1.0)
    assert not out.exists()
    kept = tmp_path / "kept"
    files = sorted(path for path in kept.rglob("*") if path.is_file())
    assert [(path.relative_to(kept).as_posix(), path.stat().st_mode & 0o777) for path in files] == [
        ("app/run.sh", 0o755),
        ("plain.sh", 0o644),
        ("said", 0o644),
        ("secret/key", 0o600),
        ("word", 0o644),
    ]
    assert (kept / "said").read_bytes() == b"given"
    assert (kept / "word").read_bytes() == b"yes\n"


def test_a_command_that_fails_is_told_with_what_it_said(tmp_path: Path) -> None:
    with pytest.raises(EdgeError, match=r"sh ended with status 3:\nno space"):
        carry_out(plan(Run(("sh", "-c", "echo no space; exit 3"), tmp_path), Write(tmp_path / "never", b"")))
    assert not (tmp_path / "never").exists()


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"/absent is missing, which test needs"):
        carry_out(plan(Copy(tmp_path / "absent", tmp_path / "x")))
    with pytest.raises(ConfigError, match="the program no-such-program is missing"):
        carry_out(plan(Run(("no-such-program",))))


def test_a_disk_that_refuses_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="writing x failed: File exists"):
        carry_out(plan(Write(tmp_path / "file" / "x", b"")))


def test_steps_on_another_machine_need_a_connection(tmp_path: Path) -> None:
    step = Remote("pi@device", "starting", "true")
    told: list[tuple[str, float]] = []
    ran: list[str] = []

    def far(step: Remote, share: Callable[[float], object]) -> None:
        ran.append(step.script)
        share(0.5)

    carry_out(Plan("ssh", (step, Write(tmp_path / "x", b""))), lambda what, done: told.append((what, done)), far)
    assert ran == ["true"]
    assert told == [("starting", 0.0), ("starting", 0.25), ("writing x", 0.5), ("done", 1.0)]
    with pytest.raises(ConfigError, match="pi@device is another machine"):
        carry_out(Plan("ssh", (step,)))
