"""An estimate as text that a person reads on a terminal, and as JSON that a program does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from worker.core.estimate import Estimate, Pace
from worker.core.tally import Fate
from worker.core.text import binary, columns, counted, dollars, duration, number, printable, size_class

_BAR = 24
_encoder = msgspec.json.Encoder(decimal_format="number")

WHY = {
    Fate.COPY: "the destination has none",
    Fate.REPLACE: "the destination has another",
    Fate.UNPROVEN: "same size, ETags that cannot be compared: workers look at checksums first",
    Fate.ARCHIVED: "in Glacier: left alone unless restored",
    Fate.EQUAL: "there already",
    Fate.UNNAMEABLE: "destination key empty or over 1,024 bytes: left alone",
    Fate.TOO_LARGE: "left alone",
}
"""What each fate means, for a person."""


def as_json(estimate: Estimate) -> str:
    """The estimate as one line of JSON; see `Estimate` for its fields. Dollars are numbers."""
    return _encoder.encode(estimate).decode()


def as_text(estimate: Estimate) -> str:
    """The estimate in paragraphs of aligned columns, at most 100 characters wide where keys are short."""
    paragraphs = [
        _head(estimate),
        _outcomes(estimate),
        _sizes(estimate),
        _prefixes(estimate),
        _requests(estimate),
        _charges(estimate),
        _pace(estimate),
        [f"note: {note}" for note in estimate.notes],
    ]
    return "\n\n".join("\n".join(lines) for lines in paragraphs if lines)


def _columns(rows: Sequence[Sequence[str]], align: str) -> Iterator[str]:
    """Rows in columns, each aligned as `align` says: `<` or `>`."""
    widths = [max(map(columns, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (_padded(*cell) for cell in zip(row, align, widths, strict=True))
        yield "  ".join(cells).rstrip()


def _padded(cell: str, side: str, width: int) -> str:
    room = " " * (width - columns(cell))
    return room + cell if side == ">" else cell + room


def _head(estimate: Estimate) -> list[str]:
    route = estimate.route
    way = "S3 copies by itself" if route.server_side else "bytes come through the workers"
    return [
        f"from {printable(estimate.source)} in {route.source_region}",
        f"to   {printable(estimate.destination)} in {route.destination_region}: {route.move}, {way}",
        f"equal by {estimate.compare}, which can miss {estimate.can_miss}",
    ]


def _outcomes(estimate: Estimate) -> list[str]:
    rows = [["WHAT WOULD HAPPEN", "OBJECTS", "BYTES", ""]]
    for outcome in estimate.outcomes:
        if outcome.objects or outcome.fate in {Fate.COPY, Fate.EQUAL}:
            row = [outcome.fate, f"{outcome.objects:,}", f"{outcome.bytes:,}", WHY[outcome.fate]]
            rows.append(row)
    total = binary(estimate.source_bytes)
    rows.append(["listed", f"{estimate.source_objects:,}", f"{estimate.source_bytes:,}", total])
    return list(_columns(rows, "<>><"))


def _sizes(estimate: Estimate) -> list[str]:
    if not estimate.sizes:
        return []
    most = max(one.objects for one in estimate.sizes)
    rows = [["SIZES TO MOVE", "OBJECTS", "", "BYTES"]]
    for one in estimate.sizes:
        bar = "#" * max(round(_BAR * one.objects / most), min(1, one.objects))
        rows.append([size_class(one.least, one.below), f"{one.objects:,}", bar, binary(one.bytes)])
    return list(_columns(rows, "<><>"))


def _prefixes(estimate: Estimate) -> list[str]:
    largest = estimate.largest
    if largest.distinct <= 1:
        return []
    rows = [["LARGEST PREFIXES TO MOVE", "OBJECTS", "BYTES"]]
    rows += [[printable(one.prefix), f"{one.objects:,}", binary(one.bytes)] for one in largest.prefixes]
    lines = list(_columns(rows, "<>>"))
    left = largest.distinct - len(largest.prefixes)
    return [*lines, f"and {left:,} more"] if left else lines


def _requests(estimate: Estimate) -> list[str]:
    work = estimate.work
    rows = [["REQUESTS", "", "COUNT", "COST"]]
    for line in estimate.requests:
        operation = line.kind.partition(":")[2]
        rows.append([line.at, operation, f"{line.count:,}", dollars(line.dollars)])
    tasks = f"{work.copy_tasks + work.large_tasks:,} tasks"
    if work.large_tasks:
        tasks += f", of which {work.large_tasks:,} for objects copied by many workers, {work.hints:,} hints"
    if work.parts:
        tasks += f"; {work.parts:,} parts"
    return [*_columns(rows, "<<>>"), tasks]


def _charges(estimate: Estimate) -> list[str]:
    rows = [["COST", "US DOLLARS"]]
    rows += [[one.what, dollars(one.dollars)] for one in estimate.charges if one.dollars]
    rows += [["together", dollars(estimate.dollars)]]
    return [
        *_columns(rows, "<>"),
        f"at list prices of {estimate.prices_as_of}, without storage, logs, NAT gateways and addresses",
    ]


def _pace(estimate: Estimate) -> list[str]:
    pace = estimate.pace
    fleet = pace.fleet
    moved = "S3's own copying" if estimate.route.server_side else f"{fleet.network_gbps:g} Gbps of network"
    streams = f"{pace.vcpus} x {fleet.streams} streams, {pace.seconds_per_object * 1000:.0f} ms each"
    instances = f"{fleet.instances:,} x {pace.instance_type}"
    lines = [
        f"TIME  {duration(pace.hours)} with {instances}: {instance_hours(pace)}",
        f"an instance taken to do {pace.objects_per_second:,.0f} small objects a second: {streams}",
        f"and {binary(pace.bytes_per_second)} a second ({moved}), one after the other",
    ]
    if not pace.fits_retention:
        lines.append(too_slow(estimate))
    return lines


def instance_hours(pace: Pace) -> str:
    """The hours of all instances together."""
    return f"{number(max(0.1, round(pace.instance_hours, 1)))} instance hours"


def too_slow(estimate: Estimate) -> str:
    """Why a transfer that outlasts the queue's retention is refused, and what would do."""
    pace = estimate.pace
    return (
        f"{duration(pace.hours)} with {counted(pace.fleet.instances, 'instance')} is longer than the "
        f"{pace.retention_hours // 24} days for which a queue keeps its messages: what is left then is lost. "
        f"{counted(pace.instances_needed, 'instance')} would do"
    )
