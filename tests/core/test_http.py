"""Heads and bodies of HTTP answers, in whatever pieces they come."""

from __future__ import annotations

import pytest

from worker.core.http import Chunked, Head, Length, MalformedError, UntilClose, framing, parse_head


@pytest.mark.parametrize(
    ("raw", "head"),
    [
        (b"HTTP/1.1 200 OK", Head(200, {})),
        (b"HTTP/1.1 204", Head(204, {})),
        (b"HTTP/1.0 200 OK", Head(200, {}, None, keeps_alive=False)),
        (b"HTTP/1.1 200 OK\r\nConnection: Close", Head(200, {"connection": "Close"}, keeps_alive=False)),
        (b'HTTP/1.1 200 OK\r\nETag:"a: b"', Head(200, {"etag": '"a: b"'})),
        (b"HTTP/1.1 200 OK\r\nA: \t x  y \t", Head(200, {"a": "x  y"})),
        (b"HTTP/1.1 200 OK\r\na:\r\nA: 1\r\na: 2", Head(200, {"a": ", 1, 2"})),
        (b"HTTP/1.1 200 OK\r\na: \xc3\xa9\x85", Head(200, {"a": "\xc3\xa9\x85"})),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 12", Head(200, {"content-length": "12"}, 12)),
    ],
)
def test_heads_are_read(raw: bytes, head: Head) -> None:
    assert parse_head(raw) == head


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"HTTP/2 200 OK",
        b"HTTP/1.1 20 OK",
        b"HTTP/1.1 abc",
        b"HTTP/1.1 200 OK\r\nno colon",
        b"HTTP/1.1 200 OK\r\n: nameless",
        b"HTTP/1.1 200 OK\r\na : b",
        b"HTTP/1.1 200 OK\r\n folded: line",
        b"HTTP/1.1 200 OK\r\na: b\nc: d",
        b"HTTP/1.1 200 OK\r\na: b\rc",
        b"HTTP/1.1 200 OK\r\na: b\x00c",
        b"HTTP/1.1 200 OK\r\ncontent-length: +5",
        b"HTTP/1.1 200 OK\r\ncontent-length: \xb2",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 5",
    ],
)
def test_what_is_no_head_is_refused(raw: bytes) -> None:
    with pytest.raises(MalformedError):
        parse_head(raw)


@pytest.mark.parametrize(
    ("status", "headers", "kind"),
    [
        (200, b"content-length: 5", Length),
        (200, b"transfer-encoding: Chunked", Chunked),
        (500, b"a: b", UntilClose),
        (204, b"a: b", Length),
        (304, b"content-length: 5", Length),
        (100, b"a: b", Length),
    ],
)
def test_how_a_body_is_delimited(status: int, headers: bytes, kind: type) -> None:
    assert type(framing(parse_head(b"HTTP/1.1 %d x\r\n%s" % (status, headers)))) is kind


def test_a_304_has_no_body() -> None:
    assert framing(parse_head(b"HTTP/1.1 304 x\r\ncontent-length: 5")).done


@pytest.mark.parametrize(
    "headers", [b"transfer-encoding: gzip", b"transfer-encoding: chunked\r\ncontent-length: 5"]
)
def test_how_a_body_may_not_be_delimited(headers: bytes) -> None:
    with pytest.raises(MalformedError):
        framing(parse_head(b"HTTP/1.1 200 OK\r\n" + headers))


CHUNKS = b"5\r\nhello\r\nA;x=1\r\n, world, 1\r\n3\r\n\r\n2\r\n0\r\nx-a: b\r\nx-c: d\r\n\r\n"


@pytest.mark.parametrize("size", [*range(1, 20), len(CHUNKS)])
def test_chunks_are_put_together_in_whatever_pieces(size: int) -> None:
    chunked, body = Chunked(), b""
    for at in range(0, len(CHUNKS), size):
        view = memoryview(CHUNKS[at : at + size])
        while view:
            assert not chunked.done
            piece, view = chunked.take(view)
            body += piece
    assert body == b"hello, world, 1\r\n2"
    assert chunked.done


def test_what_follows_a_body_is_left() -> None:
    assert bytes(Length(2).take(memoryview(b"abc"))[1]) == b"c"
    chunked = Chunked()
    assert bytes(chunked.take(memoryview(b"0\r\n\r\nabc"))[1]) == b"abc"


@pytest.mark.parametrize(
    "raw", [b"x\r\n", b"\r\n", b"-1\r\n", b"1\r\nab\r\n", b"0x5\r\n", b"+5\r\n", b"1" * 5000]
)
def test_what_are_no_chunks_is_refused(raw: bytes) -> None:
    def take_all() -> None:
        chunked, view = Chunked(), memoryview(raw)
        while view:
            _, view = chunked.take(view)

    with pytest.raises(MalformedError):
        take_all()
