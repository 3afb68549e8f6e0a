"""Turns what botocore raises into our error tree, at one place.

| S3 or SQS says | we raise |
|---|---|
| bad credentials, no such bucket or queue, wrong region, KMS key out of order | ConfigurationError |
| 403 on a key | ObjectDeniedError |
| 403 otherwise | ConfigurationError |
| 404 on a key | ObjectGoneError |
| 412 | SourceChangedError, DestinationChangedError by side |
| BadDigest and its kin | ProofRefusedError |
| InvalidObjectState, ObjectNotInActiveTierError | ObjectArchivedError |
| NoSuchUpload | UploadGoneError |
| NotImplemented, MethodNotAllowed on a key | UnsupportedError |
| 409 on a conditional write | WriteConflictError |
| 5xx, 429, throttling, a part sent again meanwhile, timeout, reset | ServiceUnavailableError |
| no connection at all | EndpointUnreachableError |
| any other answer about a key | ObjectRefusedError |

Error codes: S3 API Reference, "Error responses"; SQS API Reference, "Common errors".
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

import msgspec
from botocore import exceptions as boto
from urllib3.exceptions import HTTPError

from worker.core import errors
from worker.core.errors import Side

_CREDENTIALS = frozenset(
    {
        "AccessDeniedException",
        "AuthFailure",
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidToken",
        "InvalidSecurity",
        "MissingAuthenticationToken",
        "NotSignedUp",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
        "TokenRefreshRequired",
        "UnrecognizedClientException",
    }
)
_PLACE = frozenset(
    {
        "AWS.SimpleQueueService.NonExistentQueue",
        "AuthorizationHeaderMalformed",
        "IllegalLocationConstraintException",
        "InvalidBucketName",
        "NoSuchBucket",
        "PermanentRedirect",
        "QueueDoesNotExist",
        "ResourceNotFoundException",
    }
)
_DIGEST = frozenset(
    {"BadDigest", "InvalidDigest", "XAmzContentChecksumMismatch", "XAmzContentSHA256Mismatch"}
)
_ARCHIVED = frozenset({"InvalidObjectState", "ObjectNotInActiveTierError"})
_UNSUPPORTED = frozenset({"MethodNotAllowed", "NotImplemented"})
_PASSING = frozenset(
    {
        "InvalidPart",  # sent again since it was listed
        "OperationAborted",
        "RequestThrottled",
        "RequestTimeout",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
_NO_CREDENTIALS = (
    boto.NoCredentialsError,
    boto.PartialCredentialsError,
    boto.CredentialRetrievalError,
    boto.ProfileNotFound,
    boto.TokenRetrievalError,
    boto.ConfigParseError,
    boto.ConfigNotFound,
    boto.NoRegionError,
)


class Where(msgspec.Struct, frozen=True):
    """What a call was about: the text for a person, the side if it has one, the key if it is about one."""

    what: str
    side: Side | None = None
    key: str | None = None


@contextmanager
def translated(where: Where) -> Iterator[None]:
    """Raise what botocore raises within as one of our errors.

    Raises:
        FleetcopyError: by the table above.
    """
    try:
        yield
    except (boto.BotoCoreError, boto.ClientError, HTTPError) as error:
        raise translate(error, where) from error


def translate(error: Exception, where: Where) -> errors.FleetcopyError:
    """The error of ours that says the same."""
    if isinstance(error, boto.ClientError):
        return _answer(error, where)
    text = f"{where.what}: {error}"
    if isinstance(error, _NO_CREDENTIALS):
        return errors.ConfigurationError(f"{text}. Set up credentials as for the AWS CLI, or name a profile")
    if isinstance(error, boto.EndpointConnectionError | boto.ProxyConnectionError):
        return errors.EndpointUnreachableError(f"{text}. Check the endpoint URL, the region and the network")
    if isinstance(
        error, boto.ParamValidationError | boto.InvalidEndpointConfigurationError | boto.UnknownRegionError
    ):
        return errors.ObjectRefusedError(text) if where.key else errors.ConfigurationError(text)
    return errors.ServiceUnavailableError(text)


def _answer(error: boto.ClientError, where: Where) -> errors.FleetcopyError:
    answer = error.response
    status = answer["ResponseMetadata"].get("HTTPStatusCode", 0)
    return refused(answer["Error"].get("Code", "Unknown"), status, answer["Error"].get("Message", ""), where)


def refused(code: str, status: int, message: str, where: Where) -> errors.FleetcopyError:
    """The error of ours that a service answered with."""
    text = f"{where.what}: {code}: {message}".rstrip(": .")
    if code in _CREDENTIALS:
        return errors.ConfigurationError(f"{text}. Check which credentials are used, and their permissions")
    if code in _PLACE or code.startswith("KMS."):
        return errors.ConfigurationError(f"{text}. Check its name, its region and the partition it is in")
    if code == "ConditionalRequestConflict":
        return errors.WriteConflictError(text)
    is_fault = status >= HTTPStatus.INTERNAL_SERVER_ERROR and code not in _UNSUPPORTED
    if is_fault or code in _PASSING or status == HTTPStatus.TOO_MANY_REQUESTS:
        return errors.ServiceUnavailableError(text)
    if where.key is None:
        return errors.ConfigurationError(f"{text}. Check the name and the permissions")
    return _about_object(code, status, text, where)


def _about_object(code: str, status: int, text: str, where: Where) -> errors.FleetcopyError:
    """An answer about one key. HEAD answers have no body, and so the status for their code."""
    at_source = where.side == "source"
    if status == HTTPStatus.FORBIDDEN and code not in _ARCHIVED:
        return errors.ObjectDeniedError(where.side or "source", text)
    match code, status:
        case archived, _ if archived in _ARCHIVED:
            kind: type[errors.ObjectError] = errors.ObjectArchivedError
        case digest, _ if digest in _DIGEST:
            kind = errors.ProofRefusedError
        case unsupported, _ if unsupported in _UNSUPPORTED:
            kind = errors.UnsupportedError
        case "NoSuchUpload", _:
            kind = errors.UploadGoneError
        case _, 404 if at_source:
            kind = errors.ObjectGoneError
        case _, 412 if at_source:
            kind = errors.SourceChangedError
        case _, 404 | 412:
            kind = errors.DestinationChangedError
        case _:
            kind = errors.ObjectRefusedError
    return kind(text)
