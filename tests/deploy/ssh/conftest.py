"""A device that a deployment has been to once: the runtime is on it, and an app runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.ssh.machine import Machine, debian_root
from tests.deploy.ssh.site import Site


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A device as it comes: a Debian, a user, an sshd."""
    root = debian_root()
    found = Machine(Path(tmp_path_factory.mktemp("machine")), root)
    found.on()
    yield found
    found.off()


@pytest.fixture(scope="module")
def site(machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """An app on its way to it."""
    return Site(machine, Path(tmp_path_factory.mktemp("site")))
