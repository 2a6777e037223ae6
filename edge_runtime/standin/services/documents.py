"""Job documents: their placeholders for files in S3.

Source: AWS IoT developer guide, "Prepare files to be used with jobs": a device gets the document with URLs that were
signed when it asked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

Presign = Callable[[str], str]
DOCUMENT_BYTES: Final = 32_768
EXPIRES_S: Final = 3600
"""How long AWS's URLs hold when the job says nothing else."""
_PLACEHOLDER: Final = re.compile(r"\$\{aws:iot:s3-presigned-url(?:-v2)?:([^}]*)\}")


def presigned(url: str) -> str:
    """Return a URL with a query like that of a signed one. Nobody can check it: a plain web server passes it over."""
    mark = "&" if "?" in url else "?"
    return f"{url}{mark}X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Expires={EXPIRES_S}&X-Amz-Signature=standin"


def with_urls(document: object, presign: Presign) -> object:
    """Return a document with a URL in the place of each placeholder."""
    match document:
        case Mapping():
            return {key: with_urls(value, presign) for key, value in document.items()}
        case list():
            return [with_urls(value, presign) for value in document]
        case str():
            return _PLACEHOLDER.sub(lambda found: presign(found[1]), document)
    return document
