"""What the wire's tests share: an S3 that misbehaves in whatever way it is told to, and a transferrer."""

from __future__ import annotations

import os
import ssl
from random import Random
from threading import Event

from tests.wire.peer import Peer
from worker.aws.http import Limits
from worker.aws.transfer import WireTransferrer
from worker.aws.wire import trust
from worker.core.model import Endpoint, ObjectRef, Outcome, Transfer
from worker.core.transferrer import Copied
from worker.flow.copy import copy_object

SEED = int(os.environ.get("FLEETCOPY_TEST_SEED", "20261125"))
KEY = "a key"
SHORT = Limits(connect=2.0, stretch=0.5, least=1000, proceed=0.3)
"""Patience for tests of what outlasts it."""
KEYS = {"AWS_ACCESS_KEY_ID": "AKIAWIRE", "AWS_SECRET_ACCESS_KEY": "do-not-tell"}


def between(
    source: str, destination: str, *, context: ssl.SSLContext | None = None, limits: Limits = SHORT
) -> WireTransferrer:
    """A transferrer between bucket `source` at one URL and bucket `destination` at another."""
    ends = Transfer(
        Endpoint(bucket="source", endpoint_url=source, region="us-east-1"),
        Endpoint(bucket="destination", endpoint_url=destination, region="us-east-1"),
    )
    return WireTransferrer(ends, streams=4, context=context or trust(None), limits=limits)


def listed(peer: Peer, key: str = KEY) -> ObjectRef:
    """An object of the peer's bucket `source`, as a listing that saw nothing at the destination has it."""
    stored = peer.objects["source", key]
    return ObjectRef(key, len(stored.body), stored.etag, 0, destination_etag="")


def copy(transferrer: WireTransferrer, ref: ObjectRef, *, expect: str = "", fenced: bool = True) -> Copied:
    """Copy one object, once."""
    return transferrer.copy(ref, fenced=fenced, expect=expect, cancel=Event())


class _Prompt(Random):
    """Draws the shortest of all pauses."""

    def uniform(self, a: float, b: float) -> float:
        """The lower end."""
        return min(a, b)


def bring(transferrer: WireTransferrer, ref: ObjectRef) -> Outcome:
    """Copy one object as a worker does, without its pauses."""
    return copy_object(transferrer, ref, Event(), _Prompt())
