"""What a transfer will take: tasks, requests, dollars and hours, from the tally of its plan. All arithmetic.

The `Estimate` is what `core.report` and `core.webpage` show; as JSON it is what programs read: fields may be
added to it, but none is ever renamed, removed or given another meaning under the same `version`.
"""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Literal

import msgspec

from worker.core.bill import Requests, Submission, requests
from worker.core.compare import CAN_MISS, Criterion
from worker.core.cost import Prices
from worker.core.model import Transfer
from worker.core.pack import DEFAULT_LIMITS
from worker.core.prefixes import Prefix
from worker.core.route import Move, Route
from worker.core.tally import MOVED, Fate, Parts, Tally

RETENTION_HOURS = 14 * 24
"""After which SQS drops a message at the latest (SQS Developer Guide, "Message retention period")."""

_FIRST_BYTE_SECONDS = 0.1
"""Of a small request (S3 User Guide, "Best practices design patterns": 100 to 200 ms)."""

_WRITES_A_SECOND = 3_500
"""That S3 takes at a partitioned prefix (same source)."""

_FLEETS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000)


class Fleet(msgspec.Struct, frozen=True):
    """What works.

    Attributes:
        instances: Spot Instances of the fleet.
        streams: objects in flight in each worker process.
        network_gbps: baseline network bandwidth of one instance, each way.
        round_trip: seconds, to the farther side and back.
    """

    instances: int
    streams: int
    network_gbps: float
    round_trip: float


class Outcome(msgspec.Struct, frozen=True):
    """How many objects meet a fate."""

    fate: Fate
    objects: int
    bytes: int


class SizeClass(msgspec.Struct, frozen=True):
    """Objects to move, of `least` bytes and more, but fewer than `below`."""

    least: int
    below: int
    objects: int
    bytes: int


class Largest(msgspec.Struct, frozen=True):
    """The prefixes of most bytes to move, of `distinct` ones at a depth; see `core.prefixes`."""

    depth: int
    distinct: int
    prefixes: list[Prefix]


class Work(msgspec.Struct, frozen=True):
    """What the queue will carry.

    Attributes:
        copy_tasks: messages that name a pack of objects.
        large_tasks: messages that name one object, to be copied by many workers.
        hints: messages that name parts of these.
        parts: of all objects that are copied in parts.
    """

    copy_tasks: int
    large_tasks: int
    hints: int
    parts: int


class Charge(msgspec.Struct, frozen=True):
    """A line of the bill."""

    what: str
    dollars: Decimal


class Duration(msgspec.Struct, frozen=True):
    """How long a fleet takes."""

    instances: int
    hours: float


class Pace(msgspec.Struct, frozen=True):
    """How long it takes, and what that assumes.

    Attributes:
        fleet: what works.
        instance_type: that it is reckoned in.
        vcpus: of each instance, and so worker processes.
        seconds_per_object: that a small object keeps a stream: two first bytes, one round trip.
        objects_per_second: of one instance's streams, each at that.
        bytes_per_second: of one instance: its bandwidth, or what S3 copies at its request.
        instance_hours: of all instances together, whatever their number.
        hours: at the fleet's number of instances.
        retention_hours: after which the queue drops what it holds.
        fits_retention: whether the transfer ends before that.
        instances_needed: the fewest for that.
        others: how long fleets of other sizes take.
    """

    fleet: Fleet
    instance_type: str
    vcpus: int
    seconds_per_object: float
    objects_per_second: float
    bytes_per_second: float
    instance_hours: float
    hours: float
    retention_hours: int
    fits_retention: bool
    instances_needed: int
    others: list[Duration]


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """All that `fleetcopy plan` tells.

    Attributes:
        version: of this schema.
        transfer, source, destination: its id, and the two sides.
        route: the regions, and the kind of data transfer between them.
        compare, can_miss: by what objects are compared, and which differences that takes for equality.
        source_objects, source_bytes: all that was listed there.
        destination_objects: that were listed there; None where nobody looked.
        outcomes: what becomes of the source's objects, all fates in order.
        moved_objects, moved_bytes: those that are to be moved.
        sizes: of these, class by class without a gap.
        largest: prefixes of these.
        work: what the queue will carry.
        requests: by side and kind, in US dollars as all that follows.
        charges, dollars: the bill, and its sum.
        prices_as_of: month of the price table.
        pace: how long it takes.
        notes: what a person should know before relying on the figures.
    """

    version: Literal[1] = 1
    transfer: str
    source: str
    destination: str
    route: Route
    compare: Criterion
    can_miss: str
    source_objects: int
    source_bytes: int
    destination_objects: int | None
    outcomes: list[Outcome]
    moved_objects: int
    moved_bytes: int
    sizes: list[SizeClass]
    largest: Largest
    work: Work
    requests: list[Requests]
    charges: list[Charge]
    dollars: Decimal
    prices_as_of: str
    pace: Pace
    notes: list[str]


def estimate(
    transfer: Transfer,
    tally: Tally,
    submission: Submission,
    *,
    by: Criterion,
    route: Route,
    fleet: Fleet,
    prices: Prices,
) -> Estimate:
    """What the tallied plan of a transfer will take."""
    outcomes = [_outcome(tally, fate) for fate in Fate]
    moved = [outcome for outcome in outcomes if outcome.fate in MOVED]
    pace = _pace(tally, route, fleet, prices)
    lines = requests(
        tally,
        submission,
        transfer.options,
        prices,
        server_side=route.server_side,
        instances=fleet.instances,
        busy_hours=pace.instance_hours * pace.vcpus,
    )
    charges = [*_charges_of(lines), *_other_charges(tally, route, pace, prices)]
    return Estimate(
        transfer=transfer.id,
        source=transfer.source.uri,
        destination=transfer.destination.uri,
        route=route,
        compare=by,
        can_miss=CAN_MISS[by],
        source_objects=sum(outcome.objects for outcome in outcomes),
        source_bytes=sum(outcome.bytes for outcome in outcomes),
        destination_objects=submission.destination,
        outcomes=outcomes,
        moved_objects=sum(outcome.objects for outcome in moved),
        moved_bytes=sum(outcome.bytes for outcome in moved),
        sizes=_sizes(tally),
        largest=_largest(tally),
        work=_work(tally, submission),
        requests=lines,
        charges=charges,
        dollars=sum((charge.dollars for charge in charges), Decimal(0)),
        prices_as_of=prices.as_of,
        pace=pace,
        notes=_notes(tally, submission, route, pace),
    )


def _outcome(tally: Tally, fate: Fate) -> Outcome:
    return Outcome(fate, sum(tally.objects(fate).values()), sum(tally.bytes(fate).values()))


def _largest(tally: Tally) -> Largest:
    found = tally.prefixes
    return Largest(found.depth, found.distinct[found.depth - 1], found.largest)


def _work(tally: Tally, submission: Submission) -> Work:
    in_one = sum(tally.in_one.values(), Parts())
    large = sum(tally.fanned_out.values(), Parts())
    return Work(submission.tasks, large.objects, large.hints, in_one.parts + large.parts)


def _sizes(tally: Tally) -> list[SizeClass]:
    """Classes that a person can read: empty, below 1 KiB, then by fours; without a gap."""
    edges = [0, 1, *(4**power for power in range(5, 34))]
    totals = [[0, 0] for _ in edges]
    for fate in MOVED:
        for sizes in tally.fates[fate].values():
            for length, (objects, size) in enumerate(zip(sizes.objects, sizes.bytes, strict=True)):
                place = _size_class(length)
                totals[place][0] += objects
                totals[place][1] += size
    used = [place for place, (objects, _) in enumerate(totals) if objects]
    places = range(used[0], used[-1] + 1) if used else range(0)
    return [SizeClass(edges[place], edges[place + 1], *totals[place]) for place in places]


def _size_class(length: int) -> int:
    """The class of sizes of so many bits, which begin at 2 to the power of `length` - 1."""
    below_a_kib = 10
    return min(length, 1) if length <= below_a_kib else (length - 1) // 2 - 3


def _pace(tally: Tally, route: Route, fleet: Fleet, prices: Prices) -> Pace:
    """As if streams waited, then sent: at most twice the truth, whichever of the two takes longer."""
    vcpus = prices.instance.vcpus
    seconds = 2 * _FIRST_BYTE_SECONDS + fleet.round_trip
    rate = fleet.streams * vcpus / seconds
    parted = sum((parts for _, parts in tally.parted), Parts())
    pieces = sum(tally.objects(*MOVED, Fate.ARCHIVED).values()) - parted.objects + parted.parts
    looks = sum(tally.objects(Fate.REPLACE, Fate.UNPROVEN).values())
    bandwidth = fleet.network_gbps * 1e9 / 8
    if route.server_side:
        bandwidth = fleet.streams * vcpus * DEFAULT_LIMITS.bytes_per_second
    seconds_of_all = (pieces + looks) / rate + sum(tally.bytes(*MOVED).values()) / bandwidth
    hours = seconds_of_all / 3600
    return Pace(
        fleet=fleet,
        instance_type=prices.instance.type,
        vcpus=vcpus,
        seconds_per_object=seconds,
        objects_per_second=rate,
        bytes_per_second=bandwidth,
        instance_hours=hours,
        hours=hours / fleet.instances,
        retention_hours=RETENTION_HOURS,
        fits_retention=hours / fleet.instances <= RETENTION_HOURS,
        instances_needed=max(1, math.ceil(hours / RETENTION_HOURS)),
        others=[Duration(number, hours / number) for number in sorted({*_FLEETS, fleet.instances})],
    )


def _charges_of(lines: list[Requests]) -> list[Charge]:
    return [
        Charge(
            f"requests at the {place}", sum((line.dollars for line in lines if line.at == place), Decimal(0))
        )
        for place in ("source", "destination", "queue")
    ]


def _other_charges(tally: Tally, route: Route, pace: Pace, prices: Prices) -> list[Charge]:
    sizes = tally.bytes(*MOVED)
    size = sum(sizes.values())
    retrieval = (prices.retrieval(size, storage_class) for storage_class, size in sizes.items())
    transfer = Decimal(0)
    if route.move is Move.BETWEEN_REGIONS:
        transfer = prices.to_region(size, route.source_region, route.destination_region)
    elif route.move is Move.INTERNET:
        transfer = prices.to_internet(size, route.source_region)
    return [
        Charge("data retrieval (infrequent access)", sum(retrieval, Decimal(0))),
        Charge(f"data transfer {route.move}", transfer),
        Charge("Spot Instances", prices.instance.spot_per_hour * Decimal(pace.instance_hours)),
    ]


def _notes(tally: Tally, submission: Submission, route: Route, pace: Pace) -> list[str]:
    notes = []
    if tally.objects(Fate.UNPROVEN):
        notes.append("Unproven objects are reckoned as copied; those whose checksums agree cost two HEADs.")
    if tally.objects(Fate.ARCHIVED):
        notes.append("Archived objects are not copied, unless they are restored before.")
    if submission.destination is None:
        notes.append("Nobody looked at the destination: it is taken for empty.")
    if route.move is Move.INTO_AWS:
        notes.append("The source is not AWS: what it charges is not known, its requests are priced as S3's.")
    writes = pace.objects_per_second * pace.fleet.instances
    if writes > _WRITES_A_SECOND and pace.hours > 1:
        notes.append(
            f"{writes:,.0f} small objects a second are more than the {_WRITES_A_SECOND:,} writes that S3 "
            "takes of a prefix that it has not split yet: the beginning may be slower."
        )
    return notes
