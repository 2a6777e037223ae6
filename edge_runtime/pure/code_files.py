"""Which files are code, by their names alone."""

from __future__ import annotations

_NOT_CODE = (".pyc", ".pyo", "~", ".swp", ".swx", ".tmp", ".part", ".lock", ".bak")
_FOLDERS_NOT_CODE = frozenset({"__pycache__"})
_VIM_PROBE = "4913"
"""The file by which vim finds out whether it may write into a folder."""


def is_code(name: str) -> bool:
    """Tell whether a file or folder of that name may be part of a function: not what editors and Python leave."""
    return not (
        name.startswith((".", "#")) or name.endswith(_NOT_CODE) or name in _FOLDERS_NOT_CODE or name == _VIM_PROBE
    )
