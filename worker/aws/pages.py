"""ListObjectsV2 over our own wire: a signed GET a page, tried again where that may help.

A page is read by `core.page` and held against the walk that it belongs to; nothing of a page that lies is
used. Memory is one body for each thread that asks, and what reading one page takes: pages are read one at a
time, as Python would have it anyway.
"""

from __future__ import annotations

import threading
from random import Random
from xml.etree.ElementTree import ParseError

from worker.aws.exchange import Request
from worker.aws.http import Limits, ThreadBuffers, Watch
from worker.aws.wire import LISTING, Site
from worker.core.errors import ListingError, ServiceUnavailableError, Side, UsageError
from worker.core.model import Endpoint
from worker.core.page import MOST_KEYS, Cursor, Page, parse_page
from worker.core.retry import pause
from worker.core.transferrer import Cancellation

_TRIES = 8
"""Of one page. Its pauses together are half a minute at most."""

_PIECE = 65_536
_LARGEST = 16 * 1024**2
"""Bytes of a body; a thousand of the longest keys take 4 MB, percent-encoded."""

_DIRECTORY = "--x-s3"
"""At the end of the name of a directory bucket (S3 User Guide, "Directory bucket naming rules")."""


class Pages:
    """The pages of one endpoint's listing; safe to use from many threads.

    Raises:
        UsageError: the endpoint is a directory bucket.
    """

    def __init__(self, endpoint: Endpoint, side: Side, site: Site) -> None:
        if endpoint.bucket.endswith(_DIRECTORY):
            raise UsageError(
                f"{side} {endpoint.uri} is a directory bucket: S3 lists its objects in no order, and not "
                "from a key on, so that it cannot be listed in ranges or compared"
            )
        self._site = site
        self._limits = Limits()
        self._buffers = ThreadBuffers(_PIECE)
        self._reading = threading.Lock()
        self._random = Random()  # noqa: S311 - the jitter of pauses

    def next(self, cursor: Cursor, *, most: int = MOST_KEYS, cancel: Cancellation | None = None) -> Page:
        """The page that a walk has come to; the walk goes past it.

        Raises:
            ConfigurationError: the bucket is missing or may not be listed.
            ServiceUnavailableError: S3 did not answer, after all tries.
            InterruptedTransferError: cancelled.
            ListingError: what it answered is no page of this walk.
        """
        cancel = cancel or threading.Event()
        request = self._request(cursor, most, cancel)
        failures = 0
        while True:
            try:
                page = self._page(request)
                break
            except ServiceUnavailableError:
                failures += 1
                if failures == _TRIES or cancel.wait(pause(failures, self._random)):
                    raise
                request.watch = Watch(cancel, self._limits)
        try:
            cursor.take(page)
        except ListingError as error:
            raise ListingError(f"{self._site.where(request).what}: {error}") from None
        return page

    def _request(self, cursor: Cursor, most: int, cancel: Cancellation) -> Request:
        query = [
            ("encoding-type", "url"),
            LISTING,
            ("max-keys", str(most)),
            ("prefix", cursor.prefix),
        ]
        if cursor.token is not None:
            query.append(("continuation-token", cursor.token))
        elif cursor.last:
            query.append(("start-after", cursor.last))
        return Request("GET", "", {}, self._buffers(), Watch(cancel, self._limits), query=tuple(query))

    def _page(self, request: Request) -> Page:
        body, what = self._body(request), self._site.where(request).what
        with self._reading:
            try:
                return parse_page(body)
            except ParseError as error:
                raise ServiceUnavailableError(f"{what}: the answer is no XML: {error}") from None
            except ListingError as error:
                raise ListingError(f"{what}: {error}") from None

    def _body(self, request: Request) -> bytearray:
        answer = self._site.get(request)
        # In one piece from the start: one that grows leaves holes in memory, for each thread.
        body, held = bytearray(min(answer.head.length or 0, _LARGEST)), 0
        try:
            while piece := self._site.read(answer):
                body[held : held + len(piece)] = piece
                held += len(piece)
                if held > _LARGEST:
                    raise ListingError(f"{self._site.where(request).what}: a page without end")
        finally:
            answer.close()
        return body
