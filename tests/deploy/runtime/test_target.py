"""What `edge build runtime` would do, and what comes of it."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

import pytest

from edge_runtime import __version__
from edge_runtime.building.plan import shown
from edge_runtime.bundles import open_bundle
from edge_runtime.errors import ConfigError
from edge_runtime.plugin import load
from tests.runtimes import installed, real_bundle, without_network

GOLDEN = """\
target runtime
wheels LOCKS/armv7l.txt for armv7l, Python 3.11 3.12 3.13, into WORK/armv7l/wheels
wheels LOCKS/pure.txt for any machine, into WORK/armv7l/pure
own wheel into WORK/armv7l/own
pins of WORK/armv7l/wheels WORK/armv7l/own WORK/armv7l/pure as WORK/armv7l/requirements.lock
bundle edge-runtime VERSION for armv7l of requirements.lock=WORK/armv7l/requirements.lock wheels=WORK/armv7l/wheels \
wheels=WORK/armv7l/own wheels=WORK/armv7l/pure as OUT signed by KEY
result OUT
"""


def test_the_plan(tmp_path: Path) -> None:
    target = load("deploy", "runtime")
    places = {tmp_path / "work": "WORK", target.LOCKS: "LOCKS", tmp_path / "out": "OUT", tmp_path / "key": "KEY"}
    plan = target.plan("armv7l", tmp_path / "out", key=tmp_path / "key", work=tmp_path / "work")
    assert shown(plan, places) == GOLDEN.replace("VERSION", __version__)
    plain = shown(target.plan("aarch64", tmp_path / "out", work=tmp_path / "work"), places)
    assert "pure" not in plain
    assert "signed" not in plain


def test_a_machine_that_there_are_no_locks_for(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the runtime cannot be built for 'riscv64'") as caught:
        load("deploy", "runtime").plan("riscv64", tmp_path / "out")
    assert caught.value.hint == "known: x86_64, aarch64, armv7l, armv6l"


@pytest.mark.long
@pytest.mark.timeout(600)
def test_the_real_one_installs_without_a_network_and_runs(tmp_path: Path) -> None:
    bundle = real_bundle(tmp_path)
    opened = open_bundle(bundle, [], tmp_path)
    names = {file.path for file in opened.manifest.files}
    assert (opened.manifest.name, opened.manifest.release) == ("edge-runtime", __version__)
    assert opened.manifest.architecture == platform.machine()
    assert {"requirements.lock", f"wheels/edge_runtime-{__version__}-py3-none-any.whl"} <= names
    done = installed(bundle, tmp_path / "d", before=without_network())
    assert done.returncode == 0, done.stderr
    asked = [str(tmp_path / "d" / "venv" / "bin" / "edge"), "--version"]
    assert __version__ in subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    again = installed(bundle, tmp_path / "d", "build", "runtime", "--dry-run", verb="run", HOME=str(tmp_path))
    assert again.stdout.startswith("target runtime\n"), again.stderr  # it has the locks and targets with it
