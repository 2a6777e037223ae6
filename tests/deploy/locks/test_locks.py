"""The locks are whole, without conditions, and name no host."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

from edge_runtime.building.wheels import TAGS

FOLDER = Path(__file__).parent.parent.parent.parent / "deploy" / "locks"


@pytest.fixture(scope="module")
def locks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("locks", FOLDER / "locks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", [*TAGS, "pure"])
def test_a_lock_has_only_versions_and_hashes(name: str, locks: ModuleType) -> None:
    text = (FOLDER / f"{name}.txt").read_text()
    assert "://" not in text
    assert ";" not in text
    found = locks.entries(text)
    assert locks.only(found, found) == text
    for entry in found.values():
        assert re.fullmatch(r"[a-z0-9._-]+==[A-Za-z0-9.!+]+(?: \\\n    --hash=sha256:[0-9a-f]{64})+", entry)


@pytest.mark.parametrize("architecture", TAGS)
def test_all_that_the_project_wants_is_in_its_lock(architecture: str, locks: ModuleType) -> None:
    project = tomllib.loads((FOLDER.parent.parent / "pyproject.toml").read_text())
    names = {re.split(r"[<>=]", line)[0].lower() for line in locks.wanted(project, architecture)}
    have = locks.entries((FOLDER / f"{architecture}.txt").read_text()).keys()
    pure = locks.entries((FOLDER / "pure.txt").read_text()).keys()
    from_apt = locks.FROM_APT.get(architecture, frozenset())
    apart = locks.PURE_NAMES.get(architecture, frozenset())
    assert names - have == (from_apt & names) | apart
    assert apart <= pure
    assert ("awscrt" in have) == (architecture in {"x86_64", "aarch64"})


def test_conditions_are_judged_for_the_machine_that_it_is_for(locks: ModuleType) -> None:
    project = {
        "project": {
            "dependencies": ["a>=1; platform_machine not in 'armv6l armv7l'", "b>=2", "c; sys_platform == 'win32'"],
            "optional-dependencies": {"i2c": ["d"], "serial": [], "modbus": []},
        }
    }
    assert locks.wanted(project, "aarch64") == ["a>=1", "b>=2", "d", "installer", "packaging"]
    assert locks.wanted(project, "armv7l") == ["b>=2", "d", "installer", "packaging"]


_WITHOUT = """
import importlib, sys
for name in {unused}:
    sys.modules[name] = None  # whoever imports it fails
for name in {modules}:
    importlib.import_module(name)
"""


def test_what_is_left_out_is_imported_by_nothing_that_we_import(locks: ModuleType) -> None:
    root = FOLDER.parent.parent
    asks = re.compile(r"^ *(?:from|import) +((?:rich|sqlite_utils|gpiozero|colorzero)(?:\.\w+)*)", re.MULTILINE)
    modules = {"colorzero"}
    for folder in ("edge_runtime", "hardware", "deploy"):
        for path in (root / folder).rglob("*.py"):
            modules |= set(asks.findall(path.read_text()))
    assert {"rich.table", "sqlite_utils", "gpiozero"} <= modules
    imports = {"markdown-it-py": "markdown_it"}
    unused = sorted(imports.get(name, name) for name in locks.UNUSED)
    code = _WITHOUT.format(unused=unused, modules=sorted(modules))
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    for architecture in TAGS:
        assert not locks.UNUSED & locks.entries((FOLDER / f"{architecture}.txt").read_text()).keys()
