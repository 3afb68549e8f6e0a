"""GET and PUT of one bucket's objects over our own HTTP: requests signed, answers understood.

A request goes out once. It goes out again only where that cannot do harm and something has changed: on a new
connection where a kept one turned out to be closed before it brought an answer; and, once for each cure that
`core.refusal` knows, with the region, the clock or the credentials put right. All other failures are raised,
as ours; trying the same again after a pause is `flow.copy`'s. What an endpoint turns out not to know is kept
in its `Capabilities` for the requests to come. Secrets are in no message: errors tell what S3 said, and the
key.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from urllib.parse import urlsplit

import msgspec
from botocore.credentials import Credentials

from worker.aws import http, session
from worker.aws.errors import Where, refused, translated
from worker.core import errors
from worker.core.errors import FleetcopyError, Side
from worker.core.http import Head
from worker.core.model import Endpoint
from worker.core.refusal import LONGEST_BODY, Cure, Refusal, cure, refusal
from worker.core.sigv4 import EMPTY, TRAILED, UNSIGNED, Keys, Signer, spell, spell_query

_RENEWAL_PAUSE = 10.0
_PORTS = {"http": 80, "https": 443}

Pieces = tuple[bytes | memoryview, ...]
"""Bytes that go out together."""


def trust(ca_bundle: str | None) -> ssl.SSLContext:
    """Whose certificates are trusted: the bundle's alone, or the system's where None.

    Raises:
        ConfigurationError: the bundle cannot be read.
    """
    try:
        context = ssl.create_default_context(cafile=ca_bundle)
    except OSError as error:
        raise errors.ConfigurationError(
            f"certificates in {ca_bundle!r}: {error}. See AWS_CA_BUNDLE"
        ) from error
    context.set_alpn_protocols(["http/1.1"])
    return context


class Capabilities(msgspec.Struct):
    """What an endpoint can, as far as its answers have shown; nothing is written to find out.

    Attributes:
        trailers: checks checksums that follow a body. AWS does; another does if it answers with a CRC64NVME,
            which is younger than trailers: one that took their framing for the object's bytes would store it.
        conditions: knows `If-None-Match` and `If-Match` on a PUT. Without, the next diff decides.
        proceeds: says `100 Continue` before it takes a body.
    """

    trailers: bool
    conditions: bool = True
    proceeds: bool = True


class Place(msgspec.Struct, frozen=True):
    """Where a bucket is: connections, what comes before a key in a path, the region to sign for."""

    pool: http.Pool
    prefix: str
    region: str


class Body(msgspec.Struct, frozen=True):
    """What a PUT sends.

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
    """One GET or PUT.

    Attributes:
        method, key, headers: headers' names in lower case.
        query: name and value of each parameter.
        body: of a PUT.
        spent: whether a byte of a streamed body has been taken, so that it cannot be sent again.
    """

    method: str
    key: str
    headers: dict[str, str]
    query: tuple[tuple[str, str], ...] = ()
    body: Body | None = None
    spent: bool = False


class KeyRing:
    """The credentials of one name, as they are now; safe to use from many threads."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._source: Credentials | None = None
        self._renew_at = 0.0

    def keys(self) -> Keys:
        """The credentials; botocore refreshes those that are about to expire.

        Raises:
            ConfigurationError: there are none.
        """
        with translated(Where(f"credentials {self._name!r}")):
            if self._source is None:
                self._source = session.credentials(self._name)
            frozen = self._source.get_frozen_credentials()
        return Keys(frozen.access_key or "", frozen.secret_key or "", frozen.token)

    def renew(self, refused: Keys) -> bool:
        """Read them again, since these were refused; whether they are others now."""
        with self._lock:
            if self.keys() == refused and time.monotonic() >= self._renew_at:
                self._renew_at = time.monotonic() + _RENEWAL_PAUSE
                session.forget()
                self._source = None
            return self.keys() != refused


class _Stamp(msgspec.Struct, frozen=True):
    """What signs the requests of one second."""

    second: int
    date: str
    signer: Signer
    region: str


class Incoming:
    """An object on its way: its headers, and its bytes as they come. To be closed."""

    def __init__(
        self,
        site: Site,
        request: Request,
        head: Head,
        *,
        place: Place,
        connection: http.Connection,
        watch: http.Watch,
    ) -> None:
        self.headers = head.headers
        self.length = head.length
        self._site = site
        self._place = place
        self._request = request
        self._connection = connection
        self._watch = watch

    @property
    def what(self) -> str:
        """What it is, for errors."""
        return self._site.where(self._request).what

    def read(self, buffer: memoryview) -> memoryview:
        """The next bytes, in `buffer` or where the head was read into; empty at the end.

        Raises:
            ServiceUnavailableError: the rest does not come.
            InterruptedTransferError: cancelled.
        """
        try:
            return self._connection.read(buffer, self._watch)
        except (http.BrokenError, http.CancelledError) as error:
            raise self._site.error(error, self._request) from error

    def close(self) -> None:
        """Done with it, whether or not it was read to its end."""
        self._place.pool.give(self._connection)


class Site:
    """One endpoint's bucket. Safe to use from many threads."""

    def __init__(
        self, endpoint: Endpoint, side: Side, *, context: ssl.SSLContext, limits: http.Limits | None = None
    ) -> None:
        self.capabilities = Capabilities(trailers=endpoint.endpoint_url is None)
        self._endpoint = endpoint
        self._side = side
        self._context = context
        self._limits = limits or http.Limits()
        self._keys = KeyRing(endpoint.credentials)
        self._pools: dict[http.Origin, http.Pool] = {}
        self._place = self._locate(None)
        self._stamp: _Stamp | None = None
        self._skew = 0.0

    @property
    def encrypts(self) -> bool:
        """Whether TLS is spoken."""
        return self._place.pool.origin.scheme == "https"

    def where(self, request: Request) -> Where:
        """What a request is about, for its errors."""
        action = "read" if request.body is None else "write"
        what = f"{action} {self._side} s3://{self._endpoint.bucket}/ key {request.key!r}"
        return Where(what, self._side, request.key)

    def get(self, request: Request, buffers: http.Buffers, watch: http.Watch) -> Incoming:
        """Begin to read an object.

        Raises:
            FleetcopyError: see `core.transferrer`.
        """
        place, connection, head = self._perform(request, buffers, watch)
        return Incoming(self, request, head, place=place, connection=connection, watch=watch)

    def put(self, request: Request, buffers: http.Buffers, watch: http.Watch) -> Head:
        """Write an object.

        Raises:
            FleetcopyError: see `core.transferrer`.
        """
        place, connection, head = self._perform(request, buffers, watch)
        try:
            body = _read_bounded(connection, buffers, watch)
        except (http.BrokenError, http.CancelledError) as error:
            raise self.error(error, request) from error
        finally:
            place.pool.give(connection)
        # A copy within S3 may fail after its 200 is out.
        if b"<Error" in body:
            answer = refusal(head, body)
            raise refused(answer.code, HTTPStatus.INTERNAL_SERVER_ERROR, answer.message, self.where(request))
        if not body and "etag" not in head.headers:
            raise errors.ServiceUnavailableError(f"{self.where(request).what}: a success without an ETag")
        if "x-amz-checksum-crc64nvme" in head.headers:
            self.capabilities.trailers = True
        return head

    def error(self, error: Exception, request: Request) -> FleetcopyError:
        """What went wrong on the way, as ours."""
        what = self.where(request).what
        match error:
            case http.CancelledError():
                return errors.InterruptedTransferError(f"{what}: cancelled")
            case http.UnreachableError():
                return errors.EndpointUnreachableError(
                    f"{what}: {error}. Check the endpoint URL, the region and the network"
                )
            case http.UntrustedError():
                return errors.ConfigurationError(
                    f"{what}: the certificate of {self._place.pool.origin.netloc} is not trusted: {error}. "
                    "Check the endpoint URL; AWS_CA_BUNDLE names a file of certificates to trust"
                )
        return errors.ServiceUnavailableError(f"{what}: {error}")

    def _perform(
        self, request: Request, buffers: http.Buffers, watch: http.Watch
    ) -> tuple[Place, http.Connection, Head]:
        """Send a request, put right what a refusal says is wrong about it, and return the success."""
        cured: set[Cure] = set()
        place = self._place
        while True:
            try:
                keys, connection, head = self._exchange(place, request, buffers, watch)
                if head.status == HTTPStatus.OK:
                    return place, connection, head
                answer = self._refusal(place, connection, head, buffers, watch)
            except (
                http.BrokenError,
                http.CancelledError,
                http.UnreachableError,
                http.UntrustedError,
            ) as error:
                raise self.error(error, request) from error
            trailed = request.body is not None and request.body.trailed
            remedy = cure(answer, place.region, trailer=trailed)
            better = self._cure(remedy, answer, place, keys) if remedy and remedy not in cured else None
            if not remedy or not better:
                raise refused(answer.code, head.status, answer.message, self.where(request))
            if request.spent or remedy in {Cure.NO_TRAILER, Cure.NO_CONDITION}:
                # The next try is made with what has been learnt.
                raise errors.ServiceUnavailableError(
                    f"{self.where(request).what}: {answer.code}; next time {remedy.value}"
                )
            cured.add(remedy)
            place = better

    def _exchange(
        self, place: Place, request: Request, buffers: http.Buffers, watch: http.Watch
    ) -> tuple[Keys, http.Connection, Head]:
        """One request and its answer, on a kept connection, or on a new one where that is gone."""
        connection = place.pool.take(buffers, watch)
        while True:
            try:
                keys, head = self._converse(connection, place, request, buffers, watch)
            except BaseException as error:
                connection.close()
                gone = isinstance(error, http.ClosedError) and connection.reused and not connection.answered
                if not gone or request.spent:
                    raise
                connection = place.pool.take(buffers, watch, new=True)
            else:
                return keys, connection, head

    def _converse(
        self,
        connection: http.Connection,
        place: Place,
        request: Request,
        buffers: http.Buffers,
        watch: http.Watch,
    ) -> tuple[Keys, Head]:
        keys, lines = self._request_head(place, request)
        watch.cancellable = True
        body = request.body
        if body is None:
            connection.send(watch, lines)
            return keys, connection.head(buffers.body, watch)
        try:
            if body.stream is None:
                # It has all it needs to publish: from here on its answer alone tells what became of it.
                watch.cancellable = False
                connection.send(watch, lines, *body.held)
            else:
                connection.send(watch, lines)
                early = self._stream(connection, body, request, buffers, watch)
                if early:
                    return keys, early
        except http.BrokenError:
            last_word = self._last_word(connection, buffers, watch)
            if last_word is None:
                raise
            return keys, last_word
        return keys, connection.head(buffers.answer, watch)

    def _stream(
        self,
        connection: http.Connection,
        body: Body,
        request: Request,
        buffers: http.Buffers,
        watch: http.Watch,
    ) -> Head | None:
        """Send a body that cannot be sent again, unless the answer is there before."""
        if self.capabilities.proceeds:
            until = time.monotonic() + self._limits.proceed
            try:
                head = connection.head(buffers.answer, watch, until)
            except http.SilentError:
                self.capabilities.proceeds = False
            else:
                if head.status != HTTPStatus.CONTINUE:
                    connection.spoil()
                    return head
        request.spent = True
        left = body.length
        for pieces in body.stream or ():
            left -= sum(map(len, pieces))
            watch.cancellable = left > 0
            connection.send(watch, *pieces)
        return None

    @staticmethod
    def _last_word(connection: http.Connection, buffers: http.Buffers, watch: http.Watch) -> Head | None:
        """The answer of a host that would not take the whole body, if it gave one."""
        try:
            head = connection.head(buffers.answer, watch, until=0.0)
        except (http.BrokenError, http.SilentError):
            return None
        connection.spoil()
        return None if head.status == HTTPStatus.CONTINUE else head

    def _request_head(self, place: Place, request: Request) -> tuple[Keys, bytes]:
        stamp = self._signing(place.region)
        body = request.body
        payload = EMPTY if body is None else TRAILED if body.trailed else UNSIGNED
        headers = [
            ("host", place.pool.origin.netloc),
            ("x-amz-content-sha256", payload),
            ("x-amz-date", stamp.date),
            *request.headers.items(),
        ]
        keys = stamp.signer.keys
        if keys.session_token:
            headers.append(("x-amz-security-token", keys.session_token))
        headers.sort()
        path, query = place.prefix + spell(request.key), spell_query(request.query) if request.query else ""
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers])
        if lines.count("\n") != len(headers) or lines.count("\r") != len(headers):
            raise errors.ObjectRefusedError(f"{self.where(request).what}: an attribute would break a header")
        if body is not None:
            lines += f"content-length: {body.length}\r\n"
            if body.stream and self.capabilities.proceeds:
                lines += "expect: 100-continue\r\n"
        try:
            authorization = stamp.signer.authorization(
                request.method, path, query, headers, stamp.date, payload
            )
            return keys, (
                f"{request.method} {path}{'?' if query else ''}{query} HTTP/1.1\r\n{lines}"
                f"authorization: {authorization}\r\nuser-agent: fleetcopy\r\n\r\n"
            ).encode("latin-1")
        except UnicodeEncodeError as error:
            raise errors.ObjectRefusedError(
                f"{self.where(request).what}: an attribute does not fit a header"
            ) from error

    def _signing(self, region: str) -> _Stamp:
        """What signs a request made now; credentials are asked for once a second."""
        second = int(time.time() + self._skew)
        stamp = self._stamp
        if stamp is None or stamp.second != second or stamp.region != region:
            keys = self._keys.keys()
            same = stamp is not None and stamp.region == region and stamp.signer.keys == keys
            signer = stamp.signer if stamp and same else Signer(keys, region)
            date = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(second))
            self._stamp = stamp = _Stamp(second, date, signer, region)
        return stamp

    @staticmethod
    def _refusal(
        place: Place, connection: http.Connection, head: Head, buffers: http.Buffers, watch: http.Watch
    ) -> Refusal:
        try:
            return refusal(head, _read_bounded(connection, buffers, watch))
        except http.BrokenError:
            # The status is known; the rest would only have explained it.
            return refusal(head, b"")
        finally:
            place.pool.give(connection)

    def _cure(self, remedy: Cure, answer: Refusal, place: Place, keys: Keys) -> Place | None:
        """Put right what was wrong; where to send the request now, None where nothing changes."""
        match remedy:
            case Cure.REGION:
                self._place = self._locate(answer.region)
                return self._place
            case Cure.LOCATION:
                return self._elsewhere(answer.head.headers["location"], place)
            case Cure.CLOCK:
                self._skew = _time_of(answer.head) - time.time()
                self._stamp = None
                return place
            case Cure.KEYS:
                self._stamp = None
                return place if self._keys.renew(keys) else None
            case Cure.NO_TRAILER:
                self.capabilities.trailers = False
            case Cure.NO_CONDITION:
                self.capabilities.conditions = False
        return place

    def _locate(self, region: str | None) -> Place:
        url, region = session.bucket_url(self._endpoint, region)
        parts = urlsplit(url)
        return Place(self._pool(url), f"{parts.path}/", region)

    def _elsewhere(self, location: str, place: Place) -> Place | None:
        """Where a redirect points; never from TLS to none."""
        if urlsplit(location).scheme != place.pool.origin.scheme:
            return None
        return Place(self._pool(location), place.prefix, place.region)

    def _pool(self, url: str) -> http.Pool:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
        name = f"[{host}]" if ":" in host else host
        netloc = name if port == _PORTS[parts.scheme] else f"{name}:{port}"
        origin = http.Origin(parts.scheme, host, port, netloc)
        pool = self._pools.get(origin)
        if pool is None:
            pool = self._pools[origin] = http.Pool(origin, self._context, self._limits)
        return pool


def _read_bounded(connection: http.Connection, buffers: http.Buffers, watch: http.Watch) -> bytes:
    """An answer's body, or its beginning where it is longer than any error's."""
    body = b""
    while len(body) < LONGEST_BODY and (piece := connection.read(buffers.answer, watch)):
        body += piece
    return body


def _time_of(head: Head) -> float:
    try:
        return parsedate_to_datetime(head.headers["date"]).timestamp()
    except (KeyError, ValueError):
        return time.time()
