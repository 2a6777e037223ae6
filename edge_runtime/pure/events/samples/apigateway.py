"""Requests of Amazon API Gateway.

Source of the shapes: Amazon API Gateway developer guide, "Lambda proxy integrations in API Gateway" (REST, payload
1.0) and "Create AWS Lambda proxy integrations for HTTP APIs" (payload 2.0). A REST request has null where something is
absent; an HTTP API leaves it out.
"""

from __future__ import annotations

from typing import Any

from edge_runtime.pure.events.samples._parts import ACCOUNT, EPOCH_S, REGION, pairs, some_id

_API = "abcdef1234"
_DOMAIN = f"{_API}.execute-api.{REGION}.amazonaws.com"
_AGENT = "example/1.0"
_ADDRESS = "192.0.2.1"
_WHEN = "21/Sep/2026:10:15:30 +0000"


def proxy(
    *, method: str = "GET", path: str = "/hello", resource: str = "", query: str = "", body: str = ""
) -> dict[str, Any]:
    """Return a request of a REST API (payload 1.0). RESOURCE is the path as it is declared, as in /items/{id}."""
    headers = {"Accept": "*/*", "Host": _DOMAIN, "User-Agent": _AGENT, "X-Forwarded-For": _ADDRESS}
    if body:
        headers["Content-Type"] = "application/json"
    values, route, method = pairs(query), resource or path, method.upper()
    return {
        "resource": route,
        "path": path,
        "httpMethod": method,
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": {name: many[-1] for name, many in values.items()} or None,
        "multiValueQueryStringParameters": values or None,
        "pathParameters": _path_parameters(route, path) or None,
        "stageVariables": None,
        "requestContext": {
            "resourceId": "2gxmpl",
            "resourcePath": route,
            "httpMethod": method,
            "extendedRequestId": "JJbxmplHYosFVYQ=",
            "requestTime": _WHEN,
            "path": f"/prod{path}",
            "accountId": ACCOUNT,
            "protocol": "HTTP/1.1",
            "stage": "prod",
            "domainPrefix": _API,
            "requestTimeEpoch": EPOCH_S * 1000,
            "requestId": some_id("apigateway", method, path),
            "identity": _identity(),
            "domainName": _DOMAIN,
            "apiId": _API,
        },
        "body": body or None,
        "isBase64Encoded": False,
    }


def http(
    *, method: str = "GET", path: str = "/hello", route: str = "", query: str = "", cookie: str = "", body: str = ""
) -> dict[str, Any]:
    """Return a request of an HTTP API (payload 2.0). ROUTE is the path as it is declared, as in /items/{id}."""
    method, declared = method.upper(), route or path
    headers = {"accept": "*/*", "host": _DOMAIN, "user-agent": _AGENT, "x-forwarded-for": _ADDRESS}
    if body:
        headers["content-type"] = "application/json"
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": f"{method} {declared}",
        "rawPath": path,
        "rawQueryString": query,
        "headers": headers,
        "requestContext": {
            "accountId": ACCOUNT,
            "apiId": _API,
            "domainName": _DOMAIN,
            "domainPrefix": _API,
            "http": {
                "method": method,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": _ADDRESS,
                "userAgent": _AGENT,
            },
            "requestId": "JKJaXmPLvHcESHA=",
            "routeKey": f"{method} {declared}",
            "stage": "$default",
            "time": _WHEN,
            "timeEpoch": EPOCH_S * 1000,
        },
        "isBase64Encoded": False,
    }
    parts = {
        "cookies": [part.strip() for part in cookie.split(";") if part.strip()],
        "queryStringParameters": {name: ",".join(many) for name, many in pairs(query).items()},
        "pathParameters": _path_parameters(declared, path),
        "body": body,
    }
    return event | {name: part for name, part in parts.items() if part}


def _identity() -> dict[str, str | None]:
    absent = (
        "accessKey",
        "accountId",
        "caller",
        "cognitoAuthenticationProvider",
        "cognitoAuthenticationType",
        "cognitoIdentityId",
        "cognitoIdentityPoolId",
        "principalOrgId",
        "user",
        "userArn",
    )
    return {**dict.fromkeys(absent), "sourceIp": _ADDRESS, "userAgent": _AGENT}


def _path_parameters(route: str, path: str) -> dict[str, str]:
    """Return what stands in a path where its route has `{name}`, or `{name+}` for all the rest."""
    found, parts = {}, path.strip("/").split("/")
    for index, part in enumerate(route.strip("/").split("/")):
        if part.startswith("{") and part.endswith("+}"):
            found[part[1:-2]] = "/".join(parts[index:])
        elif part.startswith("{") and part.endswith("}") and index < len(parts):
            found[part[1:-1]] = parts[index]
    return found
