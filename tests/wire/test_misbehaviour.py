"""One test for each way in which a server may misbehave, and for what is promised then."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import ipaddress
import re
import socket
import ssl
import threading
import time
import zlib
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from random import Random
from threading import Event

import pytest
from awscrt import checksums

from tests import tls
from tests.transfers import wait_for
from tests.wire import KEY, KEYS, SEED, SHORT, between, bring, copy, keeps_secrets, listed
from tests.wire.peer import OK, Exchange, Peer, Script, answer, error, says
from worker.aws import pool
from worker.aws.http import Limits
from worker.aws.transfer import WireTransferrer
from worker.aws.wire import trust
from worker.core import errors
from worker.core.model import Kind, ObjectRef, Proof
from worker.core.refusal import OLD_KEYS
from worker.core.transferrer import Copied

SMALL, LARGE = Random(SEED).randbytes(20_000), Random(SEED).randbytes(1_500_000)
MULTIPART = "0" * 32 + "-2"


def written(peer: Peer, key: str = KEY) -> bytes | None:
    """The destination object's bytes."""
    stored = peer.objects.get(("destination", key))
    return stored.body if stored else None


# --- who is at the other end


@pytest.mark.parametrize("body", [SMALL, LARGE], ids=["small", "large"])
def test_objects_move_over_tls(authority: tls.Authority, server_context: ssl.SSLContext, body: bytes) -> None:
    with Peer(server_context) as source, Peer(server_context) as destination:
        source.put(body, KEY)
        transferrer = between(source.url, destination.url, context=trust(str(authority.certificate)))
        assert copy(transferrer, listed(source)) == Copied(len(body), Proof.MD5)
        assert written(destination) == body


def test_a_certificate_of_nobody_known_is_refused(server_context: ssl.SSLContext) -> None:
    with Peer(server_context) as source, Peer() as destination:
        source.put(SMALL, KEY)
        with pytest.raises(
            errors.ConfigurationError, match=r"localhost.* not trusted.*AWS_CA_BUNDLE"
        ) as raised:
            copy(between(source.url, destination.url), listed(source))
        assert raised.value.blames_endpoint
        assert source.heads == []


def test_a_certificate_for_another_name_is_refused(tmp_path: Path) -> None:
    other = tls.authority(tmp_path, "elsewhere.test")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(other.certificate, other.key)
    with Peer(context) as source, Peer() as destination:
        source.put(SMALL, KEY)
        transferrer = between(source.url, destination.url, context=trust(str(other.certificate)))
        with pytest.raises(errors.ConfigurationError, match=r"[Hh]ostname mismatch"):
            copy(transferrer, listed(source))
        assert source.heads == []


def test_the_server_is_told_which_name_is_meant(authority: tls.Authority) -> None:
    names = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.certificate, authority.key)
    context.sni_callback = lambda _tls, name, _context: names.append(name)
    with Peer(context) as source, Peer() as destination:
        source.put(SMALL, KEY)
        copy(between(source.url, destination.url, context=trust(str(authority.certificate))), listed(source))
    assert names == ["localhost"]


def test_a_bundle_that_cannot_be_read_is_named() -> None:
    with pytest.raises(errors.ConfigurationError, match=r"/nowhere.pem.*AWS_CA_BUNDLE"):
        trust("/nowhere.pem")


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_the_end_of_tls_is_the_end(
    authority: tls.Authority, server_context: ssl.SSLContext, method: str
) -> None:
    """Also where the connection below stays open: nothing will come over it."""
    with Peer(server_context) as source, Peer(server_context) as destination:
        source.put(SMALL, KEY)

        def says_goodbye(exchange: Exchange) -> None:
            exchange.body()
            exchange.send(answer(200, {"etag": f'"{"0" * 32}"'}, LARGE)[:10_000])
            sock = exchange._sock  # noqa: SLF001 - what no script needs but this
            assert isinstance(sock, ssl.SSLSocket)
            sock.settimeout(0.1)
            with contextlib.suppress(OSError):
                sock.unwrap()
            exchange.hang()

        (source if method == "GET" else destination).next(method, says_goodbye)
        context = trust(str(authority.certificate))
        with pytest.raises(errors.ServiceUnavailableError, match="closed before the answer's end"):
            copy(between(source.url, destination.url, context=context), listed(source))


def test_ipv6(destination: Peer) -> None:
    with Peer(family=socket.AF_INET6) as source:
        source.put(SMALL, KEY)
        assert copy(between(source.url, destination.url), listed(source)).bytes == len(SMALL)
        assert source.heads[0].headers["host"] == f"[::1]:{source.port}"


# --- waits


def stopwatch(seconds: float) -> float:
    """A generous end for what must not take longer than `seconds`."""
    return time.monotonic() + seconds + 3


def test_a_peer_that_never_completes_the_handshake_is_given_up(authority: tls.Authority) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, Peer() as destination:
        transferrer = between(
            f"https://localhost:{silent.getsockname()[1]}",
            destination.url,
            context=trust(str(authority.certificate)),
        )
        end = stopwatch(SHORT.connect)
        with pytest.raises(errors.ServiceUnavailableError):
            copy(transferrer, ObjectRef(KEY, 1, "e" * 32, 0))
        assert time.monotonic() < end


def drip(exchange: Exchange) -> None:
    """Answer a byte at a time."""
    exchange.body()
    for byte in answer(200, {"etag": '"x"'}, SMALL):
        exchange.send(bytes([byte]))
        time.sleep(0.05)


def silence(exchange: Exchange) -> None:
    """Take the request, and say nothing."""
    exchange.body()
    exchange.hang()


def half(exchange: Exchange) -> None:
    """Say half of the answer, and nothing more."""
    exchange.body()
    whole = answer(200, {"etag": '"x"'}, LARGE)
    exchange.send(whole[: len(whole) // 2])
    exchange.hang()


@pytest.mark.parametrize(
    ("method", "script"),
    [("GET", drip), ("GET", silence), ("GET", half), ("PUT", drip), ("PUT", silence)],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_peer_that_stalls_or_drips_is_given_up(
    source: Peer, destination: Peer, method: str, script: Script
) -> None:
    source.put(LARGE, KEY)
    side = source if method == "GET" else destination
    side.next(method, script)
    end = stopwatch(2 * SHORT.stretch)
    with pytest.raises(errors.ServiceUnavailableError, match="stalled"):
        copy(between(source.url, destination.url), listed(source))
    assert time.monotonic() < end
    assert written(destination) is None


def test_a_peer_that_takes_nothing_is_given_up(source: Peer, destination: Peer) -> None:
    source.put(LARGE * 6, KEY)

    def takes_nothing(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        exchange.hang()

    destination.next("PUT", takes_nothing)
    end = stopwatch(2 * SHORT.stretch)
    with pytest.raises(errors.ServiceUnavailableError, match=r"write destination.*stalled"):
        copy(between(source.url, destination.url), listed(source))
    assert time.monotonic() < end


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_cancellation_is_seen_at_once_in_a_wait(source: Peer, destination: Peer, method: str) -> None:
    source.put(LARGE * 6, KEY)
    side, begun, cancel = (source if method == "GET" else destination), threading.Event(), threading.Event()

    def hang(exchange: Exchange) -> None:
        begun.set()
        exchange.hang()

    side.next(method, hang)
    transferrer = between(source.url, destination.url, limits=Limits(proceed=60))
    raised: list[BaseException] = []

    def run() -> None:
        try:
            transferrer.copy(listed(source), fenced=True, expect="", cancel=cancel)
        except errors.FleetcopyError as caught:
            keeps_secrets(caught)
            raised.append(caught)

    thread = threading.Thread(target=run)
    thread.start()
    assert begun.wait(10)
    cancel.set()
    thread.join(5)
    assert not thread.is_alive()
    assert [type(one) for one in raised] == [errors.InterruptedTransferError]


def test_what_has_been_sent_whole_is_not_cancelled(source: Peer, destination: Peer) -> None:
    source.put(SMALL, KEY)
    cancel = threading.Event()

    def slow(exchange: Exchange) -> None:
        cancel.set()
        time.sleep(0.6)
        destination.serve(exchange)

    destination.next("PUT", slow)
    done = between(source.url, destination.url).copy(listed(source), fenced=True, expect="", cancel=cancel)
    assert done.bytes == len(SMALL)


# --- connections


def test_connections_are_kept(source: Peer, destination: Peer) -> None:
    transferrer = between(source.url, destination.url)
    for number in range(5):
        source.put(SMALL, str(number))
        copy(transferrer, listed(source, str(number)))
    assert {head.connection for head in source.heads + destination.heads} == {1}


@pytest.mark.parametrize("body", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_a_kept_connection_that_was_closed_is_replaced(
    source: Peer, destination: Peer, method: str, body: bytes
) -> None:
    """Closed while the request was on its way: nobody could know."""
    transferrer = between(source.url, destination.url)
    source.put(body, KEY)
    source.put(body, "another")
    copy(transferrer, listed(source, "another"))
    side = source if method == "GET" else destination
    side.next(method, lambda exchange: exchange.close())
    assert copy(transferrer, listed(source)).bytes == len(body)
    assert written(destination) == body
    assert [head.connection for head in side.heads] == [1, 1, 2]


def test_a_new_connection_that_is_closed_is_no_cause_to_repeat(source: Peer, destination: Peer) -> None:
    source.put(SMALL, KEY)
    source.next("GET", lambda exchange: exchange.close())
    with pytest.raises(errors.ServiceUnavailableError, match="closed without an answer"):
        copy(between(source.url, destination.url), listed(source))
    assert len(source.heads) == 1


def test_a_byte_of_an_answer_is_a_cause_not_to_repeat(source: Peer, destination: Peer) -> None:
    transferrer = between(source.url, destination.url)
    source.put(SMALL, KEY)
    source.put(SMALL, "another")
    copy(transferrer, listed(source, "another"))

    def a_byte(exchange: Exchange) -> None:
        exchange.body()
        exchange.send(b"H")
        exchange.close()

    destination.next("PUT", a_byte)
    with pytest.raises(errors.ServiceUnavailableError, match="closed in the answer's head"):
        copy(transferrer, listed(source))
    assert len(destination.heads) == 2


def test_a_connection_that_was_closed_long_ago_is_not_tried(source: Peer, destination: Peer) -> None:
    """It would cost a body that cannot be sent again."""
    transferrer = between(source.url, destination.url)
    transferrer._writer.capabilities.proceeds = False  # noqa: SLF001 - nothing else would tell in time
    source.put(SMALL, "another")
    copy(transferrer, listed(source, "another"))
    destination.drop()
    time.sleep(1.1)
    source.put(LARGE, KEY)
    assert copy(transferrer, listed(source)).bytes == len(LARGE)
    assert [head.connection for head in destination.heads] == [1, 2]


@pytest.mark.parametrize("limits", [Limits(age=0.0), Limits(idle=0.0)], ids=["old", "idle"])
def test_connections_that_are_old_or_idle_are_not_kept(
    source: Peer, destination: Peer, limits: Limits
) -> None:
    transferrer = between(source.url, destination.url, limits=limits)
    for number in range(3):
        source.put(SMALL, str(number))
        copy(transferrer, listed(source, str(number)))
    assert [head.connection for head in source.heads] == [1, 2, 3]


class Resolver:
    """Stands in for `getaddrinfo`; its answers are whatever a test says."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses
        self.asked = 0

    def __call__(self, host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        """Answer as `socket.getaddrinfo`."""
        del host
        self.asked += 1
        families = {4: socket.AF_INET, 6: socket.AF_INET6}
        return [
            (families[ipaddress.ip_address(address).version], socket.SOCK_STREAM, 6, "", (address, port))
            for address in self.addresses
        ]


def test_addresses_take_turns_and_are_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    resolver, now = Resolver("127.0.0.1", "127.0.0.2", "127.0.0.3"), [0.0]
    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    addresses = pool.Addresses(pool.Origin("http", "s3", 80, "s3"), 30.0, lambda: now[0])
    firsts = [addresses.some()[0][1][0] for _ in range(6)]
    assert sorted(firsts) == ["127.0.0.1", "127.0.0.1", "127.0.0.2", "127.0.0.2", "127.0.0.3", "127.0.0.3"]
    addresses.failed(addresses.some()[0])
    assert len(addresses.some()) == 2
    assert resolver.asked == 1
    now[0] = 30.0
    resolver.addresses = ("127.0.0.9",)
    assert [address[1][0] for address in addresses.some()] == ["127.0.0.9"]


def test_an_address_that_does_not_answer_is_passed_over(
    source: Peer, destination: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    source.put(SMALL, KEY)
    transferrer = between(source.url, destination.url)
    monkeypatch.setattr(socket, "getaddrinfo", Resolver("127.0.0.77", "127.0.0.1"))
    assert copy(transferrer, listed(source)).bytes == len(SMALL)


def test_a_name_that_does_not_resolve(destination: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    transferrer = between("http://s3.test", destination.url)
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(errors.EndpointUnreachableError, match=r"s3.test: .*not known"):
        copy(transferrer, ObjectRef(KEY, 1, "e" * 32, 0))


# --- answers


def chunked(body: bytes, size: int) -> bytes:
    """A body in chunks, with an extension and a trailer."""
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    lines = b"".join(b"%x;ext=1\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return lines + b"0\r\nx-trailer: 1\r\n\r\n"


@pytest.mark.parametrize("body", [b"", SMALL, LARGE], ids=["empty", "small", "large"])
def test_an_object_in_chunks(source: Peer, destination: Peer, body: bytes) -> None:
    etag = source.put(body, KEY).etag
    head = OK + f'etag: "{etag}"\r\ntransfer-encoding: chunked\r\n\r\n'.encode()
    source.next("GET", says(head + chunked(body, 7001)))
    assert copy(between(source.url, destination.url), listed(source)) == Copied(len(body), Proof.MD5)
    assert written(destination) == body


def test_an_object_of_unknown_length_is_not_guessed_at(source: Peer, destination: Peer) -> None:
    source.put(SMALL, KEY)
    source.next("GET", says(OK + b"transfer-encoding: chunked\r\n\r\n" + chunked(SMALL, 100)))
    with pytest.raises(errors.ObjectRefusedError, match="how long"):
        copy(between(source.url, destination.url), listed(source), fenced=False)
    assert written(destination) is None


@pytest.mark.parametrize("longer", [-1, 1])
def test_chunks_that_are_not_the_listed_object_are_refused(
    source: Peer, destination: Peer, longer: int
) -> None:
    source.put(SMALL, KEY)
    body = SMALL[:longer] if longer < 0 else SMALL + b"x"
    source.next("GET", says(OK + b"transfer-encoding: chunked\r\n\r\n" + chunked(body, 50_000)))
    with pytest.raises(errors.ServiceUnavailableError, match="20000 bytes"):
        copy(between(source.url, destination.url), listed(source))
    assert written(destination) is None


def test_an_object_that_ends_with_its_connection_is_not_trusted(source: Peer, destination: Peer) -> None:
    source.put(SMALL, KEY)

    def ends(exchange: Exchange) -> None:
        exchange.send(OK + b"\r\n" + SMALL[:100])
        exchange.close()

    source.next("GET", ends)
    with pytest.raises(errors.FleetcopyError):
        copy(between(source.url, destination.url), listed(source))
    assert written(destination) is None


@pytest.mark.parametrize("coding", ["chunked", "length", "close"])
def test_an_error_is_told_however_it_comes(source: Peer, destination: Peer, coding: str) -> None:
    text = error(503, "SlowDown").partition(b"\r\n\r\n")[2]
    head = b"HTTP/1.1 503 Slow Down\r\n"
    whole = {
        "chunked": head + b"transfer-encoding: chunked\r\n\r\n" + chunked(text, 10),
        "length": head + b"content-length: %d\r\n\r\n" % len(text) + text,
        "close": head + b"\r\n" + text,
    }[coding]
    source.put(SMALL, KEY)

    def script(exchange: Exchange) -> None:
        exchange.send(whole)
        if coding == "close":
            exchange.close()

    source.next("GET", script)
    with pytest.raises(errors.ServiceUnavailableError, match=f"read source.*{KEY}.*SlowDown: so it is"):
        copy(between(source.url, destination.url), listed(source))


@pytest.mark.parametrize(
    "raw",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nx-amz-meta-a: 1\nx-amz-acl: public-read\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 20_000 + b"\r\n",
        b"HTTP/1.1 101 Switching\r\n\r\n",
    ],
    ids=range(9),
)
def test_what_is_no_answer_is_no_answer(source: Peer, destination: Peer, raw: bytes) -> None:
    source.put(SMALL, KEY)

    def script(exchange: Exchange) -> None:
        exchange.send(raw)
        exchange.close()

    source.next("GET", script)
    with pytest.raises(errors.ServiceUnavailableError, match=KEY):
        copy(between(source.url, destination.url), listed(source))
    assert written(destination) is None


@pytest.mark.parametrize("status", [400, 403, 404, 409, 500])
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_an_error_that_is_cut_short_is_no_verdict(
    source: Peer, destination: Peer, method: str, status: int
) -> None:
    """Its code may have said that trying again helps, or that the bucket is missing."""
    source.put(SMALL, KEY)

    def cut(exchange: Exchange) -> None:
        exchange.body()
        exchange.send(error(status, "BadDigest")[:-10])
        exchange.close()

    (source if method == "GET" else destination).next(method, cut)
    with pytest.raises(errors.ServiceUnavailableError, match="closed before the answer's end"):
        copy(between(source.url, destination.url), listed(source))
    assert bring(between(source.url, destination.url), listed(source)).kind is Kind.COPIED


def test_a_failed_condition_needs_no_words(source: Peer, destination: Peer) -> None:
    """A host that answers before it has the body may reset the connection on its words."""
    source.put(SMALL, KEY)

    def cut(exchange: Exchange) -> None:
        exchange.body()
        exchange.send(error(412, "PreconditionFailed")[:-10])
        exchange.close()

    destination.next("PUT", cut)
    with pytest.raises(errors.DestinationChangedError):
        copy(between(source.url, destination.url), listed(source))


def test_an_error_without_end_is_cut_off(source: Peer, destination: Peer) -> None:
    source.put(SMALL, KEY)

    def endless(exchange: Exchange) -> None:
        exchange.send(
            b"HTTP/1.1 500 Oh\r\ncontent-length: 9999999999\r\n\r\n<Error><Code>InternalError</Code>"
        )
        while True:
            exchange.send(b"x" * 65_536)

    source.next("GET", endless)
    with pytest.raises(errors.ServiceUnavailableError, match="InternalError"):
        copy(between(source.url, destination.url), listed(source))


def test_a_success_that_holds_an_error_is_a_failure(source: Peer, destination: Peer) -> None:
    source.put(SMALL, KEY)
    destination.next("PUT", says(error(200, "InternalError")))
    with pytest.raises(errors.ServiceUnavailableError, match=r"write destination.*InternalError"):
        copy(between(source.url, destination.url), listed(source))


def test_a_success_without_an_etag_is_a_failure(source: Peer, destination: Peer) -> None:
    source.put(SMALL, KEY)
    destination.next("PUT", says(answer(200)))
    with pytest.raises(errors.ServiceUnavailableError, match="without an ETag"):
        copy(between(source.url, destination.url), listed(source))


@pytest.mark.parametrize("body", [SMALL, LARGE], ids=["small", "large"])
def test_a_storm_of_503_is_waited_out_or_told(source: Peer, destination: Peer, body: bytes) -> None:
    source.put(body, KEY)
    storm = says(error(503, "SlowDown"))
    source.next("GET", storm)
    destination.next("PUT", storm, storm)
    transferrer = between(source.url, destination.url)
    assert bring(transferrer, listed(source)).kind is Kind.COPIED
    assert written(destination) == body
    destination.objects.clear()
    destination.next("PUT", *[storm] * 4)
    outcome = bring(transferrer, listed(source))
    assert outcome.kind is Kind.FAILED
    assert outcome.error
    assert outcome.error.retryable
    assert written(destination) is None


# --- what S3 says is wrong with a request


def region_of(peer: Peer) -> list[str]:
    """The regions that the requests were signed for."""
    return [
        found[1]
        for head in peer.heads
        if (found := re.search(r"/\d{8}/([^/]+)/s3/", head.headers["authorization"]))
    ]


WRONG_REGION = {
    "redirect": error(301, "PermanentRedirect", headers={"x-amz-bucket-region": "eu-west-1"}),
    "header": error(400, "AuthorizationHeaderMalformed", "<Region>eu-west-1</Region>"),
}


@pytest.mark.parametrize("told", WRONG_REGION)
@pytest.mark.parametrize("method", ["GET", "PUT"])
@pytest.mark.parametrize("body", [SMALL, LARGE], ids=["small", "large"])
def test_a_wrong_region_is_put_right_for_good(
    source: Peer, destination: Peer, method: str, told: str, body: bytes
) -> None:
    source.put(body, KEY)
    source.put(body, "another")
    side = source if method == "GET" else destination
    side.next(method, early(WRONG_REGION[told]))
    transferrer = between(source.url, destination.url)
    copy(transferrer, listed(source))
    copy(transferrer, listed(source, "another"))
    assert region_of(side) == ["us-east-1", "eu-west-1", "eu-west-1"]
    assert written(destination) == body


def early(data: bytes) -> Script:
    """A script that answers without waiting for the body, and closes."""

    def script(exchange: Exchange) -> None:
        if "expect" not in exchange.head.headers:
            exchange.body()
        exchange.send(data)
        exchange.close()

    return script


def test_a_region_that_is_wrong_again_is_told(source: Peer, destination: Peer) -> None:
    source.put(SMALL, KEY)
    source.next("GET", *[says(WRONG_REGION["redirect"])] * 2)
    source.next("GET", says(error(301, "PermanentRedirect", headers={"x-amz-bucket-region": "eu-west-2"})))
    with pytest.raises(errors.ConfigurationError, match="PermanentRedirect"):
        copy(between(source.url, destination.url), listed(source))
    assert len(source.heads) == 2


@pytest.mark.parametrize("body", [SMALL, LARGE], ids=["small", "large"])
def test_a_temporary_redirect_is_followed_once(source: Peer, destination: Peer, body: bytes) -> None:
    source.put(body, KEY)
    with Peer() as elsewhere:
        moved = error(307, "TemporaryRedirect", headers={"location": f"{elsewhere.url}/destination/a%20key"})
        destination.next("PUT", early(moved))
        transferrer = between(source.url, destination.url)
        copy(transferrer, listed(source))
        assert written(elsewhere) == body
        assert written(destination) is None
        elsewhere.objects.clear()
        destination.next("PUT", early(moved))
        elsewhere.next("PUT", early(moved))
        with pytest.raises(errors.FleetcopyError, match="TemporaryRedirect"):
            copy(transferrer, listed(source))


def test_a_redirect_out_of_tls_is_not_followed(
    authority: tls.Authority, server_context: ssl.SSLContext
) -> None:
    with Peer(server_context) as source, Peer(server_context) as destination, Peer() as bare:
        source.put(SMALL, KEY)
        destination.next("PUT", says(error(307, "TemporaryRedirect", headers={"location": f"{bare.url}/x"})))
        transferrer = between(source.url, destination.url, context=trust(str(authority.certificate)))
        with pytest.raises(errors.FleetcopyError, match="TemporaryRedirect"):
            copy(transferrer, listed(source))
        assert bare.heads == []


@pytest.mark.parametrize("body", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("hours", [-3, 3])
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_a_wrong_clock_is_put_right(
    source: Peer, destination: Peer, method: str, hours: int, body: bytes
) -> None:
    source.put(body, KEY)
    source.put(body, "another")
    theirs = datetime.now(UTC) + timedelta(hours=hours)
    side = source if method == "GET" else destination
    date = {"date": format_datetime(theirs, usegmt=True)}
    side.next(method, early(error(403, "RequestTimeTooSkewed", headers=date)))
    transferrer = between(source.url, destination.url)
    copy(transferrer, listed(source))
    copy(transferrer, listed(source, "another"))
    for head in side.heads[1:]:
        sent = datetime.strptime(head.headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        assert abs(sent - theirs) < timedelta(minutes=1)


def test_a_clock_that_is_wrong_again_is_told(source: Peer, destination: Peer) -> None:
    source.put(SMALL, KEY)
    source.next("GET", *[says(error(403, "RequestTimeTooSkewed"))] * 3)
    with pytest.raises(errors.ConfigurationError, match="RequestTimeTooSkewed"):
        copy(between(source.url, destination.url), listed(source))
    assert len(source.heads) == 2


@pytest.mark.parametrize("code", sorted(OLD_KEYS))
@pytest.mark.parametrize("body", [SMALL, LARGE], ids=["small", "large"])
def test_refused_credentials_are_read_again(
    source: Peer, destination: Peer, own_credentials: pytest.MonkeyPatch, code: str, body: bytes
) -> None:
    source.put(body, KEY)

    def refuse(exchange: Exchange) -> None:
        own_credentials.setenv("AWS_ACCESS_KEY_ID", "AKIARENEWED")
        own_credentials.setenv("AWS_SESSION_TOKEN", "a-new-token")
        early(error(400, code))(exchange)

    destination.next("PUT", refuse)
    copy(between(source.url, destination.url), listed(source))
    before, after = (head.headers for head in destination.heads)
    assert "AKIAWIRE" in before["authorization"]
    assert "AKIARENEWED" in after["authorization"]
    assert after["x-amz-security-token"] == "a-new-token"
    assert "x-amz-security-token" in after["authorization"]


@pytest.mark.parametrize(
    "code", ["ExpiredToken", "InvalidToken", "InvalidAccessKeyId", "SignatureDoesNotMatch"]
)
def test_credentials_that_stay_refused_are_told_and_do_not_leak(
    source: Peer, destination: Peer, code: str
) -> None:
    """S3 repeats what it was sent, for whoever looks for his mistake in a signature."""
    source.put(SMALL, KEY)

    def repeats(exchange: Exchange) -> None:
        sent = "\n".join(f"{name}:{value}" for name, value in exchange.head.headers.items())
        token = exchange.head.headers["x-amz-security-token"]
        more = f"<CanonicalRequest>GET\n{sent}</CanonicalRequest><Token-0>{token}</Token-0>"
        exchange.send(error(403, code, more))

    source.next("GET", repeats)
    with pytest.raises(errors.ConfigurationError, match=code):
        copy(between(source.url, destination.url), listed(source))
    assert len(source.heads) == 1


def test_credentials_that_expire_are_refreshed_before(
    source: Peer, destination: Peer, own_credentials: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """By botocore: from a process here, as from the metadata or a role elsewhere."""
    soon = (datetime.now(UTC) + timedelta(minutes=5)).isoformat()
    maker = tmp_path / "credentials.sh"
    maker.write_text(
        f"#!/bin/sh\necho x >> {tmp_path}/asked\n"
        f"""echo '{{"Version": 1, "AccessKeyId": "AKIA'$(wc -l < {tmp_path}/asked)'",'\n"""
        f"""echo '"SecretAccessKey": "s", "Expiration": "{soon}"}}'\n"""
    )
    maker.chmod(0o700)
    (tmp_path / "config").write_text(f"[default]\ncredential_process = {maker}\n")
    for name in KEYS:
        own_credentials.delenv(name)
    own_credentials.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    transferrer = between(source.url, destination.url)
    source.put(SMALL, KEY)
    copy(transferrer, listed(source))
    time.sleep(1.1)
    source.put(SMALL, "another")
    copy(transferrer, listed(source, "another"))
    used = [re.search(r"AKIA(\d+)", head.headers["authorization"]) for head in source.heads]
    numbers = [int(found[1]) for found in used if found]
    assert numbers[1] > numbers[0]


# --- 100 Continue


def test_a_large_write_that_is_refused_sends_no_byte(source: Peer, destination: Peer) -> None:
    source.put(LARGE, KEY)
    destination.objects["destination", KEY] = destination.put(b"older", "another")
    received = []

    def refuse(exchange: Exchange) -> None:
        assert exchange.head.headers["expect"] == "100-continue"
        exchange.send(destination.refusal(exchange.head))
        try:
            received.append(exchange.receive())
        finally:
            exchange.close()

    destination.next("PUT", refuse)
    with pytest.raises(errors.DestinationChangedError):
        copy(between(source.url, destination.url), listed(source))
    destination.over.wait(0.1)
    assert received == []
    assert written(destination) == b"older"


def test_a_connection_whose_body_was_not_sent_is_not_kept(source: Peer, destination: Peer) -> None:
    """The server may take the next request's head for it."""
    source.put(LARGE, KEY)
    transferrer = between(source.url, destination.url)
    destination.next("PUT", lambda exchange: exchange.send(error(412, "PreconditionFailed")))
    with pytest.raises(errors.DestinationChangedError):
        copy(transferrer, listed(source))
    copy(transferrer, listed(source))
    assert [head.connection for head in destination.heads] == [1, 2]


def test_a_server_that_does_not_say_continue_is_waited_for_once(source: Peer, destination: Peer) -> None:
    def mute(exchange: Exchange) -> None:
        del exchange.head.headers["expect"]
        destination.serve(exchange)

    source.put(LARGE, KEY)
    source.put(LARGE, "another")
    destination.next("PUT", mute)
    transferrer = between(source.url, destination.url)
    copy(transferrer, listed(source))
    copy(transferrer, listed(source, "another"))
    assert written(destination) == LARGE
    assert "expect" not in destination.heads[1].headers


def test_a_small_write_does_not_wait(source: Peer, destination: Peer) -> None:
    source.put(SMALL, KEY)
    copy(between(source.url, destination.url), listed(source))
    assert "expect" not in destination.heads[0].headers


@pytest.mark.parametrize("ends", [True, False], ids=["closes", "stops reading"])
def test_an_answer_before_the_bodys_end_is_heard(source: Peer, destination: Peer, *, ends: bool) -> None:
    source.put(LARGE * 6, KEY)

    def interrupts(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        exchange.receive()
        exchange.send(error(503, "SlowDown"))
        exchange.close() if ends else exchange.hang()

    destination.next("PUT", interrupts)
    with pytest.raises(errors.ServiceUnavailableError, match=r"SlowDown|while sending"):
        copy(between(source.url, destination.url), listed(source))


# --- proofs


OverTls = tuple[Peer, Peer, WireTransferrer]


@pytest.fixture
def over_tls(authority: tls.Authority, server_context: ssl.SSLContext) -> Iterator[OverTls]:
    """Two peers over TLS and a transferrer between them, to an endpoint that knows trailers."""
    with Peer(server_context) as source, Peer(server_context) as destination:
        transferrer = between(source.url, destination.url, context=trust(str(authority.certificate)))
        transferrer._writer.capabilities.trailers = True  # noqa: SLF001 - as AWS's own endpoint does
        yield source, destination, transferrer


@pytest.mark.parametrize("size", [0, 1, 65_536, 65_537, 1_048_576, 1_500_000])
@pytest.mark.parametrize("encoding", ["", "gzip"])
def test_without_a_digest_the_bytes_are_summed(over_tls: OverTls, size: int, encoding: str) -> None:
    source, destination, transferrer = over_tls
    body = Random(SEED).randbytes(size)
    headers = {"content_encoding": encoding} if encoding else {}
    source.put(body, KEY, etag=MULTIPART, **headers)
    assert copy(transferrer, listed(source)) == Copied(size, Proof.TRANSPORT)
    assert written(destination) == body
    sent = destination.heads[0].headers
    assert sent["x-amz-trailer"] == "x-amz-checksum-crc64nvme"
    assert sent["content-encoding"] == ("gzip,aws-chunked" if encoding else "aws-chunked")
    assert sent["x-amz-decoded-content-length"] == str(size)
    assert "x-amz-checksum-crc64nvme" in destination.objects["destination", KEY].headers


def sums(body: bytes) -> dict[str, str]:
    """What S3 could have stored of some bytes."""
    found = {
        "crc64nvme": checksums.crc64nvme(body).to_bytes(8, "big"),
        "crc32": zlib.crc32(body).to_bytes(4, "big"),
        "sha1": hashlib.sha1(body, usedforsecurity=False).digest(),
        "sha256": hashlib.sha256(body).digest(),
    }
    return {name: base64.b64encode(value).decode() for name, value in found.items()}


@pytest.mark.parametrize("algorithm", sums(b""))
@pytest.mark.parametrize("size", [len(SMALL), 300_000])
def test_a_stored_checksum_is_the_proof_whatever_the_destination_checks(
    source: Peer, destination: Peer, algorithm: str, size: int
) -> None:
    body = (SMALL * size)[:size]
    name, value = f"x-amz-checksum-{algorithm}", sums(body)[algorithm]
    for stored, is_right in ((body, True), (b"!" + body[1:], False), (body[:-1] + b"!", False)):
        destination.objects.clear()
        destination.heads.clear()
        headers = {name.replace("-", "_"): value, "x_amz_checksum_type": "FULL_OBJECT"}
        source.put(stored, KEY, etag=MULTIPART, **headers)
        if is_right:
            assert copy(between(source.url, destination.url), listed(source)).proof is Proof.CHECKSUM
            assert destination.heads[0].headers[name] == value
            assert written(destination) == body
        else:
            with pytest.raises(errors.ProofRefusedError):
                copy(between(source.url, destination.url), listed(source))
            assert written(destination) is None
        assert source.heads[0].headers["x-amz-checksum-mode"] == "ENABLED"


def mute(status: int) -> Script:
    """An answer to a HEAD: no body, whatever is wrong."""
    return says(f"HTTP/1.1 {status} X\r\ntransfer-encoding: chunked\r\n\r\n".encode())


@pytest.mark.parametrize(
    ("status", "code"), [(400, "ExpiredToken"), (403, "InvalidAccessKeyId"), (400, "InvalidToken")]
)
def test_a_head_that_old_keys_meet_is_sent_again_with_new_ones(
    source: Peer, destination: Peer, own_credentials: pytest.MonkeyPatch, status: int, code: str
) -> None:
    transferrer = between(source.url, destination.url)
    source.put(SMALL, KEY, etag=MULTIPART)
    transferrer.multipart.look(listed(source), fenced=True, cancel=Event())
    own_credentials.setenv("AWS_ACCESS_KEY_ID", "AKIANEW")
    source.heads.clear()
    source.scripts["HEAD"] = deque([mute(status)])
    source.next("GET", says(error(status, code)))
    found = transferrer.multipart.look(listed(source), fenced=True, cancel=Event(), part=1)
    assert found.ref.size == len(SMALL)
    asked = [(head.method, "AKIANEW" in head.headers["authorization"]) for head in source.heads]
    assert asked == [("HEAD", False), ("GET", False), ("HEAD", True)]
    assert source.heads[1].headers["range"] == "bytes=0-0"


def test_a_head_that_is_refused_for_no_reason_is_the_objects_own(source: Peer, destination: Peer) -> None:
    transferrer = between(source.url, destination.url)
    source.put(SMALL, KEY, etag=MULTIPART)
    source.scripts["HEAD"] = deque([mute(403)])
    source.next("GET", says(error(403, "AccessDenied")))
    with pytest.raises(errors.ObjectDeniedError, match="AccessDenied"):
        transferrer.multipart.look(listed(source), fenced=True, cancel=Event())
    source.scripts["HEAD"] = deque([mute(400)])
    with pytest.raises(errors.ObjectRefusedError, match="HTTP 400"):
        transferrer.multipart.look(listed(source), fenced=True, cancel=Event())


def test_over_plain_http_no_trailer_is_sent(source: Peer, destination: Peer) -> None:
    source.put(SMALL, KEY, etag=MULTIPART)
    transferrer = between(source.url, destination.url)
    transferrer._writer.capabilities.trailers = True  # noqa: SLF001
    assert copy(transferrer, listed(source)) == Copied(len(SMALL), Proof.TRANSPORT)
    assert destination.heads[0].headers["x-amz-content-sha256"] == "UNSIGNED-PAYLOAD"


def test_an_endpoint_that_refuses_trailers_is_sent_none_again(over_tls: OverTls) -> None:
    source, destination, transferrer = over_tls
    source.put(SMALL, KEY, etag=MULTIPART)
    destination.next("PUT", says(error(501, "NotImplemented")))
    assert bring(transferrer, listed(source)).proof is Proof.TRANSPORT
    assert "x-amz-trailer" not in destination.heads[1].headers


def test_an_endpoint_that_answers_with_a_crc64nvme_knows_trailers(over_tls: OverTls) -> None:
    source, destination, transferrer = over_tls
    transferrer._writer.capabilities.trailers = False  # noqa: SLF001 - as for an endpoint that is not AWS's
    for key in ("1", "2", "3"):
        source.put(SMALL, key, etag=MULTIPART)
    copy(transferrer, listed(source, "1"))
    destination.next("PUT", says(answer(200, {"etag": '"x"', "x-amz-checksum-crc64nvme": "x"})))
    copy(transferrer, listed(source, "2"))
    copy(transferrer, listed(source, "3"))
    assert ["x-amz-trailer" in head.headers for head in destination.heads] == [False, False, True]


def test_an_endpoint_without_conditions_is_told_none_again(source: Peer, destination: Peer) -> None:
    source.put(SMALL, KEY)
    destination.next("PUT", says(error(501, "NotImplemented", "<Header>If-None-Match</Header>")))
    assert bring(between(source.url, destination.url), listed(source)).kind is Kind.COPIED
    assert [head.headers.get("if-none-match") for head in destination.heads] == ["*", None]


def test_what_is_not_implemented_for_another_reason_turns_nothing_off(
    source: Peer, destination: Peer
) -> None:
    source.put(SMALL, KEY)
    destination.next("PUT", says(error(501, "NotImplemented")))
    with pytest.raises(errors.FleetcopyError, match="NotImplemented"):
        copy(between(source.url, destination.url), listed(source))
    copy(between(source.url, destination.url), listed(source))
    assert destination.heads[1].headers["if-none-match"] == "*"


@pytest.mark.parametrize("etag", ["a\r\nx-amz-acl: public-read", "a\nb", "a\rb", "\u20ac"])
def test_a_message_cannot_write_headers(source: Peer, destination: Peer, etag: str) -> None:
    transferrer = between(source.url, destination.url)
    with pytest.raises(errors.ObjectRefusedError, match="header"):
        copy(transferrer, ObjectRef(KEY, 1, etag, 0))
    assert source.heads == []


def test_nothing_is_left_open(source: Peer, destination: Peer) -> None:
    """Of exchanges that failed."""
    source.put(LARGE, KEY)
    transferrer = between(source.url, destination.url)
    for _ in range(3):
        source.next("GET", half)
        with pytest.raises(errors.ServiceUnavailableError):
            copy(transferrer, listed(source))
    wait_for(lambda: source.connections == destination.connections == 0, 10, "closed connections")
