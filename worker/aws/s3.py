"""What is asked of one endpoint but for the data path (`aws.transfer`): list, look at an object, probe."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any, TypeVar
from xml.etree.ElementTree import ParseError

from worker.aws import session
from worker.aws.errors import Where
from worker.aws.exchange import Request
from worker.aws.http import Limits, ThreadBuffers, Watch
from worker.aws.pages import Pages
from worker.aws.wire import ENCRYPTION, TAGGING, Site, trust
from worker.core.answers import read_encryption, read_tags
from worker.core.compare import KMS, Seen
from worker.core.errors import (
    ConfigurationError,
    DestinationChangedError,
    ObjectDeniedError,
    ObjectError,
    ObjectGoneError,
    ServiceUnavailableError,
    Side,
)
from worker.core.headers import PAYER, WITH_CHECKSUMS, seen
from worker.core.http import LONGEST_HEAD
from worker.core.model import Endpoint, ObjectRef, Transfer
from worker.core.page import Cursor
from worker.core.retry import again

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_Query = tuple[tuple[str, str], ...]
_T = TypeVar("_T")

_TAGS_TRIED = 3


def _pay(params: dict[str, Any], **_: object) -> None:
    """Agree to pay for a request."""
    params["headers"].update(PAYER)


class Bucket:
    """One endpoint of a transfer.

    Args:
        endpoint: which bucket, where.
        side: of the transfer.
        connections: kept open at most.
        payer: whether to pay for what is asked of a bucket whose requester pays.
    """

    def __init__(self, endpoint: Endpoint, side: Side, *, connections: int = 10, payer: bool = False) -> None:
        self.endpoint = endpoint
        self.side: Side = side
        self._connections = connections
        self._payer = payer
        self._buffers = ThreadBuffers(LONGEST_HEAD)
        self._random = Random()  # noqa: S311 - the jitter of pauses

    @functools.cached_property
    def client(self) -> S3Client:
        """Made when it is first asked for: it takes a tenth of a second, and most copies never ask."""
        client = session.s3_client(self.endpoint, connections=self._connections)
        if self._payer:
            client.meta.events.register("before-call.s3", _pay)
        return client

    @functools.cached_property
    def pages(self) -> Pages:
        """The pages of its listing, over our own wire."""
        return Pages(self.endpoint, self.side, self._site)

    @functools.cached_property
    def _site(self) -> Site:
        context = trust(session.ca_bundle(self.endpoint.credentials))
        return Site(self.endpoint, self.side, context=context, limits=Limits(), payer=self._payer)

    def where(self, action: str, key: str | None = None) -> Where:
        """What a call is about, for its errors."""
        target = self.endpoint.uri if key is None else f"s3://{self.endpoint.bucket}/ key {key!r}"
        return Where(f"{action} {self.side} {target}", self.side, key)

    def list(self, start_after: str = "", prefix: str | None = None) -> Iterator[ObjectRef]:
        """The objects under `prefix` (the endpoint's, where None) after `start_after`, as S3 orders them.

        Raises:
            ConfigurationError: the bucket is missing or may not be listed.
            ServiceUnavailableError: S3 did not answer, after retries.
            ListingError: what it answered is no listing.
        """
        cursor = Cursor(self.endpoint.prefix if prefix is None else prefix, start_after)
        while not cursor.ended:
            page = self.pages.next(cursor)
            yield from page.refs()

    def next_key(self, after: str) -> str | None:
        """The first key under the endpoint's prefix that comes after `after`; None for none. One request.

        Raises:
            FleetcopyError: as `list`.
        """
        keys = self.pages.next(Cursor(self.endpoint.prefix, after), most=1).keys
        return keys[0] if keys else None

    def probe(self) -> None:
        """Make sure that the bucket is there and may be listed; one request.

        Listing is what lets S3 answer 404, not 403, for a key that is gone.

        Raises:
            ConfigurationError: it is not.
        """
        self.pages.next(Cursor(self.endpoint.prefix, ""), most=1)

    def tags(self, key: str, version_id: str | None = None) -> Sequence[tuple[str, str]]:
        """Key and value of each of an object's tags; one request.

        Raises:
            FleetcopyError: see `core.transferrer`.
        """
        query = (TAGGING,) if version_id is None else (TAGGING, ("versionId", version_id))
        return self._read(key, query, read_tags)

    def probe_tags(self) -> None:
        """Make sure that tags may be read: to who may not, S3 does not say that an object has any.

        Raises:
            ConfigurationError: those of none of the first few objects may be.
        """
        keys = self.pages.next(Cursor(self.endpoint.prefix, ""), most=_TAGS_TRIED).keys
        if keys and not any(map(self._may_read_tags, keys)):
            what = self.where("read the tags of objects in").what
            raise ConfigurationError(
                f"{what}: denied. Grant s3:GetObjectTagging, or leave tags behind with --tags ignore"
            )

    def _may_read_tags(self, key: str) -> bool:
        try:
            self.tags(key)
        except ObjectDeniedError:
            return False
        except (ObjectError, ServiceUnavailableError):
            pass  # gone, or S3 is out of order: that is no matter of permissions
        return True

    def has_digest_etags(self) -> bool:
        """Whether plain ETags are MD5 digests here: not where the bucket encrypts with KMS by default.

        Where the bucket's encryption may not be read, or the service knows none, they are taken to be.
        """
        ask = partial(self._read, "", (ENCRYPTION,), read_encryption)
        try:
            return again(ask, threading.Event(), self._random).isdisjoint(KMS)
        except (ConfigurationError, ObjectError):
            return True

    def head(self, key: str) -> Seen | None:
        """What S3 says of one object; None when it is absent.

        A HEAD's 404 does not say whether the key or the bucket is missing, so that one more request does.

        Raises:
            FleetcopyError: see `core.transferrer`.
        """
        try:
            head = self._site.head(self._request("HEAD", key, WITH_CHECKSUMS))
        except (ObjectGoneError, DestinationChangedError):
            self.probe()
            return None
        return seen(head.headers, head.length or 0)

    def _read(self, key: str, query: _Query, read: Callable[[bytes], _T]) -> _T:
        """A short answer, as `read` understands it."""
        request = self._request("GET", key, {}, query)
        text = self._site.fetch(request).text
        try:
            return read(text)
        except ParseError as error:
            raise ServiceUnavailableError(f"{self._site.where(request).what}: {error}") from None

    def _request(self, method: str, key: str, headers: Mapping[str, str], query: _Query = ()) -> Request:
        watch = Watch(threading.Event(), Limits())
        return Request(method, key, dict(headers), self._buffers(), watch, query=query)


def sides(transfer: Transfer, *, connections: int = 10) -> tuple[Bucket, Bucket]:
    """Source and destination of a transfer."""
    return (
        Bucket(transfer.source, "source", connections=connections, payer=transfer.options.request_payer),
        Bucket(transfer.destination, "destination", connections=connections),
    )
