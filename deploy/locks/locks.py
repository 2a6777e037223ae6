"""Write the locks: what is installed on a device, by version and hashes. `make locks`.

A lock names everything, also what others need, and has no conditions: each was judged for its architecture here. The
hashes are of every file of a version, so one lock serves all Pythons. The resolver is uv. It does not know 32-bit ARM,
so those are resolved as 64-bit ARM without what 32-bit ARM does not get, and proved by `--check`, which fetches a wheel
of every line for every Python.

    python deploy/locks/locks.py            write them
    python deploy/locks/locks.py --check    see that each wheel can be had, for each Python
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

from packaging.requirements import Requirement

from edge_runtime.building.pack import TOOLS
from edge_runtime.building.wheels import PYTHONS, TAGS, gather

HERE = Path(__file__).parent
PURE = "pure"
"""The lock of what has wheels with compiled parts only, and works without those parts."""
PURE_NAMES: Mapping[str, frozenset[str]] = {"armv7l": frozenset({"pyyaml"}), "armv6l": frozenset({"pyyaml"})}
"""By architecture, what is taken from that lock because there is no wheel for it."""
FROM_APT: Mapping[str, frozenset[str]] = {
    "armv6l": frozenset({"pydantic", "pydantic-core", "annotated-types", "typing-inspection"}),
}
"""By architecture, what has no wheel and is taken from the system: `python3-pydantic` of Raspberry Pi OS."""
UNUSED = frozenset({"pip", "setuptools", "pygments", "markdown-it-py", "mdurl"})
"""What others ask for and nothing here imports: it would be a quarter of all files that a device writes and compiles.

sqlite-utils asks for pip for its verb `install`, colorzero for setuptools since long ago, and rich for the others, with
which it colours source code and shows Markdown.
"""
EXTRAS = ("i2c", "serial", "modbus")
PLATFORM = {"x86_64": "x86_64-unknown-linux-gnu"}
OTHERS = "aarch64-unknown-linux-gnu"


def wanted(project: Mapping[str, object], architecture: str) -> list[str]:
    """Return what the project asks for on an architecture, without conditions, and what installs it.

    Markers other than those of the machine hold for Linux and any supported CPython, or they are refused.
    """
    about = project["project"]
    assert isinstance(about, dict)  # noqa: S101 - of a TOML file that was built from
    lines = [*about["dependencies"], *(line for extra in EXTRAS for line in about["optional-dependencies"][extra])]
    found = set(TOOLS)
    for line in lines:
        one = Requirement(line)
        if one.marker is None or one.marker.evaluate({"platform_machine": architecture}):
            found.add(f"{one.name}{one.specifier}")
    return sorted(found)


def entries(text: str) -> dict[str, str]:
    """Return the entries of a lock by the name of what they lock, each with its hashes."""
    found = {}
    for entry in re.split(r"\n(?=\S)", text.strip()):
        if match := re.match(r"([A-Za-z0-9._-]+)==", entry):
            found[match[1].lower().replace("_", "-")] = entry
    return found


def only(found: Mapping[str, str], names: Iterable[str]) -> str:
    """Return a lock of these names."""
    return "".join(f"{found[name]}\n" for name in sorted(names))


def resolve(lines: Iterable[str], platform: str, python: str) -> str:
    """Return what uv makes of these requirements. Raises: subprocess.CalledProcessError."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "wanted.in")
        source.write_text("\n".join(lines) + "\n", encoding="utf-8")
        command = ["uv", "pip", "compile", "--quiet", "--only-binary", ":all:", "--generate-hashes", "--no-header"]
        command += ["--no-annotate", "--no-emit-index-url", "--python-platform", platform, "--python-version", python]
        uv = str(Path(sys.executable).with_name("uv"))
        return subprocess.run([uv, *command[1:], str(source)], check=True, capture_output=True, text=True).stdout


def write() -> None:
    """Resolve and write every lock."""
    project = tomllib.loads((HERE.parent.parent / "pyproject.toml").read_text(encoding="utf-8"))
    pure: dict[str, str] = {}
    for architecture in TAGS:
        lines = wanted(project, architecture)
        found: dict[str, str] = {}
        # The oldest Python needs the most; what a newer one needs besides is added. Versions must not differ.
        for python in PYTHONS:
            for name, entry in entries(resolve(lines, PLATFORM.get(architecture, OTHERS), python)).items():
                if found.setdefault(name, entry) != entry:
                    sys.exit(f"{name} would differ between Pythons on {architecture}: bound it in pyproject.toml")
        apart = PURE_NAMES.get(architecture, frozenset())
        pure |= {name: found[name] for name in apart}
        kept = found.keys() - apart - FROM_APT.get(architecture, frozenset()) - UNUSED
        (HERE / f"{architecture}.txt").write_text(only(found, kept), encoding="utf-8")
        print(f"{architecture}: {len(kept)} packages")  # noqa: T201 - it is a command
    (HERE / f"{PURE}.txt").write_text(only(pure, pure), encoding="utf-8")


def check(folder: Path) -> None:
    """Fetch all wheels of all locks for all Pythons into a folder. Raises: EdgeError."""
    for architecture in TAGS:
        gather(HERE / f"{architecture}.txt", folder / architecture, architecture)
        size = sum(path.stat().st_size for path in (folder / architecture).iterdir())
        print(f"{architecture}: {size} bytes of wheels")  # noqa: T201 - it is a command


def main(arguments: list[str]) -> None:
    """Do what is asked on the command line."""
    parser = argparse.ArgumentParser(description="Write the locks of what is installed on devices.")
    parser.add_argument("--check", action="store_true", help="see that each wheel can be had, and write nothing")
    if parser.parse_args(arguments).check:
        with tempfile.TemporaryDirectory() as folder:
            check(Path(folder))
    else:
        write()


if __name__ == "__main__":
    main(sys.argv[1:])
