"""What a transfer will take: outcomes, sizes, hours, dollars and notes."""

from __future__ import annotations

import itertools
import json
from decimal import Decimal

import pytest

from tests.core import ONE_MD5, ref
from tests.core.planning import ABROAD, HERE, THERE, estimated
from worker.core.bill import Submission
from worker.core.compare import CAN_MISS, Comparison, Criterion
from worker.core.estimate import Duration, Estimate, Fleet, SizeClass, Work
from worker.core.model import ObjectRef
from worker.core.options import Options
from worker.core.plan import Action, Step
from worker.core.report import as_json
from worker.core.route import Region

GIB = 1024**3
AUTO = Options()


def copies(number: int, size: int = 1, storage_class: str = "STANDARD") -> list[Step]:
    return [
        Step(Action.COPY, ObjectRef(f"{place:09}", size, ONE_MD5, 0, storage_class))
        for place in range(number)
    ]


def charges(found: Estimate) -> dict[str, Decimal]:
    return {charge.what: charge.dollars for charge in found.charges}


def test_outcomes_are_told_in_order_and_add_up() -> None:
    steps = [
        Step(Action.COPY, ref("a", 1)),
        Step(Action.COPY, ref("b", 2), Comparison.DIFFERENT),
        Step(Action.COPY, ref("c", 4), Comparison.UNPROVEN),
        Step(Action.COPY, ObjectRef("d", 8, ONE_MD5, 0, "GLACIER")),
        Step(Action.EQUAL, ref("e", 16), Comparison.EQUAL),
        Step(Action.UNNAMEABLE, ref("f", 32)),
        Step(Action.TOO_LARGE, ref("g", 64)),
    ]
    found = estimated(*steps)
    assert [f"{one.fate} {one.objects} {one.bytes}" for one in found.outcomes] == [
        *("copy 1 1", "replace 1 2", "unproven 1 4", "archived 1 8", "equal 1 16", "unnameable 1 32"),
        "too large 1 64",
    ]
    assert (found.source_objects, found.source_bytes) == (7, 127)
    assert (found.moved_objects, found.moved_bytes) == (3, 7)


def test_sizes_are_in_classes_that_leave_no_gap() -> None:
    sizes = [0, 1, 1_023, 1_024, 4_095, 4_096, 300_000, 2**63]
    found = estimated(*(Step(Action.COPY, ref(f"{size:020}", size)) for size in sizes)).sizes
    assert found[:4] == [
        SizeClass(0, 1, 1, 0),
        SizeClass(1, 1_024, 2, 1_024),
        SizeClass(1_024, 4_096, 2, 5_119),
        SizeClass(4_096, 16_384, 1, 4_096),
    ]
    assert [one.objects for one in found[4:]] == [0, 0, 1, *[0] * 21, 1]
    assert found[-1] == SizeClass(4**31, 4**32, 1, 2**63)
    for one, other in itertools.pairwise(found):
        assert one.below == other.least


def test_only_classes_between_the_smallest_and_the_largest_are_told() -> None:
    found = estimated(*copies(2, 5_000), Step(Action.EQUAL, ref("x", 9 * GIB), Comparison.EQUAL))
    assert found.sizes == [SizeClass(4_096, 16_384, 2, 10_000)]
    assert estimated().sizes == []


def test_small_objects_wait_and_large_ones_flow() -> None:
    """32 streams, each 0.25 s for an object, and a gigabyte (10^9) each second."""
    fleet = Fleet(1, 16, 8, 0.05)
    found = estimated(*copies(1_280, 781_250), fleet=fleet).pace
    assert (found.seconds_per_object, found.objects_per_second) == (0.25, 128)
    assert found.bytes_per_second == 10**9
    assert found.hours == pytest.approx((10 + 1) / 3600)


def test_what_s3_copies_itself_does_not_wait_for_the_network() -> None:
    found = estimated(*copies(1_280, 10**6), options=AUTO, fleet=Fleet(1, 16, 0.001, 0.05)).pace
    assert found.bytes_per_second == 32 * 50e6
    assert found.hours == pytest.approx((10 + 1280e6 / 1600e6) / 3600)


@pytest.mark.parametrize(
    ("step", "waits"),
    [
        (Step(Action.COPY, ref("a", 0)), 1),
        (Step(Action.COPY, ref("a", 0), Comparison.DIFFERENT), 2),
        (Step(Action.COPY, ref("a", 0), Comparison.UNPROVEN), 2),
        (Step(Action.COPY, ref("a", 0, f"{ONE_MD5}-7")), 7),
        (Step(Action.COPY, ObjectRef("a", 9 * GIB, ONE_MD5, 0, "GLACIER")), 1),
        (Step(Action.EQUAL, ref("a", 9 * GIB), Comparison.EQUAL), 0),
    ],
)
def test_a_stream_waits_for_each_piece_and_each_look(step: Step, waits: int) -> None:
    assert estimated(step).pace.hours * 3600 * 128 == pytest.approx(waits)


def test_instances_share_the_work() -> None:
    one = estimated(*copies(1_000))
    five = estimated(*copies(1_000), fleet=Fleet(5, 16, 8, 0.05))
    assert five.pace.instance_hours == one.pace.instance_hours
    assert five.pace.hours == pytest.approx(one.pace.hours / 5)
    assert Duration(5, five.pace.hours) in one.pace.others
    seven = estimated(*copies(1_000), fleet=Fleet(7, 16, 8, 0.05))
    assert sum(other.instances == 7 for other in seven.pace.others) == 1


@pytest.mark.parametrize(
    ("instances", "gigabytes", "fits", "needed"),
    [
        (1, 14 * 86_400 - 1, True, 1),
        (1, 14 * 86_400 + 1, False, 2),
        (3, 28 * 86_400 - 1, True, 2),
        (2, 42 * 86_400, False, 3),
    ],
)
def test_what_outlasts_the_queue_needs_more_instances(
    instances: int, gigabytes: int, needed: int, *, fits: bool
) -> None:
    """A gigabyte each second; waiting counts as nothing beside it."""
    step = Step(Action.COPY, ref("a", gigabytes * 10**9, f"{ONE_MD5}-1"))
    pace = estimated(step, fleet=Fleet(instances, 10**9, 8, 0.05)).pace
    assert (pace.fits_retention, pace.instances_needed) == (fits, needed)


def test_nothing_to_move_takes_no_time_and_one_instance() -> None:
    pace = estimated().pace
    assert (pace.hours, pace.fits_retention, pace.instances_needed) == (0, True, 1)


@pytest.mark.parametrize(
    ("source", "destination", "what", "dollars"),
    [
        (HERE, HERE, "data transfer within a region", "0"),
        (HERE, THERE, "data transfer between regions", "2"),
        (HERE, ABROAD, "data transfer over the internet", "1"),
    ],
)
def test_moved_bytes_are_charged_by_their_way(
    source: Region, destination: Region, what: str, dollars: str
) -> None:
    steps = [*copies(4, GIB), Step(Action.EQUAL, ref("x", GIB), Comparison.EQUAL)]
    found = estimated(*steps, source=source, destination=destination)
    assert charges(found)[what] == Decimal(dollars)


def test_the_bill_adds_up() -> None:
    """1,000 objects of a GiB in infrequent access; round prices, see `tests.core.planning`."""
    found = estimated(*copies(1_000, GIB, "STANDARD_IA"), submission=Submission(1_000, 0, 10))
    bill = charges(found)
    assert bill["requests at the source"] == Decimal("10.015")  # 1,000 GETs, 3 listings
    assert bill["requests at the destination"] == Decimal("50.015")  # 1,000 PUTs, 3 listings
    assert bill["data retrieval (infrequent access)"] == 2_000
    hours = (1_000 / 128 + 1_000 * GIB / 1e9) / 3600
    assert float(bill["Spot Instances"]) == pytest.approx(3 * hours)
    assert found.dollars == sum(bill.values())


def test_the_queue_carries_packs_large_objects_and_hints() -> None:
    steps = [
        Step(Action.COPY, ref("a", 3 * GIB, f"{ONE_MD5}-48")),
        Step(Action.COPY, ref("b", 5, f"{ONE_MD5}-2")),
    ]
    assert estimated(*steps, submission=Submission(None, None, 1)).work == Work(1, 1, 16, 50)


@pytest.mark.parametrize("by", Criterion)
def test_what_the_comparison_can_miss_is_told(by: Criterion) -> None:
    found = estimated(by=by)
    assert (found.compare, found.can_miss) == (by, CAN_MISS[by])


@pytest.mark.parametrize(
    ("steps", "fleet", "submission", "word"),
    [
        ([Step(Action.COPY, ref("a"), Comparison.UNPROVEN)], None, None, "Unproven"),
        (copies(1, 1, "DEEP_ARCHIVE"), None, None, "Archived"),
        ([], None, Submission(0, None, 0), "Nobody looked"),
        (copies(9_000), Fleet(28, 16, 1e-10, 0.05), None, "not split yet"),
    ],
)
def test_notes_say_what_figures_do_not(
    steps: list[Step], fleet: Fleet | None, submission: Submission | None, word: str
) -> None:
    [note] = estimated(*steps, fleet=fleet, submission=submission).notes
    assert word in note


def test_there_are_no_notes_where_there_is_nothing_to_note() -> None:
    assert estimated(*copies(9_000), fleet=Fleet(27, 16, 1e-10, 0.05)).notes == []


def test_the_schema_stays_as_it_is() -> None:
    """Programs read it: fields may be added to this list, and nothing else."""
    found = json.loads(as_json(estimated(*copies(2))))
    assert found["version"] == 1
    assert list(found) == [
        *("version", "transfer", "source", "destination", "route", "compare", "can_miss", "source_objects"),
        *("source_bytes", "destination_objects", "outcomes", "moved_objects", "moved_bytes", "sizes"),
        *("largest", "work", "requests", "charges", "dollars", "prices_as_of", "pace", "notes"),
    ]
    assert list(found["route"]) == ["source_region", "destination_region", "move", "server_side"]
    assert list(found["outcomes"][0]) == ["fate", "objects", "bytes"]
    assert list(found["sizes"][0]) == ["least", "below", "objects", "bytes"]
    assert list(found["largest"]) == ["depth", "distinct", "prefixes"]
    assert list(found["largest"]["prefixes"][0]) == ["bytes", "objects", "prefix"]
    assert list(found["work"]) == ["copy_tasks", "large_tasks", "hints", "parts"]
    assert list(found["requests"][0]) == ["at", "kind", "count", "dollars"]
    assert list(found["charges"][0]) == ["what", "dollars"]
    assert isinstance(found["dollars"], float)
    assert list(found["pace"]) == [
        *("fleet", "instance_type", "vcpus", "seconds_per_object", "objects_per_second", "bytes_per_second"),
        *("instance_hours", "hours", "retention_hours", "fits_retention", "instances_needed", "others"),
    ]
    assert list(found["pace"]["fleet"]) == ["instances", "streams", "network_gbps", "round_trip"]
