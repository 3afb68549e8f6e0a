"""Requests to one bucket's objects over our own HTTP: signed, sent, and their answers understood.

A request goes out once. It goes out again only where that cannot do harm and something has changed: on a new
connection where a kept one turned out to be closed before it brought an answer; and, once for each cure that
`core.refusal` knows, with the region, the clock or the credentials put right. A refused HEAD, which has no
body, is explained by a GET of one byte. All other failures are raised, as ours; trying the same again after
a pause is `flow.copy`'s. What an endpoint turns out not to know is kept in its `Capabilities` for the
requests to come. Secrets are in no message: errors tell what S3 said, and the key.
"""

from __future__ import annotations

import ssl
import time
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from urllib.parse import urlsplit

import msgspec

from worker.aws import session
from worker.aws.errors import Where, refused
from worker.aws.exchange import Request, converse, unsigned
from worker.aws.http import (
    BrokenError,
    CancelledError,
    ClosedError,
    Connection,
    Limits,
)
from worker.aws.keyring import KeyRing
from worker.aws.pool import Origin, Pool, UnreachableError, UntrustedError
from worker.core import errors
from worker.core.errors import FleetcopyError, Side
from worker.core.headers import PAYER
from worker.core.http import Head
from worker.core.model import Endpoint
from worker.core.refusal import LONGEST_BODY, Cure, Refusal, advice, cure, refusal
from worker.core.sigv4 import EMPTY, TRAILED, UNSIGNED, Keys, spell, spell_query

LISTING = ("list-type", "2")
"""Parameter of a request for a page of a bucket's listing."""

TAGGING = ("tagging", "")
"""Parameter of a request for an object's tags."""

ENCRYPTION = ("encryption", "")
"""Parameter of a request for a bucket's default encryption."""

COPY_SOURCE = "x-amz-copy-source"
"""Header that names what S3 shall copy."""

_SUCCESS = (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT)
_UNEXPLAINED = (HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN)
_PORTS = {"http": 80, "https": 443}
_FAILURES = (BrokenError, CancelledError, UnreachableError, UntrustedError)


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


class _Place(msgspec.Struct, frozen=True):
    """Where a bucket is: connections, what comes before a key in a path, the region to sign for."""

    pool: Pool
    prefix: str
    region: str


class Answer(msgspec.Struct, frozen=True):
    """An answer whose body is still to be read; `keys` signed its request. To be closed."""

    request: Request
    keys: Keys
    place: _Place
    connection: Connection
    head: Head

    def close(self) -> None:
        """Done with it, whether or not it was read to its end."""
        self.place.pool.give(self.connection)

    def text(self) -> bytes:
        """The body, or its beginning where it is longer than any error's."""
        body = b""
        while len(body) < LONGEST_BODY and (
            piece := self.connection.read(self.request.buffers.answer, self.request.watch)
        ):
            body += piece
        return body


class Reply(msgspec.Struct, frozen=True):
    """A success that has been read to its end, or as far as any error's would go."""

    head: Head
    text: bytes


class Site:
    """One endpoint's bucket. Safe to use from many threads.

    Args:
        endpoint: which bucket, where.
        side: of the transfer.
        context: whom to trust.
        limits: how long anything may take.
        payer: whether to pay for what is asked of a bucket whose requester pays.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        side: Side,
        *,
        context: ssl.SSLContext,
        limits: Limits,
        payer: bool = False,
    ) -> None:
        self._payer = list(PAYER.items()) if payer else []
        self.capabilities = Capabilities(trailers=endpoint.endpoint_url is None)
        self._endpoint = endpoint
        self._side = side
        self._context = context
        self._limits = limits
        self._keys = KeyRing(endpoint.credentials)
        self._pools: dict[Origin, Pool] = {}
        self._place = self._locate(None)

    @property
    def encrypts(self) -> bool:
        """Whether TLS is spoken."""
        return self._place.pool.origin.scheme == "https"

    @property
    def region(self) -> str:
        """Where the bucket is, as far as is known."""
        return self._place.region

    def head(self, request: Request) -> Head:
        """What a GET would say of an object.

        Raises:
            FleetcopyError: see `core.transferrer`.
        """
        answer = self._perform(request)
        answer.close()
        return answer.head

    def get(self, request: Request) -> Answer:
        """Begin to read an object.

        Raises:
            FleetcopyError: see `core.transferrer`.
        """
        return self._perform(request)

    def read(self, answer: Answer) -> memoryview:
        """An object's next bytes, good until the thread reads again; empty at the end.

        Raises:
            ServiceUnavailableError: the rest does not come.
            InterruptedTransferError: cancelled.
        """
        try:
            return answer.connection.read(answer.request.buffers.body, answer.request.watch)
        except _FAILURES as error:
            raise self._failed(error, answer.request) from error

    def fetch(self, request: Request) -> Reply:
        """Read what is short, such as tags.

        Raises:
            FleetcopyError: see `core.transferrer`.
        """
        answer, text = self._whole(request)
        return Reply(answer.head, text)

    def put(self, request: Request) -> Reply:
        """Write an object, or take a step on the way to one.

        Raises:
            FleetcopyError: see `core.transferrer`.
        """
        assert request.body
        request.waits = request.body.stream is not None and self.capabilities.proceeds
        answer, text = self._whole(request)
        self._doubt(answer, text)
        if "x-amz-checksum-crc64nvme" in answer.head.headers:
            self.capabilities.trailers = True
        if request.unheard:
            self.capabilities.proceeds = False
        return Reply(answer.head, text)

    def where(self, request: Request) -> Where:
        """What a request is about, for its errors; without a key, it lists, or asks for a configuration."""
        if not request.key and LISTING in request.query:
            return Where(f"list {self._side} {self._endpoint.uri}", self._side)
        if ENCRYPTION in request.query:
            return Where(f"ask for the encryption of {self._side} {self._endpoint.uri}", self._side, "")
        action = {"GET": "read", "HEAD": "look at"}.get(request.method, "write")
        if TAGGING in request.query:
            action = "read the tags of"
        if COPY_SOURCE in request.headers:
            action = "copy within S3 to"
        what = f"{action} {self._side} s3://{self._endpoint.bucket}/ key {request.key!r}"
        return Where(what, self._side, request.key)

    def _doubt(self, answer: Answer, text: bytes) -> None:
        """Believe a success only if it is one: a copy within S3 may fail after its 200 is out."""
        if b"<Error" in text:
            told = refusal(answer.head, text)
            lost = told.code == "PreconditionFailed"
            status = HTTPStatus.PRECONDITION_FAILED if lost else HTTPStatus.INTERNAL_SERVER_ERROR
            raise self._refused(told, status, answer.request)
        if not text and "etag" not in answer.head.headers:
            what = self.where(answer.request).what
            raise errors.ServiceUnavailableError(f"{what}: a success without an ETag")

    def _failed(self, error: Exception, request: Request) -> FleetcopyError:
        """What went wrong on the way, as ours."""
        what, origin = self.where(request).what, self._place.pool.origin
        match error:
            case CancelledError():
                return errors.InterruptedTransferError(f"{what}: cancelled")
            case UnreachableError():
                return errors.EndpointUnreachableError(
                    f"{what}: {origin.scheme}://{origin.netloc}: {error}. "
                    "Check the endpoint URL, the region and the network"
                )
            case UntrustedError():
                return errors.ConfigurationError(
                    f"{what}: the certificate of {origin.netloc} is not trusted: {error}. "
                    "Check the endpoint URL; AWS_CA_BUNDLE names a file of certificates to trust"
                )
        return errors.ServiceUnavailableError(f"{what}: {error}")

    # One request, from its head to its success.

    def _whole(self, request: Request) -> tuple[Answer, bytes]:
        """A success and its body, closed."""
        answer = self._perform(request)
        try:
            return answer, answer.text()
        except _FAILURES as error:
            raise self._failed(error, request) from error
        finally:
            answer.close()

    def _perform(self, request: Request) -> Answer:
        """Send a request, put right what a refusal says is wrong about it, and return the success."""
        cured: set[Cure] = set()
        place = self._place
        while True:
            try:
                answer = self._exchange(place, request)
                if answer.head.status in (_SUCCESS if request.partial else _SUCCESS[:1]):
                    return answer
                told = self._explained(answer, _refusal(answer))
            except _FAILURES as error:
                raise self._failed(error, request) from error
            remedy = cure(told, place.region, trailer=request.body is not None and request.body.trailed)
            better = self._cure(remedy, told, answer) if remedy and remedy not in cured else None
            if remedy is None or better is None:
                raise self._refused(told, told.head.status, request)
            if request.spent or remedy in {Cure.NO_TRAILER, Cure.NO_CONDITION}:
                # The next try is made with what has been learnt.
                raise errors.ServiceUnavailableError(
                    f"{self.where(request).what}: {told.code}; next time {remedy.value}"
                )
            cured.add(remedy)
            place = better

    def _explained(self, answer: Answer, told: Refusal) -> Refusal:
        """The same refusal, with its reason: the answer to a HEAD has no body, and so gives none."""
        request, status = answer.request, answer.head.status
        if request.method != "HEAD" or status not in _UNEXPLAINED:
            return told
        query = tuple(pair for pair in request.query if pair[0] != "partNumber")
        headers = request.headers | {"range": "bytes=0-0"}
        again = msgspec.structs.replace(request, method="GET", headers=headers, query=query)
        explained = self._exchange(answer.place, again)
        if explained.head.status == status:
            return _refusal(explained)
        explained.close()
        return told

    def _refused(self, told: Refusal, status: int, request: Request) -> FleetcopyError:
        """A refusal that is final, as ours; S3 may mind the source of what it shall copy."""
        where = self.where(request)
        if told.condition.startswith(COPY_SOURCE):
            where = msgspec.structs.replace(where, side="source")
        message = f"{told.message}. {advice(told, request.headers)}".strip(". ")
        return refused(told.code, status, message, where)

    def _exchange(self, place: _Place, request: Request) -> Answer:
        """One request and its answer, on a kept connection, or on a new one where that is gone."""
        keys, lines = self._lines(place, request)
        connection = place.pool.take(request.buffers, request.watch)
        while True:
            try:
                return Answer(request, keys, place, connection, converse(connection, lines, request))
            except BaseException as error:
                connection.close()
                gone = isinstance(error, ClosedError) and connection.reused and not connection.answered
                if not gone or request.spent:
                    raise
            connection = place.pool.take(request.buffers, request.watch, new=True)

    def _lines(self, place: _Place, request: Request) -> tuple[Keys, bytes]:
        """A request's head, and the keys that signed it."""
        stamp, body = self._keys.stamp(place.region), request.body
        keys = stamp.signer.keys
        payload = EMPTY if body is None else TRAILED if body.trailed else UNSIGNED
        headers = [
            ("host", place.pool.origin.netloc),
            ("x-amz-content-sha256", payload),
            ("x-amz-date", stamp.date),
            *self._payer,
            *request.headers.items(),
        ]
        if keys.session_token:
            headers.append(("x-amz-security-token", keys.session_token))
        headers.sort()
        path, query = place.prefix + spell(request.key), spell_query(request.query) if request.query else ""
        lines = "".join([f"{name}:{value}\n" for name, value in headers])
        if lines.count("\n") != len(headers) or "\r" in lines or not _fits(lines):
            raise errors.ObjectRefusedError(f"{self.where(request).what}: an attribute does not fit a header")
        names = ";".join([name for name, _ in headers])
        signer, method, date = stamp.signer, request.method, stamp.date
        authorization = signer.authorization(method, path, query, lines, names, payload, date)
        return keys, (
            f"{method} {path}{'?' if query else ''}{query} HTTP/1.1\r\n"
            + lines.replace("\n", "\r\n")
            + f"authorization:{authorization}\r\nuser-agent:fleetcopy\r\n{unsigned(request)}\r\n"
        ).encode("latin-1")

    # What refusals teach.

    def _cure(self, remedy: Cure, told: Refusal, answer: Answer) -> _Place | None:
        """Put right what was wrong; where to send the request now, None where nothing changes."""
        place = answer.place
        match remedy:
            case Cure.REGION:
                place = self._place = self._locate(told.region)
            case Cure.LOCATION:
                location = told.head.headers["location"]
                # Never from TLS to none.
                if urlsplit(location).scheme != place.pool.origin.scheme:
                    return None
                place = _Place(self._pool(location), place.prefix, place.region)
            case Cure.CLOCK:
                self._keys.set_clock(_time_of(told.head))
            case Cure.KEYS:
                return place if self._keys.renew(answer.keys) else None
            case Cure.NO_TRAILER:
                self.capabilities.trailers = False
            case Cure.NO_CONDITION:
                self.capabilities.conditions = False
        return place

    def _locate(self, region: str | None) -> _Place:
        url, region = session.bucket_url(self._endpoint, region)
        return _Place(self._pool(url), f"{urlsplit(url).path}/", region)

    def _pool(self, url: str) -> Pool:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
        name = f"[{host}]" if ":" in host else host
        netloc = name if port == _PORTS[parts.scheme] else f"{name}:{port}"
        origin = Origin(parts.scheme, host, port, netloc)
        pool = self._pools.get(origin)
        if pool is None:
            pool = self._pools[origin] = Pool(origin, self._context, self._limits)
        return pool


def _fits(lines: str) -> bool:
    """Whether each character stands for a byte. To find out by encoding would put secrets into the error."""
    return lines.isascii() or max(lines) <= "\xff"


def _refusal(answer: Answer) -> Refusal:
    """What an answer that is no success says.

    Raises:
        BrokenError, CancelledError: it was cut short, and its status alone does not tell whose fault it is.
    """
    try:
        text = answer.text()
    except BrokenError:
        # A host that answers before it has the whole body may well reset the connection.
        if answer.head.status != HTTPStatus.PRECONDITION_FAILED:
            raise
        text = b""
    finally:
        answer.close()
    return refusal(answer.head, text)


def _time_of(head: Head) -> float:
    try:
        return parsedate_to_datetime(head.headers["date"]).timestamp()
    except (KeyError, ValueError):
        return time.time()
