"""One AWS account's services on a stand-in's broker, and where they are kept."""

from __future__ import annotations

import asyncio
import logging
import shutil
import tempfile
from pathlib import Path
from typing import Final

from edge_runtime.errors import ConfigError, StoreError
from edge_runtime.standin.broker import Broker
from edge_runtime.standin.certs import Authority
from edge_runtime.standin.registry import Registry
from edge_runtime.standin.services import files
from edge_runtime.standin.services.jobs import Jobs
from edge_runtime.standin.services.provisioning import Provisioning
from edge_runtime.standin.services.shadows import Shadows
from edge_runtime.standin.services.traffic import Traffic

_log = logging.getLogger(__name__)
SAVE_AFTER_S: Final = 0.1
"""How long changes are collected before the file is written."""
_SAVE: Final = "account: save"


class Account:
    """Shadows, jobs and fleet provisioning for the clients of a broker, until `close`.

    `ca` is the folder of the CA that signs certificates; set it before the first is asked for. Without one, a CA is
    made that lives as long as the account: nobody but its owner can trust it.
    """

    def __init__(self, broker: Broker, registry: Registry, *, ca: Path | None = None) -> None:
        self.registry = registry
        self.ca = ca
        self.shadows = Shadows(broker)
        self.jobs = Jobs(broker, registry)
        self.traffic = Traffic(broker)
        self.provisioning = Provisioning(broker, registry, self._authority)
        self._broker = broker
        self._file: Path | None = None
        self._is_changed = False
        self._temporary = ""
        broker.services += [self.shadows, self.jobs, self.provisioning]

    def keep_in(self, path: Path) -> None:
        """Add what a file holds, and keep all changes there from now on; it need not be there yet.

        A change is in the file a tenth of a second later, or when the account is closed. Call it in an event loop when
        the file may hold jobs with timers.

        Raises: ConfigError when the file cannot be read or holds what cannot be.
        """
        self.load(path)
        self._file = path
        self.shadows.changed = self.jobs.changed = self._note
        self.registry.watchers.append(self._note)

    def load(self, path: Path) -> None:
        """Add what a file holds; nothing when it is not there.

        Raises: ConfigError when it cannot be read or holds what cannot be.
        """
        try:
            files.load(files.read_file(path), path.parent, self.registry, self.shadows, self.jobs)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}", hint=error.hint) from error
        if any(one.due_s for one in self.jobs.executions.values()):
            self._broker.begin()
            self.jobs.watch()

    def save(self, path: Path) -> None:
        """Write everything into a file, for `load`. Raises: StoreError."""
        files.write_file(path, files.dump(self.registry, self.shadows, self.jobs))

    async def close(self) -> None:
        """End what is under way and write what has changed. Safe to call twice."""
        await self.provisioning.close()
        self._keep()
        if self._temporary:
            shutil.rmtree(self._temporary, ignore_errors=True)
            self._temporary = ""

    def _authority(self) -> Authority:
        if self.ca is not None:
            return Authority(self.ca)
        self._temporary = self._temporary or tempfile.mkdtemp(prefix="edge-standin-")
        return Authority(Path(self._temporary))

    def _note(self) -> None:
        if self._is_changed:
            return
        self._is_changed = True
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return  # filled before it runs: `close` writes it, or the next change
        self._broker.later(_SAVE, SAVE_AFTER_S, lambda _: self._keep())

    def _keep(self) -> None:
        if self._file is None or not self._is_changed:
            return
        self._is_changed = False
        try:
            self.save(self._file)
        except StoreError as error:
            _log.error("%s", error)
