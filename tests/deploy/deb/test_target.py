"""The plan of a package, as it was when somebody last looked at it; and what is refused."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from edge_runtime.building.plan import Write, shown
from edge_runtime.errors import ConfigError
from edge_runtime.plugin import load
from tests.debian import call

HERE = Path(__file__).parent
DEPLOY = HERE.parents[2] / "deploy"
OUT, WORK, GIVEN = Path("/out"), Path("/work-folder"), Path("/given")
TARGET = load("deploy", "deb")


def bundles(*machines: str) -> dict[str, Path]:
    return {machine: GIVEN / f"{machine}.zip" for machine in machines}


def test_the_plan_is_as_expected() -> None:
    plan = TARGET.plan(OUT, WORK, bundles("armv7l", "armv6l"), "armhf", "1.4.0-1")
    places = {OUT: "OUT", WORK: "WORK", GIVEN: "GIVEN", DEPLOY: "DEPLOY"}
    # After a change that is meant: write `shown(...)` into the file, and look at the difference.
    assert shown(plan, places) == (HERE / "plan.txt").read_text(encoding="utf-8")
    written = next(step.data for step in plan.steps if isinstance(step, Write) and step.path.name == "control")
    about = dict(re.findall(r"^([A-Z][A-Za-z-]*): (.*)$", written.decode(), re.MULTILINE))
    assert about["Package"] == "edge-runtime"
    assert about["Version"] == "1.4.0-1"
    assert about["Architecture"] == "armhf"
    assert about["Depends"].startswith("python3 (>= 3.11), python3-venv, openssl, ")


@pytest.mark.parametrize(
    ("machines", "architecture", "version", "words"),
    [
        ((), "sparc", "1.0", "there is no package for 'sparc'"),
        ((), "arm64", "1.0", "a package for arm64 needs the runtime for aarch64"),
        (("x86_64", "aarch64"), "all", "1.0", "needs the runtime for armv7l"),
        (("aarch64", "x86_64"), "arm64", "1.0", "a package for arm64 never comes to x86_64"),
        (("aarch64",), "arm64", "v1 beta", "'v1 beta' is no version of a Debian package"),
    ],
)
def test_what_makes_no_package_is_refused(
    machines: tuple[str, ...], architecture: str, version: str, words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        TARGET.plan(OUT, WORK, bundles(*machines), architecture, version)


def test_the_unit_is_without_fault_and_its_exposure_low() -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd is not installed")
    unit = DEPLOY / "deb" / "files" / "edge-runtime.service"
    rows = call("systemd-analyze", "security", "--offline=yes", "--threshold=25", unit, check=False)
    assert rows.returncode == 0, rows.stdout[-300:]
    faults = call("systemd-analyze", "verify", unit, check=False).stderr
    assert all("is not executable" in line for line in faults.splitlines()), faults  # it is not installed here


def test_a_guard_of_outputs_goes_before_and_after_the_host() -> None:
    unit = (DEPLOY / "deb" / "files" / "edge-runtime.service").read_text()
    starts = re.findall(r"^(Exec\w+)=(.*)$", unit, re.MULTILINE)
    edge = "/usr/lib/edge-runtime/venv/bin/edge"
    assert starts == [("ExecStartPre", f"-{edge} safe"), ("ExecStart", f"{edge} run"), ("ExecStopPost", f"{edge} safe")]
    assert "network-online.target\n" not in "".join(line for line in unit.splitlines(True) if line[0] != "#")
