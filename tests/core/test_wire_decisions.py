"""Tables of the wire's pure decisions: pace, framing of uploads, headers carried, cures for refusals."""

from __future__ import annotations

import base64
from random import Random

import pytest

from tests.core import ONE_MD5
from worker.core.aws_chunked import Framer, encoded_length
from worker.core.compare import Seen
from worker.core.errors import AttributeLostError
from worker.core.headers import carried, seen
from worker.core.http import Head
from worker.core.pace import Pace
from worker.core.refusal import Cure, cure, refusal


def test_a_peer_that_keeps_the_pace_is_never_stalled() -> None:
    pace = Pace(10, 100, 0)
    assert not any(pace.stalled(10, second) for second in range(1000))


@pytest.mark.parametrize(("bytes_", "stalled"), [(0, True), (9, True), (10, False)])
def test_drips_count_like_silence(bytes_: int, *, stalled: bool) -> None:
    pace = Pace(10, 91, 0)
    assert any(pace.stalled(bytes_, second) for second in range(1, 11)) is stalled


def test_what_moved_before_is_no_credit() -> None:
    pace = Pace(10, 100, 0)
    assert not pace.stalled(10**9, 10)
    assert not pace.stalled(0, 19.9)
    assert pace.stalled(0, 20)


@pytest.mark.parametrize("size", [0, 1, 9, 10, 11, 20, 105])
@pytest.mark.parametrize("piece", [1, 3, 10, 200])
def test_upload_framing(size: int, piece: int) -> None:
    body, framer, out = Random(size).randbytes(size), Framer(size, chunk=10), b""
    for at in range(0, size, piece):
        out += b"".join(framer.frame(memoryview(body[at : at + piece])))
    out += framer.end("x-amz-checksum-crc64nvme:AAAAAAAAAAA=")
    assert len(out) == encoded_length(size, len("x-amz-checksum-crc64nvme:AAAAAAAAAAA="), chunk=10)
    content, at = b"", 0
    while length := int(out[at : out.index(b"\r\n", at)], 16):
        start = out.index(b"\r\n", at) + 2
        content += out[start : start + length]
        at = start + length + 2
    assert content == body
    assert out[at:] == b"0\r\nx-amz-checksum-crc64nvme:AAAAAAAAAAA=\r\n\r\n"


CRC = base64.b64encode(bytes(8)).decode()


@pytest.mark.parametrize(
    ("headers", "what"),
    [
        ({"etag": f'"{ONE_MD5}"'}, Seen(1, ONE_MD5)),
        ({"etag": '"a"', "x-amz-server-side-encryption": "AES256"}, Seen(1, "a")),
        ({"etag": '"a"', "x-amz-server-side-encryption": "aws:kms"}, Seen(1, "a", digest=False)),
        ({"etag": '"a"', "x-amz-server-side-encryption": "aws:kms:dsse"}, Seen(1, "a", digest=False)),
        ({"x-amz-server-side-encryption-customer-algorithm": "AES256"}, Seen(1, "", digest=False)),
        ({"x-amz-checksum-crc64nvme": CRC}, Seen(1, "", checksums={"CRC64NVME": CRC})),
        (
            {"x-amz-checksum-sha256": "s", "x-amz-checksum-type": "FULL_OBJECT"},
            Seen(1, "", checksums={"SHA256": "s"}),
        ),
        ({"x-amz-checksum-sha256": "s", "x-amz-checksum-type": "COMPOSITE"}, Seen(1, "")),
        ({"x-amz-checksum-sha1": "s-2"}, Seen(1, "")),
    ],
)
def test_what_headers_say_of_the_bytes(headers: dict[str, str], what: Seen) -> None:
    assert seen(headers, 1) == what


def test_what_is_carried_over() -> None:
    kept = {
        "cache-control": "no-cache",
        "content-disposition": "attachment",
        "content-encoding": "gzip",
        "content-language": "de",
        "content-type": "text/plain",
        "expires": "Sat, 03 Feb 2031 04:05:06 GMT",
        "x-amz-meta-a": "1",
        "x-amz-meta-empty": "",
        "x-amz-website-redirect-location": "/x",
    }
    left = {
        "etag": '"a"',
        "server": "S3",
        "x-amz-version-id": "v",
        "x-amz-storage-class": "GLACIER",
        "date": "x",
    }
    assert carried(kept | left) == kept


@pytest.mark.parametrize("headers", [{"x-amz-missing-meta": "2"}, {"expires": "0"}, {"expires": "tomorrow"}])
def test_what_cannot_be_carried_over(headers: dict[str, str]) -> None:
    with pytest.raises(AttributeLostError):
        carried(headers)


def told(status: int, code: str = "", more: str = "", **headers: str) -> Cure | None:
    """The cure for an answer to a request that was signed for us-east-1, with a trailer."""
    body = f"<Error><Code>{code}</Code><Message>a &amp; b</Message>{more}</Error>" if code else ""
    head = Head(status, {name.replace("_", "-"): value for name, value in headers.items()})
    return cure(refusal(head, body.encode()), "us-east-1", trailer=True)


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (told(301, "PermanentRedirect", x_amz_bucket_region="eu-west-1"), Cure.REGION),
        (told(301, "PermanentRedirect", x_amz_bucket_region="us-east-1"), None),
        (told(301, "PermanentRedirect"), None),
        (told(400, "AuthorizationHeaderMalformed", "<Region>eu-west-1</Region>"), Cure.REGION),
        (told(400, "AuthorizationHeaderMalformed", "<Region>us-east-1</Region>"), None),
        (told(403, "AccessDenied", x_amz_bucket_region="eu-west-1"), None),
        (told(307, "TemporaryRedirect", location="https://elsewhere/"), Cure.LOCATION),
        (told(307, "TemporaryRedirect", location="https://x/", x_amz_bucket_region="eu-west-1"), Cure.REGION),
        (told(307), None),
        (told(403, "RequestTimeTooSkewed"), Cure.CLOCK),
        (told(400, "ExpiredToken"), Cure.KEYS),
        (told(403, "InvalidAccessKeyId"), Cure.KEYS),
        (told(403, "SignatureDoesNotMatch"), Cure.KEYS),
        (told(403, "AccessDenied"), None),
        (told(501, "NotImplemented"), Cure.NO_TRAILER),
        (told(501, "NotImplemented", "<Header>If-Match</Header>"), Cure.NO_CONDITION),
        (told(503, "SlowDown"), None),
        (told(503), None),
    ],
)
def test_cures(found: Cure | None, wanted: Cure | None) -> None:
    assert found is wanted


def test_a_refusal_is_read() -> None:
    found = refusal(
        Head(404, {}), b"<?xml?>\n<Error><Code>NoSuchKey</Code><Message>a &amp; b</Message></Error>"
    )
    assert (found.code, found.message) == ("NoSuchKey", "a & b")
    assert refusal(Head(502, {}), b"<html>\xff bad gateway").code == "HTTP 502"
