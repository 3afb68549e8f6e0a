"""What listings cannot prove, proven by asking further: checksums by HEAD, then by reading.

Equal sizes with other ETags are asked about too: an ETag looks like a digest in a listing where KMS has
encrypted the object, against its bucket's default, and is none.

| after the HEAD | then |
|---|---|
| the table of `core.compare` has an answer | that |
| a side has no CRC64NVME of the whole object | it is read, and summed |

Each pair is judged as the two objects are now, and read under that ETag. Findings keep their order; a bounded
number of pairs is under way.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from random import Random
from typing import Protocol

import msgspec

from worker.core.compare import Comparison, Seen, compare
from worker.core.errors import FleetcopyError, ObjectArchivedError, ObjectError, Side
from worker.core.model import ObjectRef
from worker.core.retry import TRIES, pause
from worker.core.verdict import Finding, Match, resolved

_CRC = "CRC64NVME"
_AHEAD = 8
"""Findings for each thread that are held, so that equal pairs do not keep the threads waiting."""


class Reader(Protocol):
    """Looks at both objects of a pair, and reads one; `aws.reader.WireReader` is one."""

    def look(self, ref: ObjectRef) -> tuple[Seen | None, Seen | None]:
        """What S3 says of the source object and of the destination's now; None where it is absent."""
        ...

    def crc64nvme(self, side: Side, ref: ObjectRef, etag: str) -> str:
        """The checksum of one side's bytes, in base64; of no other version than `etag`."""
        ...


def deepened(findings: Iterable[Finding], reader: Reader, threads: int, random: Random) -> Iterator[Finding]:
    """The same findings, those that listings cannot prove resolved as far as can be.

    Raises:
        FleetcopyError: an endpoint does not answer, after retries.
    """
    pool = ThreadPoolExecutor(threads, thread_name_prefix="deep")
    waiting: deque[Finding | Future[Finding]] = deque()
    try:
        for finding in findings:
            if _is_open(finding):
                waiting.append(pool.submit(_patiently, partial(judge, finding, reader), random))
            elif waiting:
                waiting.append(finding)
            else:
                yield finding
            while len(waiting) > threads * _AHEAD:
                yield _settled(waiting.popleft())
        while waiting:
            yield _settled(waiting.popleft())
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _is_open(finding: Finding) -> bool:
    if finding.match is Match.DIFFERENT:
        assert finding.source
        assert finding.destination
        return finding.source.size == finding.destination.size
    return finding.match is Match.UNPROVEN


def _settled(finding: Finding | Future[Finding]) -> Finding:
    return finding.result() if isinstance(finding, Future) else finding


def _patiently(judged: Callable[[], Finding], random: Random) -> Finding:
    for number in range(1, TRIES):
        try:
            return judged()
        except FleetcopyError as error:
            if not error.retryable:
                raise
            time.sleep(pause(number, random))
    return judged()


def judge(finding: Finding, reader: Reader) -> Finding:
    """What a pair is found to be, by the table above.

    Raises:
        FleetcopyError: an endpoint does not answer.
    """
    assert finding.source
    try:
        source, destination = reader.look(finding.source)
        if source is None or destination is None:
            side = "destination" if source else "source"
            return resolved(finding, Comparison.DIFFERENT, f"gone from the {side} since it was listed")
        comparison, how = compare(source, destination), "by ETag or stored checksum"
        if comparison is Comparison.UNPROVEN:
            source = _summed(source, "source", finding.source, reader)
            destination = _summed(destination, "destination", finding.source, reader)
            comparison, how = compare(source, destination), "by reading"
    except ObjectArchivedError:
        return msgspec.structs.replace(finding, why=f"{finding.why}; archived, and so cannot be read")
    except ObjectError as error:
        if error.retryable:
            raise
        return msgspec.structs.replace(finding, why=f"{finding.why}; {error}")
    if comparison is Comparison.DIFFERENT and finding.match is Match.DIFFERENT:
        return finding
    why = "" if comparison is Comparison.EQUAL else f"other bytes, {how}"
    return resolved(finding, comparison, why)


def _summed(seen: Seen, side: Side, ref: ObjectRef, reader: Reader) -> Seen:
    if _CRC in seen.checksums:
        return seen
    checksum = reader.crc64nvme(side, ref, seen.etag)
    return msgspec.structs.replace(seen, checksums={**seen.checksums, _CRC: checksum})
