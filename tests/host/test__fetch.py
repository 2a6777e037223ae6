"""Fetching a bundle from a real https server that breaks off, lies and redirects."""

from __future__ import annotations

import fcntl
import hashlib
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_runtime.errors import LinkError, RefusedError
from edge_runtime.host._fetch import ExpiredError, File, fetch
from edge_runtime.standin import certs
from edge_runtime.standin.certs import Certificates
from tests.host.bundles import BUNDLE, Shop, serving


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certs.make(tmp_path_factory.mktemp("certs"))


@pytest.fixture
def shop(files: Certificates) -> Iterator[Shop]:
    with serving(files) as it:
        yield it


class Buyer:
    """Fetches one bundle."""

    def __init__(self, folder: Path, files: Certificates, data: bytes = BUNDLE) -> None:
        self.file = File(folder / "jobs", len(data), hashlib.sha256(data).hexdigest())
        self.context = ssl.create_default_context(cafile=str(files.client.ca))
        self.stop = threading.Event()

    def fetch(self, url: str) -> bytes:
        """Return what was fetched."""
        fetch(self.file, url, self.stop, self.context)
        assert not self.file.part.exists()
        return self.file.path.read_bytes()


@pytest.fixture
def buyer(tmp_path: Path, files: Certificates) -> Buyer:
    return Buyer(tmp_path, files)


def test_a_bundle_is_fetched_once(shop: Shop, buyer: Buyer) -> None:
    assert buyer.fetch(shop.url) == BUNDLE
    assert buyer.file.path.name == f"{hashlib.sha256(BUNDLE).hexdigest()}.bundle"
    assert buyer.file.path.stat().st_mode & 0o777 == 0o600
    assert buyer.file.folder.stat().st_mode & 0o777 == 0o700
    assert buyer.fetch("https://127.0.0.1:1/") == BUNDLE
    assert shop.asked == [("/app.zip?X-Amz-Signature=secret", "")]


def test_it_goes_on_where_it_broke_off(shop: Shop, buyer: Buyer) -> None:
    shop.cut = [100_000, 50_000]
    for have in (100_000, 150_000):
        with pytest.raises(LinkError, match=f"broke off after {have} of 256000 bytes"):
            buyer.fetch(shop.url)
        assert buyer.file.have() == have
    assert buyer.fetch(shop.url) == BUNDLE
    assert [wanted for _, wanted in shop.asked] == ["", "bytes=100000-", "bytes=150000-"]


def test_a_server_without_ranges_begins_anew(shop: Shop, buyer: Buyer) -> None:
    shop.cut, shop.ranges = [1000], False
    with pytest.raises(LinkError, match="broke off"):
        buyer.fetch(shop.url)
    assert buyer.fetch(shop.url) == BUNDLE


def test_what_a_power_cut_has_spoilt_is_fetched_anew(shop: Shop, buyer: Buyer) -> None:
    buyer.file.folder.mkdir()
    buyer.file.part.write_bytes(b"\0" * 5000)
    with pytest.raises(LinkError, match="what was fetched earlier does not fit"):
        buyer.fetch(shop.url)
    assert buyer.fetch(shop.url) == BUNDLE
    assert [wanted for _, wanted in shop.asked] == ["bytes=5000-", ""]


@pytest.mark.parametrize("size", [len(BUNDLE), len(BUNDLE) + 1])
def test_what_is_as_long_or_longer_and_wrong_is_fetched_anew(shop: Shop, buyer: Buyer, size: int) -> None:
    buyer.file.folder.mkdir()
    buyer.file.part.write_bytes(b"\0" * size)
    if size == len(BUNDLE):
        with pytest.raises(LinkError, match="does not fit"):
            buyer.fetch(shop.url)
    assert buyer.fetch(shop.url) == BUNDLE


def test_a_whole_file_that_has_rotted_is_fetched_anew(shop: Shop, buyer: Buyer) -> None:
    buyer.fetch(shop.url)
    buyer.file.path.write_bytes(b"x" + BUNDLE[1:])
    assert buyer.fetch(shop.url) == BUNDLE
    assert len(shop.asked) == 2


def test_another_content_is_refused(shop: Shop, buyer: Buyer) -> None:
    shop.data = b"x" + BUNDLE[1:]
    with pytest.raises(RefusedError, match="does not have the SHA-256 that the job says"):
        buyer.fetch(shop.url)
    assert buyer.file.have() == 0


def test_more_bytes_are_refused_as_soon_as_they_come(shop: Shop, buyer: Buyer) -> None:
    shop.data = BUNDLE * 40
    with pytest.raises(RefusedError, match="more than the 256000 bytes that the job says"):
        buyer.fetch(shop.url)
    assert buyer.file.have() == 0


def test_fewer_bytes_are_refused(shop: Shop, buyer: Buyer) -> None:
    shop.data = BUNDLE[:5000]
    with pytest.raises(LinkError, match="broke off after 5000 of 256000 bytes"):
        buyer.fetch(shop.url)
    with pytest.raises(RefusedError, match=r"127\.0\.0\.1 has a bundle that is smaller than the job says"):
        buyer.fetch(shop.url)


@pytest.mark.parametrize(
    ("found", "words"),
    [("bytes 0-255999/256000", "other bytes than were asked for"), ("bytes 1000-8999/9000", "not of the 256000 bytes")],
)
def test_a_wrong_range_is_refused(shop: Shop, buyer: Buyer, found: str, words: str) -> None:
    shop.cut, shop.wrong_range = [1000], found
    with pytest.raises(LinkError, match="broke off"):
        buyer.fetch(shop.url)
    with pytest.raises(RefusedError, match=words):
        buyer.fetch(shop.url)


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (403, ExpiredError, r"127\.0\.0\.1 answers 403: the address of the bundle has expired, or was never good"),
        (404, RefusedError, r"127\.0\.0\.1 answers 404 instead of the bundle"),
        (429, LinkError, r"127\.0\.0\.1 answers 429"),
        (503, LinkError, r"127\.0\.0\.1 answers 503"),
    ],
)
def test_what_the_server_may_answer(shop: Shop, buyer: Buyer, status: int, error: type[LinkError], words: str) -> None:
    shop.statuses = [status]
    with pytest.raises(LinkError, match=words) as caught:
        buyer.fetch(shop.url)
    assert type(caught.value) is error
    assert "secret" not in str(caught.value)


def test_a_redirection_to_https_is_followed(shop: Shop, buyer: Buyer) -> None:
    shop.cut = [1000]
    with pytest.raises(LinkError, match="broke off"):
        buyer.fetch(shop.url)
    shop.statuses, shop.location = [307], "/elsewhere"
    assert buyer.fetch(shop.url) == BUNDLE
    assert shop.asked[1:] == [("/app.zip?X-Amz-Signature=secret", "bytes=1000-"), ("/elsewhere", "bytes=1000-")]


@pytest.mark.parametrize(
    "location", ["http://127.0.0.1/a", "file:///etc/passwd", "ftp://127.0.0.1/a", "https://a:b@c/"]
)
def test_a_redirection_elsewhere_is_refused(shop: Shop, buyer: Buyer, location: str) -> None:
    shop.statuses, shop.location = [302], location
    with pytest.raises(LinkError):
        buyer.fetch(shop.url)
    assert buyer.file.have() == 0
    assert len(shop.asked) == 1


def test_redirections_without_end(shop: Shop, buyer: Buyer) -> None:
    shop.statuses, shop.location = [302] * 20, "/again"
    with pytest.raises(LinkError):
        buyer.fetch(shop.url)
    assert len(shop.asked) <= 5


def test_a_certificate_that_nobody_knows(shop: Shop, buyer: Buyer) -> None:
    buyer.context = ssl.create_default_context()
    with pytest.raises(LinkError, match=r"127\.0\.0\.1 cannot be reached: .*CERTIFICATE_VERIFY_FAILED"):
        buyer.fetch(shop.url)
    assert shop.asked == []


def test_a_certificate_of_another_host(shop: Shop, buyer: Buyer, tmp_path: Path) -> None:
    other = certs.make(tmp_path / "other", hosts=["example.com"])
    with serving(other) as elsewhere:
        buyer.context = ssl.create_default_context(cafile=str(other.client.ca))
        with pytest.raises(LinkError, match="CERTIFICATE_VERIFY_FAILED"):
            buyer.fetch(elsewhere.url)
    assert shop.asked == []


def test_nobody_answers(buyer: Buyer) -> None:
    with pytest.raises(LinkError, match=r"127\.0\.0\.1 cannot be reached"):
        buyer.fetch("https://127.0.0.1:1/")


def test_it_ends_when_it_is_told_to(shop: Shop, buyer: Buyer) -> None:
    shop.before = buyer.stop.set
    with pytest.raises(LinkError, match="nobody waits"):
        buyer.fetch(shop.url)
    buyer.stop.clear()
    shop.before = lambda: None
    assert buyer.fetch(shop.url) == BUNDLE


def test_two_do_not_write_one_file(shop: Shop, buyer: Buyer) -> None:
    buyer.file.folder.mkdir()
    with buyer.file.part.open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(LinkError, match="an earlier try to fetch the bundle has not ended yet"):
            buyer.fetch(shop.url)
    assert buyer.fetch(shop.url) == BUNDLE


def test_a_link_in_the_place_of_the_file_is_not_followed(shop: Shop, buyer: Buyer, tmp_path: Path) -> None:
    buyer.file.folder.mkdir()
    (tmp_path / "precious").write_bytes(b"mine")
    buyer.file.part.symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="symbolic links"):
        buyer.fetch(shop.url)
    assert (tmp_path / "precious").read_bytes() == b"mine"
