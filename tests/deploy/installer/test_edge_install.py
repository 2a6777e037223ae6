"""The installer as a device runs it: by `sh`, without a network, cut at any moment."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge_runtime.building._wheel_file import write_wheel
from edge_runtime.building.pack import pack, write_pins
from edge_runtime.building.plan import Pack
from tests import runtimes
from tests.runtimes import installed, small_bundle, version_in

KILLS = 40 if os.environ.get("EDGE_TORTURE") == "full" else 3


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three releases of a small runtime, in a folder."""
    folder = tmp_path_factory.mktemp("bundles")
    for version in ("1.0.0", "2.0.0", "3.0.0"):
        small_bundle(folder, version)
    return folder


@pytest.fixture(scope="module")
def standing(bundles: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Release 1.0.0, installed. No test leaves anything else there."""
    dest = tmp_path_factory.mktemp("standing")
    first = installed(bundles / "edge-runtime-1.0.0.zip", dest)
    assert first.returncode == 0, first.stderr
    assert version_in(dest) == "edge 1.0.0"
    return dest


def environments(dest: Path) -> set[str]:
    return {path.name for path in dest.glob("env-*")}


def test_twice_is_once(bundles: Path, standing: Path) -> None:
    began = {path: path.stat().st_mtime_ns for path in standing.rglob("*")}
    second = installed(bundles / "edge-runtime-1.0.0.zip", standing)
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
    assert {path: path.stat().st_mtime_ns for path in standing.rglob("*")} == began


def test_run_is_edge_itself(bundles: Path, standing: Path) -> None:
    done = installed(bundles / "edge-runtime-1.0.0.zip", standing, "run", "a b", "--x", verb="run")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "edge 1.0.0 run a b --x")


def test_an_upgrade_keeps_the_one_before_and_no_other(bundles: Path, tmp_path: Path) -> None:
    kept = []
    for version in ("1.0.0", "2.0.0", "3.0.0"):
        assert installed(bundles / f"edge-runtime-{version}.zip", tmp_path).returncode == 0
        assert version_in(tmp_path) == f"edge {version}"
        kept.append((tmp_path / "venv").readlink().name)
    assert environments(tmp_path) == set(kept[1:])
    back = installed(bundles / "edge-runtime-2.0.0.zip", tmp_path)
    assert (back.returncode, back.stderr, version_in(tmp_path)) == (0, "", "edge 2.0.0")
    assert environments(tmp_path) == set(kept[1:])


def test_what_does_not_run_is_not_put_in_place(standing: Path, tmp_path: Path) -> None:
    bad = installed(small_bundle(tmp_path, "9.0.0", works=False), standing)
    assert bad.returncode == 1
    assert "what was installed does not run" in bad.stderr
    assert version_in(standing) == "edge 1.0.0"


def damaged(bundle: Path, path: Path, member: str) -> Path:
    """Write the bundle again with one byte of a file in it changed, in a zip that is right in itself."""
    with zipfile.ZipFile(bundle) as old, zipfile.ZipFile(path, "w") as new:
        for info in old.infolist():
            data = bytearray(old.read(info))
            if info.filename.startswith(member):
                data[len(data) // 2] ^= 1
            new.writestr(info, bytes(data))
    return path


def test_damaged_bundles_are_named_and_leave_all_as_it_was(bundles: Path, standing: Path, tmp_path: Path) -> None:
    good = bundles / "edge-runtime-2.0.0.zip"
    (tmp_path / "cut.zip").write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    (tmp_path / "empty.zip").write_bytes(b"")
    cases = {
        tmp_path / "cut.zip": "is no bundle, or damaged",
        tmp_path / "empty.zip": "is no bundle, or damaged",
        tmp_path / "none.zip": "none.zip is missing",
        damaged(good, tmp_path / "wheel.zip", "wheels/edge_runtime"): "'wheels/edge_runtime-2.0.0-py3-none-any.whl'",
        damaged(good, tmp_path / "lock.zip", "requirements.lock"): "the file 'requirements.lock' in it is damaged",
        small_bundle(tmp_path, "4.0.0", architecture="sparc"): "it is for sparc, and this machine is",
    }  # fmt: skip
    for path, why in cases.items():
        done = installed(path, standing)
        assert (done.returncode, why in done.stderr) == (1, True), done.stderr
        assert version_in(standing) == "edge 1.0.0"


def remade(bundle: Path, folder: Path, change: Callable[[Path], None], *, pinned: bool = True) -> Path:
    """Make another bundle out of one: `change` is given the folder of its wheels; what is left is locked and packed."""
    parts = folder / "parts"
    with zipfile.ZipFile(bundle) as old:
        old.extractall(parts)
    change(parts / "wheels")
    if pinned:
        write_pins([parts / "wheels"], parts / "requirements.lock")
    inside = (("requirements.lock", parts / "requirements.lock"), ("wheels", parts / "wheels"))
    path = folder / "remade.zip"
    pack(Pack(inside, path, "edge-runtime", "5.0.0", os.uname().machine))
    return path


def with_other_code(wheels: Path) -> None:
    """Change the code in a wheel, and not its RECORD."""
    wheel = wheels / "edge_runtime-1.0.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as old:
        members = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(wheel, "w") as new:
        for name, data in members.items():
            new.writestr(name, data.replace(b"def main", b"EVIL = 1\ndef main"))


def for_another_python(wheels: Path) -> None:
    """Leave a wheel for a Python that nobody has, and one for another machine."""
    pure = wheels / "pyyaml-1.0.0-py3-none-any.whl"
    shutil.copy(pure, wheels / "pyyaml-1.0.0-cp399-cp399-linux_sparc.whl")
    pure.rename(wheels / "pyyaml-1.0.0-cp27-cp27m-manylinux2014_x86_64.whl")


def in_the_way(wheels: Path) -> None:
    """Add a wheel with a file of another one."""
    files: dict[str, bytes | Path] = {"yaml/__init__.py": b"", "other-1.0.dist-info/METADATA": b"Name: other\n"}
    write_wheel(wheels, "other", "1.0", files)


def no_installer(wheels: Path) -> None:
    """Take away what installs."""
    next(wheels.glob("installer-*.whl")).unlink()


def no_wheel_at_all(wheels: Path) -> None:
    """Put something else in the place of a wheel."""
    (wheels / "pyyaml-1.0.0-py3-none-any.whl").write_bytes(b"no zip")


def exchanged(wheels: Path) -> None:
    """Put another file in the place of one that the lock names."""
    shutil.copy(wheels / "pydantic-1.0.0-py3-none-any.whl", wheels / "pyyaml-1.0.0-py3-none-any.whl")


def removed(wheels: Path) -> None:
    """Take away what the lock names."""
    (wheels / "pyyaml-1.0.0-py3-none-any.whl").unlink()


HERE = f"{os.uname().machine} and Python "
REFUSED: dict[Callable[[Path], None], str] = {
    with_other_code: "edge_runtime/__init__.py didn't match RECORD",
    for_another_python: f"it has no wheel of pyyaml 1.0.0 for {HERE}",
    in_the_way: "would replace files of another one",
    no_installer: "it has no wheel of installer, which installs the others",
    no_wheel_at_all: "'wheels/pyyaml-1.0.0-py3-none-any.whl' in it is no wheel that can be trusted",
}


@pytest.mark.parametrize("change", REFUSED, ids=lambda change: change.__name__)
def test_wheels_that_cannot_be_used_are_named(
    change: Callable[[Path], None], bundles: Path, standing: Path, tmp_path: Path
) -> None:
    done = installed(remade(bundles / "edge-runtime-1.0.0.zip", tmp_path, change), standing)
    assert (done.returncode, REFUSED[change] in done.stderr) == (1, True), done.stderr
    assert "Traceback" not in done.stderr
    assert version_in(standing) == "edge 1.0.0"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (removed, f"it has no wheel of pyyaml 1.0.0 for {HERE}"),
        (exchanged, "'wheels/pyyaml-1.0.0-py3-none-any.whl' in it is not the one that its lock names"),
        (
            lambda wheels: (wheels.parent / "requirements.lock").write_text("pyyaml>=1.0.0\n"),
            "its lock has a line that locks nothing: 'pyyaml>=1.0.0'",
        ),
    ],
    ids=["removed", "exchanged", "unlocked"],
)
def test_only_what_the_lock_names_is_installed(
    change: Callable[[Path], None], why: str, bundles: Path, standing: Path, tmp_path: Path
) -> None:
    done = installed(remade(bundles / "edge-runtime-1.0.0.zip", tmp_path, change, pinned=False), standing)
    assert (done.returncode, why in done.stderr) == (1, True), done.stderr
    assert version_in(standing) == "edge 1.0.0"


def with_a_better_one(wheels: Path) -> None:
    """Add a wheel for exactly this machine and Python, and a file in it that is for another Python."""
    files: dict[str, bytes | Path] = {
        "yaml/__init__.py": b"BEST = True\n",
        "yaml/old.py": b"print 'Python 2'\n",
        "pyyaml-1.0.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: pyyaml\nVersion: 1.0.0\n",
    }
    best = write_wheel(wheels / "best", "pyyaml", "1.0.0", files)
    python = subprocess.run(
        [f"{runtimes.python_folder()}/python3", "-c", "import sys; print('cp%d%d' % sys.version_info[:2])"],
        env=runtimes.environment(), capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    best.rename(wheels / f"pyyaml-1.0.0-{python}-{python}-linux_{os.uname().machine}.whl")
    best.parent.rmdir()


def test_the_wheel_that_fits_best_is_installed_with_its_bytecode(bundles: Path, tmp_path: Path) -> None:
    dest = tmp_path / "a folder"  # a script cannot name an interpreter with a blank in its path the plain way
    bundle = remade(bundles / "edge-runtime-1.0.0.zip", tmp_path, with_a_better_one)
    bundle = bundle.rename(tmp_path / r"a \new one.zip")  # which the echo of some shells takes for a line's end
    done = installed(bundle, dest)
    assert done.returncode == 0, done.stderr
    asked = [str(dest / "venv" / "bin" / "edge"), "--version"]
    said = subprocess.run(asked, env=runtimes.environment(), capture_output=True, text=True, check=True).stdout
    assert said == "edge 1.0.0 --version\n"
    (site,) = (dest / "venv" / "lib").glob("python3.*/site-packages")
    assert (site / "yaml" / "__init__.py").read_text() == "BEST = True\n"
    compiled = {path.name.partition(".")[0] for path in site.glob("*/__pycache__/*.pyc")}
    assert compiled == {"__init__"}
    assert len(list(site.glob("*/__pycache__/*.pyc"))) == 3
    assert {path.name for path in site.glob("*.dist-info")} == {
        f"{name}-1.0.0.dist-info" for name in ("edge_runtime", "pydantic", "pyyaml")
    }
    assert all((path / "INSTALLER").read_text() == "edge-install\n" for path in site.glob("*.dist-info"))


def test_a_hostile_manifest_writes_nothing_outside(bundles: Path, tmp_path: Path) -> None:
    path = tmp_path / "evil.zip"
    with zipfile.ZipFile(bundles / "edge-runtime-1.0.0.zip") as old, zipfile.ZipFile(path, "w") as new:
        for info in old.infolist():
            data = old.read(info)
            if info.filename == "manifest.json":
                data = data.replace(b'"requirements.lock"', b'"wheels/../../../evil"')
            new.writestr(info, data)
    done = installed(path, tmp_path / "d")
    assert (done.returncode, "it has a file 'wheels/../../../evil'" in done.stderr) == (1, True)
    assert not (tmp_path.parent / "evil").exists()
    assert not (tmp_path / "evil").exists()


def test_killed_at_any_moment_the_old_or_the_new_one_is_in_place(bundles: Path, tmp_path: Path) -> None:
    old, new = bundles / "edge-runtime-1.0.0.zip", bundles / "edge-runtime-2.0.0.zip"
    began = time.perf_counter()
    assert installed(old, tmp_path).returncode == 0
    whole_s = time.perf_counter() - began
    chance = random.Random(os.environ.get("EDGE_SEED", "7"))  # noqa: S311 - when to kill is no secret
    for number in range(KILLS):
        bundle, other = (new, old) if number % 2 == 0 else (old, new)
        for path in tmp_path.glob("env-*"):  # so that there is something to do
            if path.name != (tmp_path / "venv").readlink().name:
                shutil.rmtree(path)
        command = ["sh", str(runtimes.INSTALLER), "install", str(bundle), str(tmp_path)]
        with subprocess.Popen(
            command, env=runtimes.environment(), stderr=subprocess.PIPE, start_new_session=True
        ) as run:
            try:
                run.wait(chance.uniform(0, whole_s))
            except subprocess.TimeoutExpired:
                os.killpg(run.pid, signal.SIGKILL)
            run.communicate()
        assert version_in(tmp_path) in {"edge 1.0.0", "edge 2.0.0"}
        again = installed(bundle, tmp_path)
        assert again.returncode == 0, again.stderr
        assert version_in(tmp_path) == f"edge {bundle.stem.rpartition('-')[2]}"
        assert not [path.name for path in tmp_path.iterdir() if path.name in {".tools", ".link"}]
        assert other.exists()


def test_two_at_once_are_one_after_the_other(bundles: Path, tmp_path: Path) -> None:
    command = ["sh", str(runtimes.INSTALLER), "install", str(bundles / "edge-runtime-1.0.0.zip"), str(tmp_path)]
    runs = [subprocess.Popen(command, env=runtimes.environment(), stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [run.communicate()[1] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], said
    assert sorted("installing" in text for text in said) == [False, True]
    assert version_in(tmp_path) == "edge 1.0.0"


@pytest.fixture
def public() -> Iterator[Path]:
    """Return a folder that any user may look into."""
    with runtimes.open_folder() as folder:
        yield folder


def test_a_user_without_rights_and_without_a_network_installs_from_a_folder_that_is_only_read(
    bundles: Path, public: Path
) -> None:
    artifacts, dest = public / "artifacts", public / "work"
    artifacts.mkdir()
    shutil.copy(bundles / "edge-runtime-1.0.0.zip", artifacts / f"edge-runtime-{os.uname().machine}.zip")
    (artifacts / "edge-runtime-sparc.zip").write_bytes(b"for another machine")
    dest.mkdir()
    if os.getuid() == 0:
        os.chown(dest, runtimes.NOBODY, runtimes.NOBODY)
    artifacts.chmod(0o555)
    before = [*runtimes.without_network(), *runtimes.as_nobody()]
    script = shutil.copy(runtimes.INSTALLER, public / "edge-install.sh")  # the checkout may be in a private folder
    command = [*before, "sh", str(script), "install", str(artifacts), str(dest)]
    done = subprocess.run(command, env=runtimes.environment(), capture_output=True, text=True, check=False, cwd=public)
    assert done.returncode == 0, done.stderr
    assert version_in(dest) == "edge 1.0.0"
    assert sorted(path.name for path in artifacts.iterdir()) == sorted(
        [f"edge-runtime-{os.uname().machine}.zip", "edge-runtime-sparc.zip"]
    )
    assert (dest / "venv").lstat().st_uid == (runtimes.NOBODY if os.getuid() == 0 else os.getuid())


def test_a_machine_that_is_not_in_the_folder(tmp_path: Path) -> None:
    (tmp_path / "edge-runtime-sparc.zip").write_bytes(b"for another machine")
    done = installed(tmp_path, tmp_path / "d")
    assert done.returncode == 1
    assert f"there is no runtime for {os.uname().machine}" in done.stderr


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody who may not write")
def test_a_folder_that_must_not_be_written_to(bundles: Path, public: Path) -> None:
    shutil.copy(bundles / "edge-runtime-1.0.0.zip", public)
    shutil.copy(runtimes.INSTALLER, public)
    command = [*runtimes.as_nobody(), "sh", "edge-install.sh", "install", "edge-runtime-1.0.0.zip", "."]
    done = subprocess.run(command, env=runtimes.environment(), capture_output=True, text=True, check=False, cwd=public)
    assert (done.returncode, "cannot be written to; run it as a user who may" in done.stderr) == (1, True), done.stderr


@pytest.mark.parametrize(
    "arguments", [[], ["install"], ["install", "x"], ["remove", "x", "y"], ["install", "x", "y", "z"]]
)
def test_wrong_use_is_told(arguments: list[str], tmp_path: Path) -> None:
    command = ["sh", str(runtimes.INSTALLER), *arguments]
    done = subprocess.run(
        command, cwd=tmp_path, env=runtimes.environment(), capture_output=True, text=True, check=False
    )
    assert (done.returncode, "usage: " in done.stderr) == (2, True)


def test_a_python_that_is_too_old_or_missing(bundles: Path, tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("mkdir", "sed", "sh"):
        (tools / name).symlink_to(shutil.which(name) or f"/bin/{name}")
    bundle = bundles / "edge-runtime-1.0.0.zip"
    done = installed(bundle, tmp_path / "d", PATH=str(tools))
    assert (done.returncode, "python3 is not installed" in done.stderr) == (1, True)
    old = tools / "python3"
    code = "import sys; sys.version_info = (3, 9, 2); exec(sys.stdin.read())"
    old.write_text(f'#!/bin/sh\nshift 2\nexec {sys.executable} -c "{code}" - "$@"\n')
    old.chmod(0o755)
    done = installed(bundle, tmp_path / "d", PATH=str(tools))
    assert (done.returncode, "Python 3.11 or newer is needed" in done.stderr) == (1, True), done.stderr


def test_the_shell_finds_nothing_to_complain_about() -> None:
    shellcheck = shutil.which("shellcheck")
    if shellcheck is None:
        pytest.skip("shellcheck is not installed")
    done = subprocess.run([shellcheck, runtimes.INSTALLER], capture_output=True, text=True, check=False)
    assert done.stdout == ""
