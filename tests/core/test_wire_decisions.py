"""Tables of the wire's pure decisions: pace, framing of uploads, headers carried, cures for refusals."""

from __future__ import annotations

import base64
from random import Random
from typing import Any

import pytest

from tests.core import ONE_MD5
from worker.core.aws_chunked import Framer, encoded_length
from worker.core.compare import Seen
from worker.core.errors import AttributeLostError
from worker.core.headers import attributes, beside, is_archived, seen
from worker.core.http import Head
from worker.core.options import Options
from worker.core.pace import Pace
from worker.core.refusal import Cure, Refusal, advice, cure, refusal


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


PLAIN = {
    "cache-control": "no-cache",
    "content-disposition": "attachment",
    "content-encoding": "gzip",
    "content-language": "de",
    "content-type": "text/plain",
    "expires": "Sat, 03 Feb 2031 04:05:06 GMT",
    "x-amz-meta-a": "1",
    "x-amz-meta-empty": "",
    "x-amz-meta-unicode": "\u00c3\u00a9",
}
BESIDE = {
    "x-amz-website-redirect-location": "/x",
    "x-amz-storage-class": "GLACIER_IR",
    "x-amz-object-lock-mode": "GOVERNANCE",
    "x-amz-object-lock-retain-until-date": "2031-01-01T00:00:00.000Z",
    "x-amz-object-lock-legal-hold": "ON",
}
LEFT = {
    "etag": '"a"',
    "server": "S3",
    "x-amz-version-id": "v",
    "x-amz-server-side-encryption": "aws:kms",
    "x-amz-server-side-encryption-aws-kms-key-id": "key",
    "x-amz-tagging-count": "2",
    "date": "Sat, 03 Feb 2029 04:05:06 GMT",
}


def test_what_is_carried_over() -> None:
    tags = [("a b+", "c=&d"), ("\u00e9", "")]
    assert attributes(PLAIN | BESIDE | LEFT, tags, Options()) == PLAIN | BESIDE | {
        "x-amz-tagging": "a%20b%2B=c%3D%26d&%C3%A9="
    }
    assert beside(PLAIN | BESIDE | LEFT, Options()) == BESIDE


@pytest.mark.parametrize(
    ("options", "without", "more"),
    [
        ({"storage_class": "STANDARD_IA"}, [], {"x-amz-storage-class": "STANDARD_IA"}),
        ({"storage_class": "STANDARD"}, ["x-amz-storage-class"], {}),
        ({"acl": "bucket-owner-full-control"}, [], {"x-amz-acl": "bucket-owner-full-control"}),
        ({"sse": "AES256"}, [], {"x-amz-server-side-encryption": "AES256"}),
        (
            {"sse": "aws:kms:dsse", "sse_kms_key_id": "k"},
            [],
            {
                "x-amz-server-side-encryption": "aws:kms:dsse",
                "x-amz-server-side-encryption-aws-kms-key-id": "k",
            },
        ),
        ({"object_lock": "ignore"}, [name for name in BESIDE if "lock" in name], {}),
        ({"request_payer": True}, [], {}),
    ],
)
def test_options_change_what_is_sent(
    options: dict[str, Any], without: list[str], more: dict[str, str]
) -> None:
    expected = {name: value for name, value in (BESIDE | more).items() if name not in without}
    assert beside(PLAIN | BESIDE | LEFT, Options(**options)) == expected
    assert attributes(PLAIN | BESIDE | LEFT, [], Options(**options)) == PLAIN | expected


@pytest.mark.parametrize(
    ("until", "hold", "sent"),
    [
        ("2029-02-03T04:05:07.000Z", "OFF", {"mode", "retain-until-date"}),
        ("2029-02-03T04:05:06Z", "OFF", set()),
        ("2029-02-03T04:05:06Z", "ON", {"legal-hold"}),
    ],
)
def test_a_lock_is_carried_over_while_it_lasts(until: str, hold: str, sent: set[str]) -> None:
    lock = {"mode": "COMPLIANCE", "retain-until-date": until, "legal-hold": hold}
    headers = LEFT | {f"x-amz-object-lock-{name}": value for name, value in lock.items()}
    assert beside(headers, Options()) == {f"x-amz-object-lock-{name}": lock[name] for name in sent}


@pytest.mark.parametrize("headers", [{"x-amz-missing-meta": "2"}, {"expires": "0"}, {"expires": "tomorrow"}])
def test_what_cannot_be_carried_over(headers: dict[str, str]) -> None:
    with pytest.raises(AttributeLostError):
        attributes(headers, [], Options())


@pytest.mark.parametrize(
    ("status", "code", "header", "option"),
    [
        (400, "InvalidStorageClass", "x-amz-storage-class", "--storage-class"),
        (400, "AccessControlListNotSupported", "x-amz-acl", "--acl"),
        (400, "InvalidRequest", "x-amz-object-lock-mode", "--object-lock ignore"),
        (403, "AccessDenied", "x-amz-object-lock-legal-hold", "--object-lock ignore"),
        (403, "AccessDenied", "x-amz-acl", "s3:PutObjectAcl"),
        (403, "AccessDenied", "x-amz-tagging", "--tags ignore"),
        (403, "AccessDenied", "content-type", ""),
        (400, "InvalidRequest", "x-amz-tagging", ""),
        (503, "SlowDown", "x-amz-object-lock-mode", ""),
    ],
)
def test_advice_names_the_option(status: int, code: str, header: str, option: str) -> None:
    said = advice(Refusal(Head(status, {}), code), {header: "x"})
    assert option in said
    assert bool(option) is bool(said)


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
    lost = refusal(Head(412, {}), b"<Error><Condition>x-amz-copy-source-If-Match</Condition></Error>")
    assert lost.condition == "x-amz-copy-source-if-match"
    assert refusal(Head(502, {}), b"<html>\xff bad gateway").code == "HTTP 502"


@pytest.mark.parametrize(
    ("headers", "archived"),
    [
        ({}, False),
        ({"x-amz-storage-class": "GLACIER_IR"}, False),
        ({"x-amz-storage-class": "GLACIER"}, True),
        ({"x-amz-storage-class": "DEEP_ARCHIVE", "x-amz-restore": 'ongoing-request="true"'}, True),
        (
            {
                "x-amz-storage-class": "GLACIER",
                "x-amz-restore": 'ongoing-request="false", expiry-date="Fri, 21 Dec 2012 00:00:00 GMT"',
            },
            False,
        ),
        ({"x-amz-storage-class": "INTELLIGENT_TIERING"}, False),
        ({"x-amz-storage-class": "INTELLIGENT_TIERING", "x-amz-archive-status": "ARCHIVE_ACCESS"}, True),
    ],
)
def test_what_must_be_restored_before_it_can_be_read(headers: dict[str, str], *, archived: bool) -> None:
    assert is_archived(headers) is archived
