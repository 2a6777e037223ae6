"""The folder of the local broker: who may connect to it, its certificates, and what mosquitto reads.

    broker/             of whoever runs the host
      devices.json      the devices: hash of the password, topics
      own.json          the passwords of the host itself
      ca.pem ca.key     who signs the broker's certificate; devices trust it
      server.*          the broker's certificate, its key, and for which names it was made
      lock              locked while a mosquitto runs here; its pid
      run/              of whom mosquitto runs as, written at each start; and its database

Everything here blocks.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import pwd
import secrets
import ssl
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from edge_runtime.app import LocalBroker
from edge_runtime.cloud import _openssl
from edge_runtime.errors import ConfigError, NotFoundError, StoreError
from edge_runtime.plugin import nearest
from edge_runtime.pure import certificates, mosquitto

FOLDER: Final = "broker"
_SIGNS: Final = "abcdefghijkmnpqrstuvwxyz23456789"
"""32 signs that nobody confuses, on paper or on a small display."""
_PASSWORD_SIGNS: Final = 23
_SOON_S: Final = 60 * 86_400.0


class Known(NamedTuple):
    """A device that may connect."""

    hash: str
    topics: tuple[str, ...]


class User(NamedTuple):
    """As whom mosquitto runs."""

    uid: int
    gid: int


class BrokerFolder:
    """The folder below a state folder. One process at a time changes it: the host, or a command while none runs.

    The methods raise StoreError when the disk does not let them, ConfigError when a file is not what it should be.
    """

    def __init__(self, state: Path) -> None:
        self.path = state / FOLDER
        self.run = self.path / "run"
        self.ca = self.path / "ca.pem"

    # -- who may connect -----------------------------------------------------------------------------------------

    def devices(self) -> dict[str, Known]:
        """Return the devices by name."""
        found = self._load("devices.json")
        try:
            return {name: Known(str(one["hash"]), tuple(one["topics"])) for name, one in found.items()}
        except (TypeError, LookupError) as error:
            raise self._damaged("devices.json") from error

    def add(self, name: str, topics: Sequence[str]) -> str:
        """Let a device connect, and return its password, which is kept nowhere. Raises: ConfigError."""
        mosquitto.check_device(name)
        for one in topics:
            mosquitto.check_grant(one)
        devices = self.devices()
        if name in devices:
            raise ConfigError(
                f"there is a device {name!r} already",
                hint=f"a new password: edge broker passwd {name}; other topics: edge broker remove-device {name}",
            )
        return self._keep(devices, name, tuple(topics))

    def renew(self, name: str) -> str:
        """Give a device another password, and return it. Raises: NotFoundError."""
        devices = self.devices()
        return self._keep(devices, name, self._one(devices, name).topics)

    def remove(self, name: str) -> None:
        """Let a device connect no more. Raises: NotFoundError."""
        devices = self.devices()
        self._one(devices, name)
        del devices[name]
        self._save(devices)

    def own(self) -> Mapping[str, str]:
        """Return the passwords of the host's own users, by their names; made when there are none."""
        users = (mosquitto.READER, mosquitto.WRITER)
        found = self._load("own.json")
        if not all(isinstance(found.get(user), str) for user in users):
            found = {user: _password() for user in users}
            self._write(self.path / "own.json", json.dumps(found).encode())
        return found

    def _keep(self, devices: dict[str, Known], name: str, topics: tuple[str, ...]) -> str:
        password = _password()
        devices[name] = Known(_hashed(password), topics)
        self._save(devices)
        return password

    def _one(self, devices: Mapping[str, Known], name: str) -> Known:
        if name not in devices:
            raise NotFoundError(
                f"there is no device {name!r}{nearest(name, devices)}",
                hint=f"let it connect: edge broker add-device {name}; see those there are: edge broker ls",
            )
        return devices[name]

    def _save(self, devices: Mapping[str, Known]) -> None:
        text = json.dumps({name: one._asdict() for name, one in sorted(devices.items())}, indent=1)
        self._write(self.path / "devices.json", text.encode())

    # -- what mosquitto reads ------------------------------------------------------------------------------------

    def open(self) -> None:
        """Make the folder, and see that it belongs to who runs this. Raises: ConfigError, StoreError."""
        with _mapped(self.path):
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            owner, here = self.path.stat().st_uid, os.geteuid()
        if owner != here:
            name = _name(owner)
            raise ConfigError(
                f"{self.path} belongs to user {name}", hint=f"run it as that user: sudo -u {name} edge ..."
            )

    def lay_out(self, spec: LocalBroker, hosts: Sequence[str], now_s: float) -> User | None:
        """Write everything that mosquitto reads at its start. Nobody but the host can connect then: see `refresh`.

        Returns: as whom it is to run; None when it is the user that runs this.

        Raises: ConfigError, StoreError.
        """
        self.open()
        user = _user()
        self.certify(hosts, now_s)
        with _mapped(self.run):
            self.run.mkdir(mode=0o700, exist_ok=True)
            handle = os.open(self.run, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                os.fchmod(handle, 0o700)
                if user is not None:
                    os.fchown(handle, *user)
            finally:
                os.close(handle)
        self._write(self.run / "mosquitto.conf", mosquitto.configuration(spec).encode(), user)
        self._refresh(spec, user, {})
        return user

    def refresh(self, spec: LocalBroker, user: User | None) -> None:
        """Write anew what mosquitto reads again at SIGHUP: who may connect, and its certificate."""
        self._refresh(spec, user, self.devices())

    def _refresh(self, spec: LocalBroker, user: User | None, devices: Mapping[str, Known]) -> None:
        own = {name: text for name, text in self.own().items() if name == mosquitto.READER or spec.publish}
        hashes = {**{name: _hashed(text) for name, text in own.items()}, **{n: one.hash for n, one in devices.items()}}
        users = mosquitto.users(spec, {name: one.topics for name, one in devices.items()})
        self._write(self.run / "passwd", mosquitto.passwords(hashes).encode(), user)
        self._write(self.run / "acl", mosquitto.access(users).encode(), user)
        for name in ("server.pem", "server.key"):
            self._write(self.run / name, self._read(self.path / name), user)

    # -- certificates --------------------------------------------------------------------------------------------

    def fingerprint(self) -> str:
        """Return the SHA-256 of the authority's certificate in hex."""
        return certificates.parse(self._read(self.ca)).id

    def certify(self, hosts: Sequence[str], now_s: float) -> bool:
        """See that there is a certificate that holds for these hosts; return True when it is another one now.

        The first of them is its common name. `now_s` is the time in seconds since the epoch, by which it may be about
        to end.

        Raises: ConfigError when `openssl` is missing, or the authority is damaged: devices trust no other one.
        """
        authority = (self.ca, self.path / "ca.key")
        if not self.ca.exists():
            if not authority[1].exists():
                self._write(authority[1], _openssl.make_key("ec"))
            self._write(self.ca, _openssl.make_authority(authority[1], f"edge-broker-{hosts[0]}"[:64]))
        self._check_authority(*authority)
        if self._serves(hosts, now_s):
            return False
        certificate, key = self.path / "server.pem", self.path / "server.key"
        names = [name for host in hosts for name in _names(host)]
        self._write(key, _openssl.make_key("ec"))
        self._write(certificate, _openssl.make_server(key, hosts[0], authority, names))
        self._write(self.path / "server.json", json.dumps({"by": self.fingerprint(), "hosts": list(hosts)}).encode())
        return True

    def _check_authority(self, certificate: Path, key: Path) -> None:
        try:
            certificates.parse(self._read(certificate))
            _check_pair(certificate, key)
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"the broker's authority is damaged: {certificate} and {key.name} do not belong together",
                hint=f"put them back from a backup; or rm {certificate} {key}, and give each device the new one",
            ) from error

    def _serves(self, hosts: Sequence[str], now_s: float) -> bool:
        certificate = self.path / "server.pem"
        try:
            known = json.loads((self.path / "server.json").read_bytes())
            holds = known["by"] == self.fingerprint() and {*hosts} <= {*known["hosts"]}
            ends_s = certificates.parse(certificate.read_bytes()).end_s
            _check_pair(certificate, self.path / "server.key")
        except (OSError, ValueError, LookupError, TypeError, RecursionError):
            return False
        return holds and now_s + _SOON_S < ends_s

    # -- files ---------------------------------------------------------------------------------------------------

    def _load(self, name: str) -> dict[str, Any]:
        try:
            with _mapped(self.path / name):
                try:
                    found = json.loads((self.path / name).read_bytes())
                except FileNotFoundError:
                    return {}
        except (ValueError, RecursionError) as error:
            raise self._damaged(name) from error
        if not isinstance(found, dict):
            raise self._damaged(name)
        return found

    def _damaged(self, name: str) -> ConfigError:
        path = self.path / name
        lost = "; each device then needs a new password" if name == "devices.json" else ""
        return ConfigError(f"{path} is damaged", hint=f"put it back from a backup, or remove it: rm {path}{lost}")

    @staticmethod
    def _read(path: Path) -> bytes:
        with _mapped(path):
            return path.read_bytes()

    @staticmethod
    def _write(path: Path, data: bytes, user: User | None = None) -> None:
        """Put a whole file in the place of another one, for one user only."""
        # By descriptor, and under a name that is free: mosquitto's folder is not ours alone.
        draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        with _mapped(path):
            handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
                    file.flush()
                    if user is not None:
                        os.fchown(handle, *user)
                    os.fsync(handle)
                draft.replace(path)
            except BaseException:
                draft.unlink(missing_ok=True)
                raise


@contextlib.contextmanager
def _mapped(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(f"{path} cannot be used: {error.strerror or error}", hint=f"ls -ld {path.parent}") from error


def _password() -> str:
    return "".join(secrets.choice(_SIGNS) for _ in range(_PASSWORD_SIGNS))


def _hashed(password: str) -> str:
    return mosquitto.hashed(password, secrets.token_bytes(12))


def _names(host: str) -> list[str]:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return [f"DNS:{host}"]
    # Libraries of small devices compare the text of an address with host names only.
    return [f"IP:{host}", f"DNS:{host}"] if ":" not in host else [f"IP:{host}"]


def _check_pair(certificate: Path, key: Path) -> None:
    """Raises: ssl.SSLError (an OSError) when the key is another one's."""
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)


def _user() -> User | None:
    """Return as whom mosquitto runs; None: as who runs this. Raises: ConfigError."""
    if os.geteuid() != 0:
        return None
    try:
        found = pwd.getpwnam("mosquitto")
    except KeyError:
        raise ConfigError(
            "the host runs as root, mosquitto never does, and there is no user mosquitto",
            hint="sudo apt install mosquitto, or: sudo useradd --system --no-create-home mosquitto",
        ) from None
    return User(found.pw_uid, found.pw_gid)


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
