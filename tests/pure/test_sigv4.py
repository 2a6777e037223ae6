"""Signatures, beside those that botocore makes."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.pure.sigv4 import Keys, encoded, path_of, signed_get

EPOCH_S = 1_795_401_000
LASTING = Keys("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")


def of_botocore(host: str, path: str, query: dict[str, str], keys: Keys) -> str:
    """Return the authorization that botocore's signer for S3 makes of the same request at the same time."""
    auth = pytest.importorskip("botocore.auth")
    from botocore.awsrequest import AWSRequest  # noqa: PLC0415 - skipped without it
    from botocore.credentials import Credentials  # noqa: PLC0415 - same

    request = AWSRequest("GET", f"http://{host}{path}?{encoded(query)}", headers={"host": host})
    request.context["timestamp"] = datetime.fromtimestamp(EPOCH_S, UTC).strftime("%Y%m%dT%H%M%SZ")
    signer = auth.S3SigV4Auth(Credentials(keys.access, keys.secret, keys.token or None), "s3", "snow")
    signer._modify_request_before_signing(request)
    canonical = signer.canonical_request(request)
    signature = signer.signature(signer.string_to_sign(request, canonical), request)
    names = signer.signed_headers(signer.headers_to_sign(request))
    scope = signer.credential_scope(request)
    return f"AWS4-HMAC-SHA256 Credential={keys.access}/{scope}, SignedHeaders={names}, Signature={signature}"


@pytest.mark.parametrize(
    ("path", "query", "keys"),
    [
        (path_of("pictures"), {}, LASTING),
        (path_of("pictures"), {"prefix": "in/ü b+c&d", "max-keys": "1000", "marker": ""}, LASTING),
        (path_of("pictures", "in/a b+c~d'ä.jpg"), {}, LASTING._replace(token="a/token=")),  # noqa: S106 - made up
    ],
)
def test_it_is_that_of_botocore(path: str, query: dict[str, str], keys: Keys) -> None:
    host = "192.0.2.10:8080"
    headers = signed_get(host, path, encoded(query), keys, region="snow", epoch_s=EPOCH_S)
    assert headers["authorization"] == of_botocore(host, path, query, keys)
    assert headers["x-amz-date"] == "20261123T023000Z"


def test_the_example_of_the_documentation() -> None:
    """Amazon S3 API reference, "Authenticating requests: signature calculations", GET bucket (list objects)."""
    keys = Keys("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    moment = datetime(2013, 5, 24, tzinfo=UTC).timestamp()
    query = encoded({"prefix": "J", "max-keys": "2"})
    headers = signed_get("examplebucket.s3.amazonaws.com", "/", query, keys, region="us-east-1", epoch_s=moment)
    wanted = "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
    assert headers["authorization"].endswith(f"Signature={wanted}")


@given(st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=4))
def test_a_query_is_read_as_it_was_meant(query: dict[str, str]) -> None:
    assert dict(parse_qsl(encoded(query), keep_blank_values=True)) == query
