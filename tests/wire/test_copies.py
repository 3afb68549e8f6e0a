"""What a server may say to a copy within itself that S3 does not, and what is promised then."""

from __future__ import annotations

import time
from collections.abc import Iterator
from threading import Event

import msgspec
import pytest

from tests.wire import AUTO, KEY, between, bring, copy, listed
from tests.wire.peer import OK, Exchange, Peer, Script, answer, error, says
from worker.aws.transfer import WireTransferrer
from worker.core import errors
from worker.core.message import Upload
from worker.core.model import Kind, Outcome, Proof
from worker.core.options import Options
from worker.core.parts import Part
from worker.core.transferrer import Copied

BODY = b"some bytes"
OTHER = "1" * 32
PLAIN = (
    says(error(404, "ObjectLockConfigurationNotFoundError")),
    says(error(404, "NoSuchWebsiteConfiguration")),
)
"""A bucket without what S3 does not copy."""

HEEDS = (
    says(error(412, "PreconditionFailed", "<Condition>x-amz-copy-source-If-Match</Condition>")),
    says(error(412, "PreconditionFailed", "<Condition>If-Match</Condition>")),
)
"""A server that heeds conditions on copies."""


@pytest.fixture
def peer() -> Iterator[Peer]:
    """Both sides, with an object to copy."""
    with Peer() as one:
        one.put(BODY, KEY)
        one.next("GET", *PLAIN)
        one.next("PUT", *HEEDS)
        yield one


def within(peer: Peer, options: Options = AUTO) -> WireTransferrer:
    """A transferrer between the peer's buckets."""
    return between(peer.url, peer.url, options=options)


def result(etag: str, *, name: str = "CopyObjectResult", headers: dict[str, str] | None = None) -> Script:
    """What S3 says of a copy, and nothing is stored."""
    text = f"<{name}><ETag>&quot;{etag}&quot;</ETag></{name}>"
    return says(answer(200, headers, text.encode()))


def written(peer: Peer) -> bytes | None:
    """The destination object's bytes."""
    stored = peer.objects.get(("destination", KEY))
    return stored.body if stored else None


def test_the_request_names_version_and_conditions(peer: Peer) -> None:
    peer.next("PUT", result(listed(peer).etag))
    ref = msgspec.structs.replace(listed(peer), version_id="a/b+c", storage_class="STANDARD_IA")
    options = Options(acl="private", sse="aws:kms", sse_kms_key_id="k", tags="ignore", request_payer=True)
    assert copy(within(peer, options), ref) == Copied(len(BODY), Proof.SERVER_SIDE)
    sent = [head for head in peer.heads if head.method == "PUT"][-1]
    assert {name: value for name, value in sent.headers.items() if name.startswith(("x-amz-", "if-"))} == {
        "if-none-match": "*",
        "x-amz-acl": "private",
        "x-amz-content-sha256": "UNSIGNED-PAYLOAD",
        "x-amz-copy-source": "/source/a%20key?versionId=a/b%2Bc",
        "x-amz-copy-source-if-match": f'"{ref.etag}"',
        "x-amz-date": sent.headers["x-amz-date"],
        "x-amz-request-payer": "requester",
        "x-amz-security-token": sent.headers["x-amz-security-token"],
        "x-amz-server-side-encryption": "aws:kms",
        "x-amz-server-side-encryption-aws-kms-key-id": "k",
        "x-amz-storage-class": "STANDARD_IA",
        "x-amz-tagging-directive": "REPLACE",
    }
    assert sent.headers["content-length"] == "0"


def test_another_etag_is_another_object(peer: Peer) -> None:
    peer.next("PUT", result(OTHER))
    with pytest.raises(errors.ProofRefusedError, match=f"{KEY}.*{OTHER}"):
        copy(within(peer), listed(peer))


@pytest.mark.parametrize(
    ("source", "copied"),
    [
        ({"x_amz_server_side_encryption": "aws:kms"}, None),
        ({"x_amz_server_side_encryption_customer_algorithm": "AES256"}, None),
        ({}, {"x-amz-server-side-encryption": "aws:kms"}),
    ],
)
def test_another_etag_of_what_is_encrypted_is_no_other_object(
    peer: Peer, source: dict[str, str], copied: dict[str, str] | None
) -> None:
    peer.put(BODY, KEY, **source)
    peer.next("PUT", result(OTHER, headers=copied))
    assert copy(within(peer), listed(peer)).proof is Proof.SERVER_SIDE


def test_a_server_that_takes_a_copy_for_an_empty_object_is_found_out(peer: Peer) -> None:
    peer.scripts["PUT"].clear()
    transferrer = within(peer)
    assert bring(transferrer, listed(peer)) == Outcome(Kind.COPIED, len(BODY), Proof.MD5)
    assert written(peer) == BODY
    peer.put(BODY, "another")
    copy(transferrer, listed(peer, "another"))
    assert [head.headers.get("x-amz-copy-source") for head in peer.heads if head.method == "PUT"] == [
        "/source/a%20key",
        None,
        None,
        None,
    ]


@pytest.mark.parametrize(
    ("condition", "side"),
    [
        ("x-amz-copy-source-If-Match", errors.SourceChangedError),
        ("If-None-Match", errors.DestinationChangedError),
        ("", errors.DestinationChangedError),
    ],
)
@pytest.mark.parametrize("status", [412, 200])
def test_a_condition_that_does_not_hold_tells_its_side(
    peer: Peer, condition: str, side: type[errors.FleetcopyError], status: int
) -> None:
    more = f"<Condition>{condition}</Condition>" if condition else ""
    peer.next("PUT", says(error(status, "PreconditionFailed", more)))
    with pytest.raises(side):
        copy(within(peer), listed(peer))


def test_blanks_keep_a_long_copy_alive(peer: Peer) -> None:
    etag = listed(peer).etag

    def slowly(exchange: Exchange) -> None:
        exchange.body()
        exchange.send(OK + b"transfer-encoding: chunked\r\n\r\n")
        for _ in range(4):
            exchange.send(b"1\r\n \r\n")
            time.sleep(0.1)
        text = f"<CopyObjectResult><ETag>{etag}</ETag></CopyObjectResult>".encode()
        exchange.send(b"%x\r\n%s\r\n0\r\n\r\n" % (len(text), text))

    peer.next("PUT", slowly)
    assert copy(within(peer), listed(peer)).proof is Proof.SERVER_SIDE


def test_patience_grows_with_the_object(peer: Peer) -> None:
    peer.next("PUT", Exchange.hang)
    began = time.monotonic()
    # 16 MiB are a second; the rest is what any request has.
    ref = msgspec.structs.replace(listed(peer), size=24 * 1024**2)
    with pytest.raises(errors.ServiceUnavailableError, match="stalled"):
        copy(within(peer), ref)
    assert 1.4 < time.monotonic() - began < 30


def test_two_endpoints_are_not_one(peer: Peer) -> None:
    peer.scripts["PUT"].clear()
    with Peer() as other:
        other.put(BODY, KEY)
        transferrer = between(other.url, peer.url, options=Options())
        assert copy(transferrer, listed(other)) == Copied(len(BODY), Proof.MD5)
    assert not [head for head in peer.heads if "x-amz-copy-source" in head.headers]


def test_a_part_names_version_and_range(peer: Peer) -> None:
    peer.scripts["PUT"].pop()  # a part has no condition of its own
    peer.next("PUT", result(OTHER, name="CopyPartResult"))
    ref = msgspec.structs.replace(listed(peer), version_id="v")
    part = within(peer).multipart.put(ref, Upload("an id", 4, "", own=True), 2, Event())
    assert part == Part(2, OTHER, 4)
    sent = [head for head in peer.heads if head.method == "PUT"][-1]
    assert sent.target == "/destination/a%20key?partNumber=2&uploadId=an%20id"
    assert sent.headers["x-amz-copy-source"] == "/source/a%20key?versionId=v"
    assert sent.headers["x-amz-copy-source-if-match"] == f'"{ref.etag}"'
    assert sent.headers["x-amz-copy-source-range"] == "bytes=4-7"


def test_a_part_that_is_all_of_the_object_names_no_range(peer: Peer) -> None:
    peer.scripts["PUT"].pop()  # a part has no condition of its own
    peer.next("PUT", result(OTHER, name="CopyPartResult"))
    within(peer).multipart.put(listed(peer), Upload("id", 100, "", own=True), 1, Event())
    sent = [head for head in peer.heads if head.method == "PUT"][-1]
    assert "x-amz-copy-source-range" not in sent.headers


def test_a_head_leaves_its_connection_ready(peer: Peer) -> None:
    peer.scripts["GET"].pop()
    peer.next("GET", says(answer(200, {}, b"<WebsiteConfiguration/>")))
    peer.next("PUT", *[result(listed(peer).etag)] * 2)
    transferrer = within(peer)
    for _ in range(2):
        copy(transferrer, listed(peer))
    heads = [head.connection for head in peer.heads if head.method == "HEAD"]
    assert len(heads) == 2
    assert len(set(heads)) == 1


def test_a_server_is_asked_once_what_it_heeds(peer: Peer) -> None:
    etag = listed(peer).etag
    peer.next("PUT", result(etag), result(etag))
    transferrer = within(peer)
    copy(transferrer, listed(peer))
    copy(transferrer, listed(peer), expect=OTHER)
    asked = [
        tuple(head.headers.get(name) for name in ("x-amz-copy-source-if-match", "if-match", "if-none-match"))
        for head in peer.heads
        if head.method == "PUT"
    ]
    impossible, other = f'"{"0" * 32}"', f'"{OTHER}"'
    assert asked == [
        (impossible, None, "*"),
        (f'"{etag}"', impossible, None),
        (f'"{etag}"', None, "*"),
        (f'"{etag}"', other, None),
    ]


@pytest.mark.parametrize("heeded", [0, 1])
def test_a_server_that_heeds_less_is_not_trusted(peer: Peer, heeded: int) -> None:
    """What it has copied then was to be copied anyway: it is found in place."""

    def copies(exchange: Exchange) -> None:
        exchange.body()
        peer.objects["destination", KEY] = peer.objects["source", KEY]
        etag = listed(peer).etag
        exchange.send(answer(200, {}, f"<CopyObjectResult><ETag>{etag}</ETag></CopyObjectResult>".encode()))

    peer.scripts["PUT"].clear()
    peer.next("PUT", *HEEDS[:heeded], copies)
    transferrer = within(peer)
    assert bring(transferrer, listed(peer)).kind is Kind.SKIPPED
    peer.put(BODY, "another")
    assert copy(transferrer, listed(peer, "another")).proof is Proof.MD5
    peer.next("PUT", *HEEDS[:heeded], copies)
    with pytest.raises(errors.UnsupportedError, match="--strategy stream"):
        copy(within(peer, Options(strategy="server-side")), listed(peer))
