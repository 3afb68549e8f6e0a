"""The fleet lists the bucket itself: whatever the keys, each object is in one task, and the work spreads."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core import ONE_MD5, OTHER_MD5, keys, properly, ref, transfer
from tests.flow import Shelf
from worker.core.compare import Criterion
from worker.core.errors import ListingError
from worker.core.filters import Filters
from worker.core.message import CopyTask, ListTask, decode
from worker.core.model import Kind, ObjectRef
from worker.core.settle import settle
from worker.flow.list_task import Lister

TRANSFER = transfer("in/", "out/")
NEVER = threading.Event()


class Bucket(Shelf):
    """A bucket of the transfer, below one prefix; counts its requests."""

    def __init__(self, prefix: str, objects: Mapping[str, ObjectRef]) -> None:
        super().__init__(objects.values())
        self.prefix = prefix
        self.looks = 0

    def list(self, start_after: str = "", prefix: str | None = None) -> Iterator[ObjectRef]:
        """See `aws.s3.Bucket.list`."""
        return super().list(start_after, self.prefix if prefix is None else prefix)

    def next_key(self, after: str) -> str | None:
        """See `aws.s3.Bucket.next_key`."""
        self.looks += 1
        found = next(super().list(after, self.prefix), None)
        return found.key if found else None


def bucket(prefix: str, objects: Mapping[str, str]) -> Bucket:
    """A bucket that holds objects of these names and ETags."""
    return Bucket(prefix, {name: ref(prefix + name, etag=etag) for name, etag in objects.items()})


def lister(source: Bucket, destination: Bucket, most: int) -> Lister:
    return Lister(
        TRANSFER, source=source, destination=destination, digests=lambda: True, random=Random(1), most=most
    )


class Fleet:
    """Carries out `list` tasks, and what they lead to, until none is left.

    Attributes:
        sent: how often each key was sent to be copied.
        seen: what the plan saw of each at the destination.
        rounds: how many tasks were at hand in each round, all of which are carried out side by side.
    """

    def __init__(self, source: Bucket, destination: Bucket, most: int, first: ListTask | None = None) -> None:
        self.sent: Counter[str] = Counter()
        self.seen: dict[str, str | None] = {}
        self.rounds: list[int] = []
        carrier, tasks = lister(source, destination, most), [first or ListTask(TRANSFER.id)]
        while tasks:
            self.rounds.append(len(tasks))
            tasks = [more for task in tasks for more in self._step(carrier, task)]

    def _step(self, carrier: Lister, task: ListTask) -> list[ListTask]:
        step = carrier.perform(task, NEVER)
        assert step.outcome.kind is Kind.HANDED_ON
        found: list[ListTask] = []
        for send in step.sends:
            led_to = decode(send.body, TRANSFER)
            if isinstance(led_to, ListTask):
                found.append(led_to)
            else:
                assert isinstance(led_to, CopyTask)
                self.sent.update(one.key for one in led_to.objects)
                self.seen |= {one.key: one.destination_etag for one in led_to.objects}
        assert len(found) <= 2
        return found


NAMES = st.dictionaries(keys(), st.sampled_from([ONE_MD5, OTHER_MD5]), max_size=30)


@properly
@given(NAMES, NAMES, st.integers(1, 8))
def test_whatever_the_keys_each_object_that_differs_is_sent_once(
    here: dict[str, str], there: dict[str, str], most: int
) -> None:
    here.pop("", None)
    fleet = Fleet(bucket("in/", here), bucket("out/", there), most)
    assert fleet.sent == {f"in/{name}": 1 for name, etag in here.items() if there.get(name) != etag}
    assert fleet.seen == {key: there.get(key[3:], "") for key in fleet.sent}


def named(*names: str) -> Bucket:
    return bucket("in/", dict.fromkeys(names, ONE_MD5))


SHAPES = {
    "flat": [f"{number:08}" for number in range(4_000)],
    "dates": [f"2024/{month:02}/{day:02}/{number:03}" for month in range(1, 13) for day in range(1, 29)
              for number in range(12)],
    "one deep folder": [f"a/very/deep/folder/of/one/project/{number:05}.parquet" for number in range(4_000)],
    "hashes": sorted(f"{Random(number).getrandbits(64):016x}" for number in range(4_000)),
    "unicode": sorted(chr(0x4E00 + number % 2_000) + f"é{number}" for number in range(4_000)),
}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_the_work_spreads_within_a_few_rounds(shape: str) -> None:
    source = named(*SHAPES[shape])
    fleet = Fleet(source, bucket("out/", {}), 100)
    assert fleet.sent.keys() == source.objects.keys()
    assert max(fleet.sent.values()) == 1
    print(f"{shape}: {sum(fleet.rounds)} tasks in {len(fleet.rounds)} rounds, {source.looks} looks")
    assert len(fleet.rounds) <= 14  # forty one after the other, if nothing were cut
    assert sum(fleet.rounds) <= 2 * len(source.objects) / 100
    assert source.looks <= 12 * sum(fleet.rounds)


def test_a_range_is_listed_and_no_more() -> None:
    source = named("a", "b", "c", "d")
    fleet = Fleet(source, bucket("out/", {}), 10, ListTask(TRANSFER.id, "in/a", "in/c"))
    assert fleet.sent.keys() == {"in/b", "in/c"}
    assert source.read <= 3


def test_of_the_destination_no_more_is_listed_than_the_source_s_part() -> None:
    there = bucket("out/", {f"{number:05}": ONE_MD5 for number in range(10_000)})
    fleet = Fleet(named("00001", "00002"), there, 1, ListTask(TRANSFER.id, "", "in/00001"))
    assert fleet.sent == {}
    assert there.read <= 4


def test_filters_and_criterion_go_with_the_task() -> None:
    first = ListTask(TRANSFER.id, filters=Filters(exclude=("*.txt",)), by=Criterion.SIZE)
    source = named("a.gz", "b.gz", "c.gz", "d.txt", "e.gz", "f.gz")
    fleet = Fleet(source, bucket("out/", {"b.gz": OTHER_MD5, "f.gz": OTHER_MD5}), 2, first)
    assert fleet.sent.keys() == {"in/a.gz", "in/c.gz", "in/e.gz"}


def test_tasks_leave_in_an_order_that_keys_do_not_decide() -> None:
    step = lister(named(*SHAPES["flat"]), bucket("out/", {}), 10_000).perform(ListTask(TRANSFER.id), NEVER)
    first = [decode(send.body, TRANSFER).objects[0].key for send in step.sends]
    assert len(first) > 10
    assert first != sorted(first)


def test_a_cancelled_task_leads_to_itself_and_has_not_failed() -> None:
    cancel = threading.Event()
    cancel.set()
    task = ListTask(TRANSFER.id, attempt=2)
    step = lister(named("a"), bucket("out/", {}), 10).perform(task, cancel)
    [send] = settle(task, [(task.objects[0], step.outcome)], Random(1), sends=step.sends).sends
    assert decode(send.body, TRANSFER) == task


def test_disorder_is_an_error() -> None:
    class Liar(Bucket):
        def list(self, start_after: str = "", prefix: str | None = None) -> Iterator[ObjectRef]:  # noqa: ARG002
            return iter([ref("in/b"), ref("in/a")])

    with pytest.raises(ListingError, match="out of order"):
        lister(Liar("in/", {}), bucket("out/", {}), 10).perform(ListTask(TRANSFER.id), NEVER)
