"""Requests of API Gateway, as AWS's own data classes read them."""

from __future__ import annotations

from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEvent, APIGatewayProxyEventV2

from edge_runtime.pure.events.samples import apigateway
from tests.pure.events.samples.reading import read


def test_a_rest_request() -> None:
    made = apigateway.proxy(method="post", path="/a/1", resource="/a/{id}", query="x=1&x=2&y=", body='{"b": 2}')
    event = APIGatewayProxyEvent(read(made))
    assert (event.http_method, event.path, event.resource) == ("POST", "/a/1", "/a/{id}")
    assert event.path_parameters == {"id": "1"}
    assert event.query_string_parameters == {"x": "2", "y": ""}
    assert event.multi_value_query_string_parameters == {"x": ["1", "2"], "y": [""]}
    assert (event.json_body, event.is_base64_encoded) == ({"b": 2}, False)
    assert event.headers["content-type"] == "application/json"
    context = event.request_context
    assert (context.stage, context.path, context.account_id) == ("prod", "/prod/a/1", "123456789012")
    assert (context.request_time_epoch, context.identity.source_ip) == (1_789_985_730_000, "192.0.2.1")


def test_what_a_rest_request_lacks_is_null() -> None:
    event = read(apigateway.proxy())
    absent = ["queryStringParameters", "multiValueQueryStringParameters", "pathParameters", "stageVariables", "body"]
    assert [name for name, value in event.items() if value is None] == absent


def test_an_http_request() -> None:
    made = apigateway.http(
        method="get", path="/f/a/b", route="/f/{rest+}", query="x=1&x=2", cookie="a=1; b=2", body="hi"
    )
    event = APIGatewayProxyEventV2(read(made))
    assert (event.version, event.route_key, event.raw_path) == ("2.0", "GET /f/{rest+}", "/f/a/b")
    assert (event.raw_query_string, event.query_string_parameters) == ("x=1&x=2", {"x": "1,2"})
    assert event.path_parameters == {"rest": "a/b"}
    assert (event.cookies, event.body) == (["a=1", "b=2"], "hi")
    http = event.request_context.http
    assert (http.method, http.path, http.source_ip) == ("GET", "/f/a/b", "192.0.2.1")
    assert (event.request_context.stage, event.request_context.time_epoch) == ("$default", 1_789_985_730_000)


def test_what_an_http_request_lacks_is_left_out() -> None:
    event = read(apigateway.http())
    assert {"cookies", "queryStringParameters", "pathParameters", "body"}.isdisjoint(event)
    assert all(name == name.lower() for name in event["headers"])
    assert event["routeKey"] == "GET /hello"


def test_a_path_shorter_than_its_route_has_fewer_parameters() -> None:
    assert read(apigateway.http(path="/a", route="/a/{id}")).get("pathParameters") is None
