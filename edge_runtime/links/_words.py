"""What the links say of a network that fails them: the same words whichever library noticed."""

from __future__ import annotations

from edge_runtime.errors import LinkError

CLOCK_HINT = "check the clock of this machine (`timedatectl`), `ca`, and that `endpoint` is the broker's full name"


def refused(where: str) -> LinkError:
    """Return the error for a port at which nothing listens."""
    return LinkError(f"nothing listens at {where}", hint="check `endpoint` and `port`, and that the broker runs")


def silent(where: str) -> LinkError:
    """Return the error for a broker that did not answer while the connection was being made."""
    return LinkError(f"{where} did not answer in time", hint="check the network, and that no firewall blocks the port")


def stalled(where: str) -> LinkError:
    """Return the error for a connection that has gone dead without a word."""
    return LinkError(f"{where} has stopped answering", hint="the network or the broker has stalled")


def unresolved(where: str) -> LinkError:
    """Return the error for a host name without an address."""
    return LinkError(
        f"the name {where.rpartition(':')[0]!r} cannot be resolved",
        hint="check `endpoint`, and that this machine has a network and a name server",
    )


def closed(where: str, *, begun: bool = False) -> LinkError:
    """Return the error for a connection that the other side closed without giving a reason.

    `begun`: it stood. Then it may as well be the network.
    """
    return LinkError(
        f"{where} closed the connection",
        hint="AWS IoT Core does so when the certificate is not active or no policy allows iot:Connect for this client",
        answered=not begun,
        hung_up=begun,
    )


def out_of_date(where: str, reason: str, today: str) -> LinkError:
    """Return the error for a broker whose certificate does not hold on the day that the clock of this machine says."""
    return LinkError(
        f"the certificate of {where} is not trusted: {reason}, as the clock of this machine says {today}",
        hint="if that is not today, set the clock: sudo timedatectl set-ntp true; else the broker needs a new one",
        answered=True,
    )


def distrusted(where: str, reason: str) -> LinkError:
    """Return the error for a broker whose certificate does not convince."""
    return LinkError(f"the certificate of {where} is not trusted: {reason}", hint=CLOCK_HINT, answered=True)


def tls_failed(where: str, reason: str) -> LinkError:
    """Return the error for a TLS handshake that failed for another reason."""
    return LinkError(
        f"TLS with {where} failed: {reason}",
        hint="check that the port speaks TLS, and that the broker knows the CA of `certificate`",
        answered=True,
    )


def bad_files(where: str, reason: object, hint: str = "") -> LinkError:
    """Return the error for certificate, key or CA files that are not what they should be."""
    return LinkError(
        f"the TLS files for {where} cannot be used: {reason}",
        hint=hint or "`certificate`, `key` and `ca` must be PEM files, and the key that of the certificate",
    )


def bad_token(where: str, reason: object) -> LinkError:
    """Return the error for a token whose key cannot be used."""
    return LinkError(
        f"the key in the token cannot be used for {where}: {reason}",
        hint="check module, token, key and PIN under `pkcs11`; the user who runs this needs access to the token",
    )
