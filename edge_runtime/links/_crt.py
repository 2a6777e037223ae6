"""awscrt's MQTT 5 client, brought down to one connection. Imported by `awscrt.py` when it connects, never before.

Callbacks of the library run on a thread of its own; all they do is to post to the line.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from concurrent.futures import Future as Answer
from functools import cache, partial
from typing import Any

from awscrt import io, mqtt5

from edge_runtime.cloud.identity import Identity
from edge_runtime.errors import LinkError
from edge_runtime.links import _codes, _words
from edge_runtime.links._codes import FILTERS_PER_SUBSCRIBE
from edge_runtime.links._crt_errors import explain, explain_publish, is_vague
from edge_runtime.links._crt_publish import Publish, closed, no_delay, publisher, reason
from edge_runtime.links._keep_alive import SILENCE_S
from edge_runtime.links._line import MOST_UNSTORED, Line
from edge_runtime.links._settings import Settings
from edge_runtime.links._tls import probe
from edge_runtime.links._token import Pkcs11
from edge_runtime.threads import in_thread

_NEVER_MS = 24 * 3600 * 1000
"""The client may not reconnect by itself: whoever holds the link does that."""
_PROBE_TIMEOUT_S = 10.0
PROBE_AFTER_S = 3.0
"""awscrt tells of a failed TLS handshake 10 to 30 s late and gives no reason: after this long the link looks itself."""
LEAST_S = 1.0
"""Between an attempt that has failed and that look."""
_STOP_TIMEOUT_S = 1.0


class Connection:
    """One connection of awscrt. All methods but the callbacks that only post belong to the loop's thread."""

    def __init__(
        self, settings: Settings, line: Line, identity: Identity | None, tls: io.ClientTlsContext | None
    ) -> None:
        self._settings, self._line, self._where = settings, line, settings.where
        self._identity, self._tls = identity, tls
        self._resumed = False
        self._up = line.expect()
        self._loop = asyncio.get_running_loop()
        self._vague: asyncio.Future[LinkError] = self._loop.create_future()
        """The attempt has failed, perhaps for TLS, and the library does not know why."""
        self._started = self._attempted = False
        self._stopped = asyncio.Event()
        try:
            group = io.EventLoopGroup(1)
            self._ended = group.shutdown_event
            bootstrap = io.ClientBootstrap(group, io.DefaultHostResolver(group))
            self._client: mqtt5.Client | None = mqtt5.Client(self._options(bootstrap))
        except LinkError:
            raise
        except Exception as error:
            raise explain(self._where, error) from error
        self._publish: Publish = publisher(self._client)

    def _options(self, bootstrap: io.ClientBootstrap) -> mqtt5.ClientOptions:
        settings, post = self._settings, self._line.post
        sockets = io.SocketOptions()
        patience_ms = int(min(settings.connect_timeout_s, SILENCE_S) * 1000)
        sockets.connect_timeout_ms = patience_ms
        return mqtt5.ClientOptions(
            host_name=settings.endpoint,
            port=settings.use_port,
            bootstrap=bootstrap,
            socket_options=sockets,
            tls_ctx=self._tls,
            connect_options=mqtt5.ConnectPacket(
                client_id=settings.client_id,
                keep_alive_interval_sec=settings.keep_alive_s,
                username=settings.username or None,
                password=settings.password or None,
                session_expiry_interval_sec=settings.session_expiry_s,
                request_problem_information=True,
                receive_maximum=MOST_UNSTORED,
            ),
            session_behavior=mqtt5.ClientSessionBehaviorType.REJOIN_ALWAYS,
            # The uplink has a token bucket of its own; the library's would hold a local broker to 100 a second.
            extended_validation_and_flow_control_options=mqtt5.ExtendedValidationAndFlowControlOptions.NONE,
            offline_queue_behavior=mqtt5.ClientOperationQueueBehaviorType.FAIL_ALL_ON_DISCONNECT,
            min_reconnect_delay_ms=_NEVER_MS,
            max_reconnect_delay_ms=_NEVER_MS,
            ping_timeout_ms=settings.keep_alive_s * 500,  # a ping after keep_alive_s, its answer half as long later
            connack_timeout_ms=patience_ms,
            on_publish_callback_fn=self._on_publish,
            on_lifecycle_event_attempting_connect_fn=lambda _: post(self._attempting),
            on_lifecycle_event_connection_success_fn=lambda data: post(self._connected, data),
            on_lifecycle_event_connection_failure_fn=lambda data: post(self._failed, data),
            on_lifecycle_event_disconnection_fn=lambda data: post(self._disconnected, data),
            on_lifecycle_event_stopped_fn=lambda _: post(self._stopped.set),
            disable_metrics=True,
        )

    async def open(self) -> bool:
        """Return at the CONNACK, True when the session was resumed. Raises: LinkError."""
        if self._client is not None:
            self._started = True
            self._client.start()
        if self._settings.use_tls:
            await self._watch()
        await self._up
        return self._resumed

    async def _watch(self) -> None:
        """Return when it is up or has failed; look at the broker's side of TLS when nobody says why not."""
        told: list[asyncio.Future[Any]] = [self._up, self._vague]
        await asyncio.wait(told, timeout=PROBE_AFTER_S, return_when=asyncio.FIRST_COMPLETED)
        if self._vague.done():  # AWS takes one connection a second from a client, and this one has only just failed
            await asyncio.wait([self._up], timeout=LEAST_S)
        if self._up.done():
            return
        look = partial(probe, self._settings, self._identity, _PROBE_TIMEOUT_S)
        looking = in_thread("link.probe", look)
        either: list[asyncio.Future[Any]] = [self._up, looking]
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if self._up.done():
                return
            if (fault := looking.result()) is not None:
                raise fault
            if self._vague.done():
                raise self._vague.result()
            # All is well, so it is this handshake that went wrong: half a minute may pass before awscrt says so.
            await asyncio.wait([self._up], timeout=PROBE_AFTER_S)
            if not self._up.done():
                raise _words.silent(self._where)
        finally:
            looking.cancel()

    def _attempting(self) -> None:
        self._attempted = True
        if self._line.error is not None:
            self.hang_up()

    def _connected(self, data: mqtt5.LifecycleConnectSuccessData) -> None:
        self._resumed = bool(data.connack_packet.session_present)
        no_delay(self._settings.use_port)
        self._line.settle(self._up, None)

    def _failed(self, data: mqtt5.LifecycleConnectFailureData) -> None:
        answer = data.connack_packet
        if answer is not None:
            error = _codes.connect_error(self._where, reason(answer.reason_code), answer.reason_string or "")
        else:
            error = explain(self._where, data.exception)
            if self._settings.use_tls and is_vague(data.exception) and not self._vague.done():
                self._vague.set_result(error)  # `_watch` finds out more
                return
        self._line.end(error)

    def _disconnected(self, data: mqtt5.LifecycleDisconnectData) -> None:
        packet = data.disconnect_packet
        if packet is not None:
            error = _codes.end_error(self._where, reason(packet.reason_code), packet.reason_string or "")
        else:
            error = explain(self._where, data.exception, begun=True)
        self._line.end(error)

    async def subscribe(self, filters: Sequence[str]) -> None:
        """Subscribe with QoS 1 and check every reason code. Raises: RefusedError, or LinkError with the line."""
        for first in range(0, len(filters), FILTERS_PER_SUBSCRIBE):
            part = filters[first : first + FILTERS_PER_SUBSCRIBE]
            packet = mqtt5.SubscribePacket([mqtt5.Subscription(f, mqtt5.QoS.AT_LEAST_ONCE) for f in part])
            granted = self._line.expect()
            if self._client is not None and self._line.error is None:
                try:
                    answer = self._client.subscribe(packet)
                except Exception as error:
                    raise explain(self._where, error) from error
                answer.add_done_callback(partial(self._line.post, self._granted, part, granted))
            await granted

    def _granted(self, part: Sequence[str], granted: asyncio.Future[None], answer: Answer[mqtt5.SubackPacket]) -> None:
        failed = answer.exception()
        if failed is not None:
            self._line.settle(granted, explain(self._where, failed))
            return
        packet = answer.result()
        codes = [reason(code) for code in packet.reason_codes]
        self._line.settle(granted, _codes.suback_error(part, codes, packet.reason_string or ""))

    def _on_publish(self, data: mqtt5.PublishReceivedData) -> None:
        # On awscrt's thread: taking control of the acknowledgement is allowed only here.
        packet, take = data.publish_packet, data.acquire_publish_acknowledgement_control
        properties = {p.name: p.value for p in packet.user_properties or ()}
        ack = partial(self._acknowledge, take()) if take is not None else None
        self._line.post(self._line.deliver, packet.topic, bytes(packet.payload or b""), properties, ack)

    def _acknowledge(self, handle: mqtt5.PublishAcknowledgementControlHandle) -> None:
        if self._client is None or self._line.error is not None:
            return  # the broker sends it again
        try:
            self._client.invoke_publish_acknowledgement(handle)
        except Exception as error:  # noqa: BLE001 - a message that cannot be acknowledged needs a new connection
            self._line.end(explain(self._where, error))

    def send(self, future: asyncio.Future[None], topic: str, payload: bytes, properties: Mapping[str, str]) -> None:
        """Publish with QoS 1; settles the future on the line at the PUBACK, or at once when that cannot come."""

        def acked(error: BaseException | None, code: int, text: str | None) -> None:
            self._line.post(self._settle, future, topic, error, code, text)

        try:
            self._publish(topic, payload, properties, acked)
        except Exception as error:  # noqa: BLE001 - what the library refuses to take
            self._settle(future, topic, error, 0, None)

    def _settle(
        self, future: asyncio.Future[None], topic: str, error: BaseException | None, code: int, text: str | None
    ) -> None:
        if error is None:
            self._line.settle(future, _codes.puback_error(topic, code, text or ""))
        else:
            self._line.settle(future, explain_publish(self._where, topic, error))

    def hang_up(self) -> None:
        """Disconnect without waiting: the line is over. Safe to call twice."""
        # A client that is stopped before it began never says that it has stopped: let it begin first.
        if self._client is not None and self._attempted:
            self._client.stop()

    async def free(self) -> None:
        """Return when the library has let go of the connection and has ended its thread.

        After a failed TLS handshake the library keeps both for 10 to 30 s, whatever one does, so as to tell an
        attacker nothing by its timing. That is not waited for.
        """
        if self._client is None:
            return
        if self._started:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_STOP_TIMEOUT_S):
                    await self._stopped.wait()
        self._client, self._publish = None, closed
        if self._stopped.is_set() or not self._started:
            await in_thread("awscrt.end", partial(self._ended.wait, _STOP_TIMEOUT_S))


@cache
def _library(module: str) -> io.Pkcs11Lib:
    """Load a token's library, once for this process: it may not like to be loaded twice."""
    return io.Pkcs11Lib(file=module)


def tls_context(settings: Settings, identity: Identity | None) -> io.ClientTlsContext | None:
    """Return what the library needs for TLS, None for a connection without.

    May take a moment, as a token does: call it on a thread. Raises: LinkError.
    """
    if not settings.use_tls:
        return None
    options = io.TlsContextOptions()
    try:
        if identity is not None and settings.pkcs11 is not None:
            options = _token_options(settings.pkcs11, identity)
        elif identity is not None:
            options = io.TlsContextOptions.create_client_with_mtls(identity.certificate, identity.key)
        if settings.ca:
            options.override_default_trust_store_from_path(None, str(settings.ca))
        options.min_tls_ver = io.TlsVersion.TLSv1_2
        if settings.alpn:
            options.alpn_list = settings.alpn
        return io.ClientTlsContext(options)
    except Exception as error:
        bad = _words.bad_files if settings.pkcs11 is None else _words.bad_token
        raise bad(settings.where, error) from error


def _token_options(token: Pkcs11, identity: Identity) -> io.TlsContextOptions:
    return io.TlsContextOptions.create_client_with_mtls_pkcs11(
        pkcs11_lib=_library(str(token.module)),
        user_pin=token.read_pin(),
        token_label=token.token,
        private_key_label=token.key or None,
        cert_file_contents=identity.certificate.decode("ascii", errors="replace"),
    )
