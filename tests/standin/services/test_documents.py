"""Placeholders in job documents."""

from __future__ import annotations

from edge_runtime.standin.services.documents import presigned, with_urls


def test_placeholders_are_replaced_wherever_they_are() -> None:
    document = {
        "a": "${aws:iot:s3-presigned-url:https://b/x}",
        "b": [{"c": "get ${aws:iot:s3-presigned-url-v2:https://b/y} now"}, 1, None],
        "d": "${aws:iot:other:z}",
    }
    assert with_urls(document, lambda url: f"<{url}>") == {
        "a": "<https://b/x>",
        "b": [{"c": "get <https://b/y> now"}, 1, None],
        "d": "${aws:iot:other:z}",
    }


def test_a_url_looks_signed() -> None:
    query = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Expires=3600&X-Amz-Signature=standin"
    assert presigned("https://b/x") == f"https://b/x?{query}"
    assert presigned("https://b/x?v=1") == f"https://b/x?v=1&{query}"
