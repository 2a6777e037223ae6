"""TLS through Python's own library, and clear words for what keeps a connection from standing.

Everything here blocks: call it on a thread.
"""

from __future__ import annotations

import socket
import ssl
import time

from edge_runtime.cloud.identity import Identity
from edge_runtime.errors import LinkError
from edge_runtime.links import _words
from edge_runtime.links._settings import Settings

_OUT_OF_DATE = (9, 10)
"""X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED (OpenSSL, x509_vfy.h)."""


class _Socket(ssl.SSLSocket):
    """Closes itself when the handshake fails, which those who make a context's sockets for us do not."""

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002 - the signature of the base class
        try:
            super().do_handshake(block)
        except BaseException:
            self.close()
            raise


def make_context(settings: Settings, identity: Identity | None) -> ssl.SSLContext:
    """Return the context for a connection: TLS 1.2 or newer, the broker's name and CA always checked.

    It shows the identity, if there is one whose key is no secret of a token.

    Raises: LinkError when a file is not what it should be.
    """
    try:
        context = ssl.create_default_context(cafile=str(settings.ca) if settings.ca else None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if identity is not None:
            identity.load_into(context)
    except (OSError, ValueError) as error:
        raise _words.bad_files(settings.where, _short(error)) from error
    context.sslsocket_class = _Socket
    if settings.alpn:
        context.set_alpn_protocols(settings.alpn)
    return context


def probe(settings: Settings, identity: Identity | None, timeout_s: float) -> LinkError | None:
    """Shake hands once, say nothing, and hang up; return what is wrong with the broker's side of TLS, or None."""
    try:
        with (
            socket.create_connection((settings.endpoint, settings.use_port), timeout_s) as plain,
            make_context(settings, identity).wrap_socket(plain, server_hostname=settings.endpoint),
        ):
            return None
    except ssl.SSLError as error:
        return explain(settings.where, error)
    except LinkError as error:
        return error
    except (OSError, ValueError):
        return None  # the network: the connection itself will tell


def explain(where: str, error: Exception) -> LinkError:
    """Return the LinkError for a connection that could not be made."""
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in _OUT_OF_DATE:
            lost = _words.out_of_date(where, error.verify_message, time.strftime("%Y-%m-%d", time.gmtime()))
        else:
            lost = _words.distrusted(where, error.verify_message)
    elif isinstance(error, ssl.SSLError):
        lost = _words.tls_failed(where, _short(error))
    elif isinstance(error, socket.gaierror):
        lost = _words.unresolved(where)
    elif isinstance(error, ConnectionRefusedError):
        lost = _words.refused(where)
    elif isinstance(error, TimeoutError):
        lost = _words.silent(where)
    else:
        lost = LinkError(f"{where} cannot be reached: {_short(error)}", hint="check the network")
    lost.__cause__ = error
    return lost


def _short(error: Exception) -> str:
    # OpenSSL ends its texts with a position in its own source, `(_ssl.c:1006)`.
    return str(error).split(" (_ssl.c")[0]
