"""Loaders: an app file of any kind becomes an App.

A loader is one module here with `accepts(path) -> bool` and `load(path, overlay) -> App`, which raises ConfigError for
all that is wrong. Its checks need libraries that a running host should not carry (pydantic and PyYAML take 16 MB and a
second on a small board), so another process does the loading, and what it found is kept in the state folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from edge_runtime import __version__
from edge_runtime.errors import ConfigError
from edge_runtime.loaders._codec import from_json, to_json

if TYPE_CHECKING:
    from edge_runtime.app import App

__all__ = ["CACHE", "OVERLAY", "from_json", "is_unguarded", "last_app", "load_app", "overlay_in", "read_app", "to_json"]
T = TypeVar("T")

CACHE = "app.json"
"""The file in the state folder that holds the app of the last load."""
OVERLAY = "configuration.json"
"""The file in the state folder that is laid over the app file: the configuration of the Greengrass component."""
_PATIENCE_S = 180.0

_log = logging.getLogger(__name__)


def load_app(path: Path, state: Path, *, keep: bool = True) -> App:
    """Return the app that the file at `path` declares, from the cache in the folder `state` when the file is the same.

    Without `keep` nothing is written there: the cache goes on holding what ran last. What `OVERLAY` in that folder
    holds is merged into the file. What the checks looked at beside the file, such as the folders of code, may have gone
    since: whoever uses them checks again.

    Raises: ConfigError with everything that is wrong with the file, one line of text for each.
    """
    overlay = overlay_in(state)
    key = _key(path, overlay)
    app = _cached(state / CACHE, key, from_json)
    if app is None:
        data = _load_in_child(path, overlay)
        app = from_json(data)
        if keep:
            _keep(state / CACHE, key, data)
    return app


def is_unguarded(path: Path, state: Path) -> bool:
    """Tell whether the kept app is that of the file at `path`, and none of its devices has a guard.

    The app is not built for this, which is what takes longest where it is only to be known whether to do anything.

    Raises: ConfigError when the file cannot be read.
    """
    key = _key(path, overlay_in(state))
    return _cached(state / CACHE, key, lambda app: all(one["guard"] is None for one in app["devices"])) or False


def last_app(state: Path) -> App | None:
    """Return the app that was last loaded with a state folder, whatever its file says now; None when none is kept."""
    try:
        kept = json.loads((state / CACHE).read_bytes())
        return from_json(kept["app"]) if kept["sum"] == _sum(kept["app"]) else None
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        _log.warning("the app that ran last is not known: %r", error)
        return None


def read_app(path: Path, overlay: Path | None = None) -> App:
    """Return the app that the file at `path` declares, with the overlay in another. Looks into no cache, writes none.

    Raises: as `load_app`.
    """
    return from_json(_load_in_child(path, overlay))


def overlay_in(state: Path) -> Path | None:
    """Return the file in a state folder that is laid over the app file, None when there is none."""
    overlay = state / OVERLAY
    return overlay if overlay.is_file() else None


def _key(path: Path, overlay: Path | None) -> str:
    """Name what the app depends on: the file, what is laid over it, where it is, and who reads it."""
    try:
        digest = hashlib.sha256(path.read_bytes())
    except OSError as error:
        raise ConfigError(
            f"the app file {path} cannot be read: {error.strerror}", hint="make a new one with edge init, or name yours"
        ) from error
    digest.update(hashlib.sha256(overlay.read_bytes() if overlay is not None else b"").digest())
    for part in (str(path.absolute()), __version__, sys.version):
        digest.update(b"\0" + os.fsencode(part))
    return digest.hexdigest()


def _sum(data: object) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode("ascii")).hexdigest()


def _cached(cache: Path, key: str, take: Callable[[Any], T]) -> T | None:
    """Return what `take` makes of the app in the cache; None when there is none, it is of another file, or damaged."""
    try:
        kept = json.loads(cache.read_bytes())
        if kept["key"] == key and kept["sum"] == _sum(kept["app"]):
            app = kept["app"]
            return take(app) if kept["files"] == _digests(app["files"]) else None
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        _log.warning("the kept app %s is not used: %r", cache, error)
    return None


def _digests(files: Sequence[str]) -> list[str]:
    """Return what tells whether the other files of an app have changed; one that cannot be read has."""
    found = []
    for path in files:
        try:
            found.append(hashlib.sha256(Path(path).read_bytes()).hexdigest())
        except OSError as error:
            found.append(f"{error.strerror}")
    return found


def _keep(cache: Path, key: str, data: Mapping[str, Any]) -> None:
    """Write the cache. A full or read-only disk must not keep a host from starting: then it loads again next time."""
    new = cache.with_name(f".{cache.name}-{os.getpid()}")
    try:
        cache.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # No fsync: what a power cut leaves is noticed and made again.
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w") as file:
            json.dump({"key": key, "sum": _sum(data), "files": _digests(data["files"]), "app": data}, file)
        new.replace(cache)
    except OSError as error:
        _log.warning("the app is not kept in %s: %s", cache, error)
        with contextlib.suppress(OSError):
            new.unlink()


def _load_in_child(path: Path, overlay: Path | None = None) -> Any:  # noqa: ANN401 - JSON
    import subprocess  # noqa: PLC0415 - only needed when the file has changed

    # -P: the folder it runs in is no place to import from.
    command = [sys.executable, "-P", "-m", "edge_runtime.loaders", str(path), *([str(overlay)] if overlay else [])]
    try:
        ran = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, env=_environment(), timeout=_PATIENCE_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ConfigError(f"{path} was not read within {_PATIENCE_S:g} s") from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {sys.executable} does not start: {error.strerror}") from error
    try:
        answer = json.loads(ran.stdout)
    except ValueError as error:
        last = ran.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise ConfigError(
            f"{path} cannot be read: the loader ended with code {ran.returncode}: {last}",
            hint="see it all: python -m edge_runtime.loaders FILE",
        ) from error
    if "error" in answer:
        raise ConfigError(answer["error"]["message"], hint=answer["error"]["hint"])
    return answer["app"]


def _environment() -> dict[str, str]:
    """Return the environment in which a child finds this very package."""
    place = Path(__file__).parent.parent.parent
    if place.name in {"site-packages", "dist-packages"}:
        return dict(os.environ)
    others = [part for part in (os.environ.get("PYTHONPATH"),) if part]
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(place), *others])}
