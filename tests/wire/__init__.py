"""What the wire's tests share: an S3 that misbehaves in whatever way it is told to, and a transferrer."""

from __future__ import annotations

import os
import ssl
import traceback
from random import Random
from threading import Event

from tests.secrets import Search
from tests.wire.peer import Peer
from worker.aws.http import Limits
from worker.aws.transfer import WireTransferrer
from worker.aws.wire import trust
from worker.core.errors import FleetcopyError
from worker.core.model import Endpoint, ObjectRef, Outcome, Transfer
from worker.core.options import Options
from worker.core.transferrer import Copied
from worker.flow.copy import copy_object

SEED = int(os.environ.get("FLEETCOPY_TEST_SEED", "20261125"))
KEY = "a key"
AUTO = Options()
SHORT = Limits(connect=2.0, stretch=1.5, least=1000, proceed=1.0)
"""Patience for tests of what outlasts it."""
KEYS = {
    "AWS_ACCESS_KEY_ID": "AKIAWIRE",
    "AWS_SECRET_ACCESS_KEY": "do-not-tell",
    "AWS_SESSION_TOKEN": "nor-this/token+of+ours==",
}
SECRETS = {name: KEYS[name] for name in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")}
"""No text of the program's may hold them."""


def between(
    source: str,
    destination: str,
    *,
    context: ssl.SSLContext | None = None,
    limits: Limits = SHORT,
    options: Options = AUTO,
) -> WireTransferrer:
    """A transferrer between bucket `source` at one URL and bucket `destination` at another."""
    ends = Transfer(
        Endpoint(bucket="source", endpoint_url=source, region="us-east-1"),
        Endpoint(bucket="destination", endpoint_url=destination, region="us-east-1"),
        options,
    )
    return WireTransferrer(ends, streams=4, context=context or trust(None), limits=limits)


def listed(peer: Peer, key: str = KEY) -> ObjectRef:
    """An object of the peer's bucket `source`, as a listing that saw nothing at the destination has it."""
    stored = peer.objects["source", key]
    return ObjectRef(key, len(stored.body), stored.etag, 0, destination_etag="")


def copy(transferrer: WireTransferrer, ref: ObjectRef, *, expect: str = "", fenced: bool = True) -> Copied:
    """Copy one object, once; whatever goes wrong, no secret is in what is said of it."""
    try:
        return transferrer.copy(ref, fenced=fenced, expect=expect, cancel=Event())
    except FleetcopyError as error:
        keeps_secrets(error)
        raise


def keeps_secrets(error: BaseException) -> None:
    """Look for them in an error, in all that led to it, and in what a log shows of it."""
    search = Search(SECRETS)
    search.text("traceback", repr(error), "".join(traceback.format_exception(error)))
    led: BaseException | None = error
    while led:
        search.text("error", repr(led), f"{led!r} {led} {led.args!r} {vars(led)!r}")
        led = led.__cause__ or led.__context__
    assert search.found == []


class _Prompt(Random):
    """Draws the shortest of all pauses."""

    def uniform(self, a: float, b: float) -> float:
        """The lower end."""
        return min(a, b)


def bring(transferrer: WireTransferrer, ref: ObjectRef) -> Outcome:
    """Copy one object as a worker does, without its pauses."""
    outcome = copy_object(transferrer, ref, Event(), _Prompt())
    if outcome.error:
        keeps_secrets(outcome.error)
    return outcome
