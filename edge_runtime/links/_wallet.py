"""Which identity a link shows: the one on disk, or the one before it as long as the new one does not serve.

Nothing here waits, but it reads files: call it on a thread.
"""

from __future__ import annotations

import logging
import time

from edge_runtime.cloud import identity as identities
from edge_runtime.cloud.identity import Identity
from edge_runtime.errors import ConfigError, LinkError
from edge_runtime.links import _words
from edge_runtime.links._settings import Settings

_log = logging.getLogger(__name__)


class Wallet:
    """The identities of one link."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._proved: Identity | None = None
        """The last one with which a connection stood."""
        self._failed: Identity | None = None
        """The one with which the last attempt failed."""
        self._told = ""

    @property
    def proved(self) -> Identity | None:
        """The last one with which a connection stood."""
        return self._proved

    def read(self) -> Identity | None:
        """Return what is on disk, None for a link without a certificate.

        Raises: LinkError when a file is missing or the two are no pair.
        """
        settings = self._settings
        if not settings.certificate:
            return None
        try:
            return identities.read(settings.certificate, settings.key or None)
        except ConfigError as error:
            raise _words.bad_files(settings.where, error, error.hint) from error

    def choose(self) -> Identity | None:
        """Return what the next attempt is made with.

        That is what is on disk, if it is a pair. Where an earlier one has served before, that one is taken instead when
        what is on disk is no pair or does not hold now, and in turn when an attempt with either has failed.

        Raises: LinkError when what is on disk is no pair and nothing has served before.
        """
        before = self._proved
        try:
            found = self.read()
        except LinkError as error:
            if before is None:
                raise
            self._tell(f"{error}; the certificate before it goes on being used")
            return before
        if found is None or before is None or found == before:
            return found
        if amiss := found.amiss(time.time()):
            self._tell(f"{self._settings.certificate} {amiss}; the certificate before it goes on being used")
            return before
        return before if self._failed == found else found

    def served(self, identity: Identity | None) -> None:
        """Note that a connection stands with it."""
        self._proved, self._failed, self._told = identity, None, ""

    def failed(self, identity: Identity | None) -> None:
        """Note that an attempt with it came to nothing."""
        self._failed = identity

    def _tell(self, text: str) -> None:
        if text != self._told:
            self._told = text
            _log.warning("link: %s", text)
