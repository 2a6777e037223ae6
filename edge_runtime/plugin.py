"""Find a plug-in by name: the file name is the name in the configuration.

A built-in kind (`links`, `triggers`, `pure.events.samples`, ...) is a package of `edge_runtime`; `hardware` and
`deploy` are top-level folders. Those two names are too common to trust an import of them: they are loaded by path,
from the user's folder first, then from the checkout, then from what the wheel carries, and never from site-packages.
A target of `deploy` is a folder of its name with a `target.py`: it has other files beside it.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from edge_runtime.errors import NotFoundError

_PACKAGE = Path(__file__).parent
_FOLDERS = frozenset({"hardware", "deploy", "components"})
_FILES = {"deploy": "*/target.py"}


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the closest known name, or an empty text."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


def folders(kind: str, extra: Path | None = None) -> list[Path]:
    """Return the existing folders that hold plug-ins of a top-level kind, the one that wins first."""
    places = [_PACKAGE.parent / kind, _PACKAGE / "bundled" / kind]
    if extra is not None:
        places.insert(0, extra / kind)
    # In site-packages the package's parent is everybody's: a folder there is a stranger's.
    return [p for p in places if p.is_dir() and "site-packages" not in p.parent.name]


def names(kind: str, extra: Path | None = None) -> list[str]:
    """Return the names of all plug-ins of a kind, sorted."""
    if kind in _FOLDERS:
        found = {_name(p) for folder in folders(kind, extra) for p in folder.glob(_FILES.get(kind, "*.py"))}
    else:
        found = {m.name for m in pkgutil.iter_modules([str(_PACKAGE.joinpath(*kind.split(".")))])}
    return sorted(n for n in found if not n.startswith("_"))


def load(kind: str, name: str, extra: Path | None = None) -> ModuleType:
    """Import the plug-in `name` of `kind`.

    Raises: NotFoundError when there is none, with the nearest name that exists.
    """
    known = names(kind, extra)
    if name not in known:
        raise NotFoundError(
            f"there is no {kind} plug-in named {name!r}{nearest(name, known)}",
            hint=f"known: {', '.join(known) or 'none'}",
        )
    if kind not in _FOLDERS:
        return importlib.import_module(f"edge_runtime.{kind}.{name}")
    qualified = f"edge_runtime.bundled.{kind}.{name}"
    if qualified in sys.modules:
        return sys.modules[qualified]
    files = (p for folder in folders(kind, extra) for p in folder.glob(_FILES.get(kind, "*.py")))
    path = next(p for p in files if _name(p) == name)
    spec = importlib.util.spec_from_file_location(qualified, path)
    if spec is None or spec.loader is None:
        raise NotFoundError(f"{path} cannot be imported as the {kind} plug-in {name!r}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[qualified] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[qualified]
        raise
    return module


def _name(path: Path) -> str:
    """Return the name of a plug-in in a top-level folder, by its file."""
    return path.parent.name if path.name == "target.py" else path.stem
