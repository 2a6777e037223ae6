"""Events of a WebSocket API, as AWS's own data classes read them."""

from __future__ import annotations

from aws_lambda_powertools.utilities.data_classes import APIGatewayWebSocketEvent

from edge_runtime.pure.events.samples import websocket
from tests.pure.events.samples.reading import read


def test_a_client_connects() -> None:
    event = APIGatewayWebSocketEvent(read(websocket.connect(connection="c=")))
    context = event.request_context
    assert (context.event_type, context.route_key, context.connection_id) == ("CONNECT", "$connect", "c=")
    assert event.headers["Sec-WebSocket-Version"] == "13"
    assert (context.stage, context.message_direction) == ("prod", "IN")


def test_a_client_sends() -> None:
    event = APIGatewayWebSocketEvent(read(websocket.message(connection="c=", body='{"a": 1}', route="hello")))
    context = event.request_context
    assert (context.event_type, context.route_key) == ("MESSAGE", "hello")
    assert (context.message_id, event.json_body) == ("d4xmpl8ZoAMCE1A=", {"a": 1})


def test_a_client_goes() -> None:
    context = APIGatewayWebSocketEvent(read(websocket.disconnect(code=1001, reason="away"))).request_context
    assert (context.event_type, context.route_key) == ("DISCONNECT", "$disconnect")
    assert (context.disconnect_status_code, context.disconnect_reason) == (1001, "away")
