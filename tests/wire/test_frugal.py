"""What is done for its cost alone, and must not change what happens: reading TLS, buffers, clients."""

from __future__ import annotations

import queue
import socket
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
import pytest

from tests.tls import Authority
from tests.wire import SHORT
from worker.aws.http import Tls, Watch, prepare
from worker.aws.s3 import Bucket
from worker.aws.session import s3_client
from worker.aws.transfer import WireTransferrer
from worker.aws.wire import trust
from worker.core.model import Endpoint, Transfer

KIB = 1024
LOCAL = Endpoint(bucket="bucket", endpoint_url="https://127.0.0.1:1", region="us-east-1")


@pytest.fixture
def ends(authority: Authority, server_context: ssl.SSLContext) -> Iterator[tuple[Tls, ssl.SSLSocket]]:
    """A client's TLS, its handshake done, and the server's end."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    prepare(ours)
    tls = Tls(ours, trust(str(authority.certificate)), "localhost")
    tls.cipher = memoryview(bytearray(64 * KIB))
    with ThreadPoolExecutor(1) as aside:
        server = aside.submit(server_context.wrap_socket, theirs, server_side=True)
        tls.handshake(watch(), float("inf"))
        other = server.result(10)
    yield tls, other
    other.close()
    ours.close()


def watch() -> Watch:
    return Watch(threading.Event(), SHORT)


def received(tls: Tls, room: int) -> bytes:
    """What one call receives; whoever waits in vain is told so by the pace of `SHORT`."""
    view = memoryview(bytearray(room))
    return bytes(view[: tls.receive(view, watch(), float("inf"))])


def test_what_is_left_of_a_record_needs_no_other(ends: tuple[Tls, ssl.SSLSocket]) -> None:
    tls, server = ends
    server.sendall(bytes(range(250)))
    assert b"".join(received(tls, 100) for _ in range(3)) == bytes(range(250))


def test_a_record_that_ends_with_the_view_leaves_nothing(ends: tuple[Tls, ssl.SSLSocket]) -> None:
    tls, server = ends
    server.sendall(b"a" * 100)
    assert received(tls, 100) == b"a" * 100
    later: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    # Were something believed to be left, it would be looked for without end.
    threading.Thread(target=lambda: later.put(received(tls, 100)), daemon=True).start()
    server.sendall(b"b" * 50)
    assert later.get(timeout=10) == b"b" * 50


def test_several_records_are_received_at_once(ends: tuple[Tls, ssl.SSLSocket]) -> None:
    tls, server = ends
    data = bytes(range(256)) * 160
    server.sendall(data)
    found = b""
    while len(found) < len(data):
        found += received(tls, 64 * KIB)
    assert found == data


@pytest.mark.parametrize(
    ("streams", "piece"), [(1, 512), (16, 512), (17, 481), (32, 256), (64, 128), (256, 128)]
)
def test_streams_share_the_memory_for_buffers(
    own_credentials: pytest.MonkeyPatch, streams: int, piece: int
) -> None:
    del own_credentials
    transferrer = WireTransferrer(Transfer(LOCAL, LOCAL), streams=streams, context=trust(None))
    buffers = transferrer._buffers()  # noqa: SLF001
    assert buffers is transferrer._buffers()  # noqa: SLF001
    assert len(buffers.body) // KIB == piece
    assert len(buffers.cipher) >= len(buffers.body) + 16 * KIB


def test_a_session_makes_one_client_at_a_time(own_credentials: pytest.MonkeyPatch) -> None:
    """boto3's sessions are not to be shared by threads while they make a client."""
    busy, met, make = threading.Lock(), threading.Event(), boto3.Session.client

    def client(*args: Any, **named: Any) -> object:  # noqa: ANN401
        if not busy.acquire(blocking=False):
            met.set()
            pytest.fail("two at once")
        try:
            met.wait(0.2)
            return make(*args, **named)
        finally:
            busy.release()

    own_credentials.setattr(boto3.Session, "client", client)
    with ThreadPoolExecutor(2) as threads:
        made = [threads.submit(s3_client, LOCAL, connections=1) for _ in range(2)]
        assert all(future.result(20) for future in made)


def test_a_bucket_makes_its_client_when_asked_and_once(own_credentials: pytest.MonkeyPatch) -> None:
    made, make = list[object](), boto3.Session.client

    def client(*args: Any, **named: Any) -> object:  # noqa: ANN401
        made.append(make(*args, **named))
        return made[-1]

    own_credentials.setattr(boto3.Session, "client", client)
    bucket = Bucket(LOCAL, "source")
    assert made == []
    assert [bucket.client, bucket.client] == made * 2
