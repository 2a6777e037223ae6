"""What a bundle says of itself: a release of an app, or of the runtime, in one signed file.

A bundle is a zip. Its `manifest.json` names every other file with its size and SHA-256, and `manifest.sig` is the
Ed25519 signature of the manifest's bytes; so the signature covers all. Whatever the manifest does not name is not in
the bundle, and what it names must be a plain path below the folder that it is unpacked to, on any file system: no two
of them differ by case or by Unicode normalisation alone.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from edge_runtime.errors import ConfigError
from edge_runtime.pure.jobs import RefusalError, release_order

FORMAT = 1
MANIFEST, SIGNATURE = "manifest.json", "manifest.sig"
MOST_FILES = 20_000
MOST_BYTES = 2 << 30
"""Of all files together, unpacked."""
MOST_MANIFEST_BYTES = 8 << 20
_MOST_PATH_BYTES, _MOST_NAME_BYTES = 1024, 255
_NAME = re.compile(r"[A-Za-z0-9:_-]{1,128}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_RESERVED = frozenset({MANIFEST, SIGNATURE})
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
"""Unicode categories of control and format signs, surrogates, and what stands for nothing."""


class BundleError(ConfigError):
    """A bundle is not what it has to be. Nothing of it is used."""


@dataclass(frozen=True, slots=True)
class File:
    """A file in a bundle."""

    path: str
    """Relative, with `/` between its parts."""
    size: int
    sha256: str
    """64 small hex digits."""
    executable: bool = False


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a bundle holds."""

    name: str
    """Of the app, its thing's or any other; or `edge-runtime`."""
    release: str
    """One to four numbers with dots between them; a device takes no lower one than it has had."""
    files: tuple[File, ...]
    architecture: str = ""
    """As `uname -m` says; empty: any."""

    @property
    def size(self) -> int:
        """Of all files together, unpacked, in bytes."""
        return sum(file.size for file in self.files)

    @property
    def content(self) -> str:
        """What names the content, whatever number the release has: a SHA-256 in hex."""
        return hashlib.sha256(to_bytes(replace(self, release="0"))).hexdigest()


def to_bytes(manifest: Manifest) -> bytes:
    """Return the manifest as it is signed: the same bytes for the same manifest.

    Raises: BundleError when it is none that `read` would take.
    """
    _check(manifest)
    files = {
        file.path: {"size": file.size, "sha256": file.sha256, **({"executable": True} if file.executable else {})}
        for file in sorted(manifest.files, key=lambda file: file.path)
    }
    more = {"architecture": manifest.architecture} if manifest.architecture else {}
    body = {"format": FORMAT, "name": manifest.name, "release": manifest.release, **more, "files": files}
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def read(data: bytes) -> Manifest:
    """Return the manifest that these bytes are.

    Raises: BundleError that says what is wrong with them.
    """
    if len(data) > MOST_MANIFEST_BYTES:
        raise BundleError(f"{MANIFEST} has {len(data)} bytes; {MOST_MANIFEST_BYTES} may be")
    try:
        body = json.loads(data, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{MANIFEST} is no JSON: {error}") from error
    if not isinstance(body, Mapping):
        raise BundleError(f"{MANIFEST} is no JSON object")
    if body.get("format") != FORMAT or isinstance(body["format"], bool):
        hint = "update the runtime on this device first"
        raise BundleError(f"the bundle has format {body.get('format')!r}; this runtime reads {FORMAT}", hint=hint)
    unknown = sorted(body.keys() - {"format", "name", "release", "architecture", "files"})
    if unknown:
        raise BundleError(f"{MANIFEST} has an unknown key {unknown[0]!r}")
    files = body.get("files")
    if not isinstance(files, Mapping):
        raise BundleError(f"{MANIFEST} has no 'files'")
    manifest = Manifest(
        name=_text(body, "name"),
        release=_text(body, "release"),
        files=tuple(_file(path, about) for path, about in files.items()),
        architecture=_text(body, "architecture") if "architecture" in body else "",
    )
    _check(manifest)
    return manifest


def check_paths(paths: Iterable[str]) -> None:
    """Return if these are paths of files that can lie beside each other on any file system.

    Raises: BundleError that names the first one that cannot.
    """
    seen: dict[str, str] = {}
    folders: dict[str, str] = {}
    for path in paths:
        why = _refusal(path)
        if why:
            raise BundleError(f"the bundle has a file {path!r}: {why}")
        key = _folded(path)
        if key in seen:
            raise BundleError(f"the bundle has both {seen[key]!r} and {path!r}, which are one file on some systems")
        seen[key] = path
        parts = path.split("/")[:-1]
        for count in range(1, len(parts) + 1):
            folder = "/".join(parts[:count])
            if folders.setdefault(_folded(folder), folder) != folder:
                other = folders[_folded(folder)]
                raise BundleError(f"the bundle has folders {other!r} and {folder!r}, which are one on some systems")
    for key, folder in folders.items():
        if key in seen:
            raise BundleError(f"the bundle has {seen[key]!r} as a file and {folder!r} as a folder")


def _check(manifest: Manifest) -> None:
    if not _NAME.fullmatch(manifest.name):
        raise BundleError(f"{manifest.name!r} is no name of a bundle; allowed: {_NAME.pattern}")
    try:
        release_order(manifest.release)
    except RefusalError as error:
        raise BundleError(str(error)) from error
    if not re.fullmatch(r"[a-z0-9_]{0,32}", manifest.architecture):
        raise BundleError(f"{manifest.architecture!r} is no architecture; write what `uname -m` says")
    if len(manifest.files) > MOST_FILES:
        raise BundleError(f"the bundle has {len(manifest.files)} files; {MOST_FILES} may be")
    if manifest.size > MOST_BYTES:
        raise BundleError(f"the bundle has {manifest.size} bytes unpacked; {MOST_BYTES} may be")
    check_paths(file.path for file in manifest.files)


def _refusal(path: str) -> str:
    """Return why a path is none, or an empty text."""
    if not path or path in _RESERVED:
        return "that name is taken" if path else "it has no name"
    if "\\" in path or any(unicodedata.category(sign) in _UNSEEN for sign in path):
        return "its name has a backslash or a sign that cannot be seen"
    if unicodedata.normalize("NFC", path) != path:
        return "its name is not in Unicode normal form C"
    parts = path.split("/")
    if any(part in {"", ".", ".."} or part != part.strip() or part.endswith(".") or ":" in part for part in parts):
        return "its path is absolute, leaves the folder, or has a part that some systems change"
    too_long = len(path.encode()) > _MOST_PATH_BYTES or any(len(part.encode()) > _MOST_NAME_BYTES for part in parts)
    return f"its path is longer than {_MOST_PATH_BYTES} bytes, or a part of it than {_MOST_NAME_BYTES}" * too_long


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", path.casefold())


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _text(body: Mapping[str, object], key: str) -> str:
    value = body.get(key)
    if not isinstance(value, str):
        raise BundleError(f"{MANIFEST} has no text {key!r}")
    return value


def _file(path: str, about: object) -> File:
    if not isinstance(about, Mapping) or not about.keys() <= {"size", "sha256", "executable"}:
        raise BundleError(f"{MANIFEST} does not say size and sha256 of {path!r}, and nothing else")
    size, digest, executable = about.get("size"), about.get("sha256"), about.get("executable", False)
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= MOST_BYTES:
        raise BundleError(f"{MANIFEST} says no size of {path!r}")
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise BundleError(f"{MANIFEST} says no sha256 of {path!r}: 64 small hex digits")
    if not isinstance(executable, bool):
        raise BundleError(f"{MANIFEST}: 'executable' of {path!r} is neither true nor false")
    return File(path, size, digest, executable)
