"""`tests/` mirrors the source one to one, so that everybody knows where the test of a module is.

`edge_runtime/a/b.py` is tested by `tests/a/test_b.py`, or by several, `test_b_<aspect>.py`. `_b.py` may have a
`test__b.py`, else the module that uses it tests it. A package's `__init__.py` is tested by `tests/test_a.py`. The
folders `hardware`, `components` and `deploy` are mirrored under `tests/`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TESTS = ROOT / "tests"
SOURCES = {"edge_runtime": TESTS, **{name: TESTS / name for name in ("hardware", "components", "deploy")}}
ACROSS = {"benchmarks", "contract", "faults", "system"}
"""Folders of tests that look at several modules at once."""
OF_THE_TREE = {TESTS / "test_mirror.py"}


def modules(folder: Path) -> Iterator[Path]:
    """Yield the modules of a source tree that need a test of their own."""
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).parts
        if not any(part.startswith((".", "_")) for part in parts) and "vendor" not in parts:
            yield path


def is_tested(source: str, path: Path) -> bool:
    place = SOURCES[source] / path.relative_to(ROOT / source).parent
    return (place / f"test_{path.stem}.py").is_file() or any(place.glob(f"test_{path.stem}_*.py"))


@pytest.mark.parametrize("source", SOURCES)
def test_every_module_has_its_test(source: str) -> None:
    missing = [str(p.relative_to(ROOT)) for p in modules(ROOT / source) if not is_tested(source, p)]
    assert missing == []


def source_of(test: Path) -> bool:
    """Tell whether what a test file is named after exists."""
    parts = test.relative_to(TESTS).parent.parts
    base = ROOT / Path(*parts) if parts and parts[0] in SOURCES else ROOT / "edge_runtime" / Path(*parts)
    words = test.stem.removeprefix("test_").split("_")
    names = ["_".join(words[:count]) for count in range(len(words), 0, -1)]
    files = [file for name in names if name for file in (f"{name}.py", f"{name}/__init__.py", _script(name))]
    return any((base / file).is_file() for file in files)


def _script(name: str) -> str:
    return f"{name.replace('_', '-')}.sh"


def test_every_test_has_its_module() -> None:
    tests = [p for p in sorted(TESTS.rglob("test_*.py")) if p.relative_to(TESTS).parts[0] not in ACROSS]
    assert [str(p.relative_to(ROOT)) for p in tests if p not in OF_THE_TREE and not source_of(p)] == []


def test_no_test_hides_behind_a_name_that_is_not_collected() -> None:
    """A file with tests in it whose name does not begin with `test_` would never run."""
    hidden = [
        str(path.relative_to(ROOT))
        for path in sorted(TESTS.rglob("*.py"))
        if not path.name.startswith(("test_", "conftest")) and "\ndef test_" in path.read_text(encoding="utf-8")
    ]
    assert hidden == []
