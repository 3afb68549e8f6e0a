"""One request on one connection: what it sends, in which order, and the head of its answer."""

from __future__ import annotations

import time
from collections.abc import Iterator
from http import HTTPStatus

import msgspec

from worker.aws.http import BrokenError, Buffers, Connection, SilentError, Watch
from worker.core.http import Head

Pieces = tuple[bytes | memoryview, ...]
"""Bytes that go out together."""


class Body(msgspec.Struct, frozen=True):
    """What a PUT or POST sends.

    Attributes:
        length: bytes on the wire.
        held: all of it, where it is in memory; it can be sent again.
        stream: all of it, piece by piece, where it is not.
        trailed: whether a checksum follows, in S3's framing.
    """

    length: int
    held: Pieces = ()
    stream: Iterator[Pieces] | None = None
    trailed: bool = False


class Request(msgspec.Struct):
    """One GET, HEAD, PUT or POST.

    Attributes:
        method, key: what to do to which object.
        headers: by name in lower case.
        buffers, watch: of the thread and of the copy that it is for.
        query: name and value of each parameter.
        body: of a PUT or POST.
        partial: whether it asks for a part of an object, and may be given that.
        waits: whether it asks for `100 Continue` before it sends its body.
        unheard: whether it asked in vain.
        spent: whether a byte of a streamed body has been taken, so that it cannot be sent again.
    """

    method: str
    key: str
    headers: dict[str, str]
    buffers: Buffers
    watch: Watch
    query: tuple[tuple[str, str], ...] = ()
    body: Body | None = None
    partial: bool = False
    waits: bool = False
    unheard: bool = False
    spent: bool = False


def unsigned(request: Request) -> str:
    """The header lines that are no part of the signature."""
    if request.body is None:
        return ""
    expect = "expect:100-continue\r\n" if request.waits else ""
    return f"content-length:{request.body.length}\r\n{expect}"


def converse(connection: Connection, lines: bytes, request: Request) -> Head:
    """Send a request, and wait for the head of its answer."""
    body, buffers, watch = request.body, request.buffers, request.watch
    watch.cancellable = True
    if body is None:
        connection.send(watch, lines)
        head = connection.head(buffers.body, watch)
        if request.method == "HEAD":
            connection.no_body()
        return head
    try:
        if body.stream is None:
            # It has all it needs to publish: from here on its answer alone tells what became of it.
            watch.cancellable = False
            connection.send(watch, lines, *body.held)
        else:
            connection.send(watch, lines)
            if early := _stream(connection, request, body.stream, body.length):
                return early
    except BrokenError:
        if last_word := _last_word(connection, request):
            return last_word
        raise
    return connection.head(buffers.answer, watch)


def _stream(connection: Connection, request: Request, stream: Iterator[Pieces], left: int) -> Head | None:
    """Send a body that cannot be sent again, unless the answer is there before; then that."""
    watch = request.watch
    if request.waits:
        try:
            head = connection.head(
                request.buffers.answer, watch, until=time.monotonic() + watch.limits.proceed
            )
        except SilentError:
            request.unheard = True
        else:
            if head.status != HTTPStatus.CONTINUE:
                connection.spoil()
                return head
    request.spent = True
    for pieces in stream:
        left -= sum(map(len, pieces))
        watch.cancellable = left > 0
        connection.send(watch, *pieces)
    return None


def _last_word(connection: Connection, request: Request) -> Head | None:
    """The answer of a host that would not take the whole body, if it gave one."""
    try:
        head = connection.head(request.buffers.answer, request.watch, until=0.0)
    except (BrokenError, SilentError):
        return None
    connection.spoil()
    return None if head.status == HTTPStatus.CONTINUE else head
