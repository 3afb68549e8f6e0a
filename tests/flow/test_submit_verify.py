"""submit() and verify() over listings in memory and a queue that records."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core import ONE_MD5, OTHER_MD5, keys, properly, ref, transfer
from tests.flow import RecordingQueue, Shelf
from worker.core.compare import Criterion
from worker.core.errors import ConfigurationError, ListingError, ServiceUnavailableError
from worker.core.filters import Filters
from worker.core.message import Task, decode
from worker.core.model import ObjectRef
from worker.core.pack import pack
from worker.core.parts import LARGEST_OBJECT
from worker.core.plan import Action, Step
from worker.core.verdict import Finding, Match, Verdict
from worker.flow.send import BLOCK
from worker.flow.submit import AT_ONCE, submit
from worker.flow.verify import verify

TRANSFER = transfer("in/", "out/")


def submitted(
    source: Iterable[ObjectRef],
    destination: Iterable[ObjectRef] = (),
    queue: RecordingQueue | None = None,
    *,
    digests: bool = True,
    seed: int = 1,
) -> tuple[list[Task], Counter[str]]:
    """Tasks as a worker reads them, and the counts."""
    queue = queue or RecordingQueue()
    counts = submit(
        TRANSFER,
        queue,
        source=source,
        destination=destination,
        digests=digests,
        random=Random(seed),
    )
    return [decode(entry.body, TRANSFER) for entry in queue.taken], counts


def lines(tasks: Iterable[Task]) -> list[str]:
    """The objects of all tasks, a line each, sorted."""
    return sorted(f"{one.key} seen={one.destination_etag!r}" for task in tasks for one in task.objects)


def verified(
    source: Iterable[ObjectRef], destination: Iterable[ObjectRef], *, digests: bool = True
) -> tuple[Verdict, list[str]]:
    """The verdict, and what was reported, a line a finding."""
    found: list[Finding] = []
    verdict = verify(
        TRANSFER,
        source=source,
        destination=destination,
        digests=digests,
        on_finding=found.append,
        random=Random(1),
    )
    return verdict, [f"{one.match} {one.key}" for one in found]


SOURCE = [ref("in/absent"), ref("in/different"), ref("in/equal"), ref("in/unproven")]
DESTINATION = [
    ref("out/different", etag=OTHER_MD5),
    ref("out/equal"),
    ref("out/extra"),
    ref("out/unproven", etag=f"{ONE_MD5}-2"),
]


def test_whatever_the_destination_lacks_is_sent() -> None:
    tasks, counts = submitted(SOURCE, DESTINATION)
    assert lines(tasks) == [
        "in/absent seen=''",
        f"in/different seen='{OTHER_MD5}'",
        f"in/unproven seen='{ONE_MD5}-2'",
    ]
    assert counts == {"copy": 3, "equal": 1, "bytes": 3, "tasks": 1}


def test_without_digest_etags_what_differs_is_sent_all_the_same() -> None:
    assert len(lines(submitted(SOURCE, DESTINATION, digests=False)[0])) == 3


@pytest.mark.parametrize("source", [[], [ref("in/equal")]])
def test_where_nothing_is_lacking_nothing_is_sent(source: list[ObjectRef]) -> None:
    queue = RecordingQueue()
    _, counts = submitted(source, DESTINATION, queue)
    assert queue.calls == []
    assert counts["tasks"] == 0


def test_each_of_many_objects_is_sent_once_in_batches() -> None:
    queue = RecordingQueue()
    names = [f"in/{number:05}" for number in range(5_000)]
    tasks, counts = submitted((ref(name, 2) for name in names), queue=queue)
    assert sorted(one.key for task in tasks for one in task.objects) == names
    assert counts == {"copy": 5_000, "bytes": 10_000, "tasks": len(tasks)}
    assert max(len(call) for call in queue.calls) == 10
    assert len(queue.calls) == sum(-(-size // 10) for size in block_sizes(len(tasks)))
    assert all(entry.delay == 0 and not entry.attributes for entry in queue.taken)


def test_tasks_leave_in_an_order_that_the_seed_decides_and_keys_do_not() -> None:
    source = [ref(f"in/{number:05}") for number in range(5_000)]
    first = [task.objects[0].key for task in submitted(source)[0]]
    assert first != sorted(first)
    assert first == [task.objects[0].key for task in submitted(source)[0]]
    assert first != [task.objects[0].key for task in submitted(source, seed=2)[0]]


def test_what_can_never_be_copied_is_reported_and_not_sent() -> None:
    reported: list[Step] = []
    seen: list[int] = []
    here = transfer("in/", "")
    queue = RecordingQueue()
    counts = submit(
        here,
        queue,
        source=[ref("in/"), ref("in/big", LARGEST_OBJECT + 1), ref("in/equal"), ref("in/fine")],
        destination=[ref("equal")],
        digests=True,
        random=Random(1),
        on_progress=seen.append,
        on_step=reported.append,
    )
    assert [f"{step.action} {step.ref.key}" for step in reported] == ["unnameable in/", "too large in/big"]
    assert lines(decode(entry.body, here) for entry in queue.taken) == ["in/fine seen=''"]
    assert (counts[Action.UNNAMEABLE], counts[Action.TOO_LARGE], counts["bytes"]) == (1, 1, 1)
    assert sum(seen) == 4


def test_entries_that_sqs_refuses_are_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("time.sleep", pauses.append)
    source = [ref(f"in/{number:02}") for number in range(40)]
    bodies = RecordingQueue()
    submitted(source, queue=bodies)
    refused = bodies.calls[0][1]
    queue = RecordingQueue({refused: False})
    tasks, counts = submitted(source, queue=queue)
    assert queue.calls[1] == [refused]
    assert len(lines(tasks)) == 40
    assert counts["tasks"] == len(tasks) == 3
    assert len(pauses) == 1


@pytest.mark.parametrize("error", [ConfigurationError("no such queue"), ServiceUnavailableError("503")])
def test_a_queue_that_refuses_ends_the_submission(error: Exception) -> None:
    with pytest.raises(type(error), match=str(error)):
        submitted(SOURCE, queue=RecordingQueue(error))


def block_sizes(tasks: int) -> list[int]:
    """How many tasks each block has."""
    return [min(BLOCK, tasks - first) for first in range(0, tasks, BLOCK)]


MANY = [ref(f"in/{number:05}") for number in range(20_000)]


def test_a_key_is_told_once_all_up_to_it_is_sent() -> None:
    queue = RecordingQueue()
    told: list[tuple[str, set[str]]] = []

    def sent(key: str) -> None:
        told.append((key, {one.key for entry in queue.taken for one in decode(entry.body, TRANSFER).objects}))

    submit(TRANSFER, queue, source=MANY, destination=[], digests=True, random=Random(1), on_sent=sent)
    assert len(told) > 1
    assert told[-1][0] == MANY[-1].key
    for key, sent_by_then in told:
        assert sent_by_then == {one.key for one in MANY if one.key <= key}


def test_a_block_that_fails_is_not_told() -> None:
    told: list[str] = []
    queue = RecordingQueue(*[{}] * 14, ConfigurationError("no such queue"))
    with pytest.raises(ConfigurationError, match="no such queue"):
        submit(
            TRANSFER, queue, source=MANY, destination=[], digests=True, random=Random(1), on_sent=told.append
        )
    assert len(told) == 1


def test_what_was_told_is_where_to_go_on_from() -> None:
    """A run that ends in each of its blocks in turn, and the one after: together they send all."""
    for calls in (0, 3, 11, 12):
        queue, told = RecordingQueue(*[{}] * calls, ConfigurationError("killed")), [""]
        with pytest.raises(ConfigurationError, match="killed"):
            submit(
                TRANSFER, queue, source=MANY, destination=[], digests=True, random=Random(1),
                on_sent=told.append,
            )  # fmt: skip
        rest = [one for one in MANY if one.key > told[-1]]
        submit(TRANSFER, queue, source=rest, destination=[], digests=True, random=Random(2))
        sent = Counter(one.key for entry in queue.taken for one in decode(entry.body, TRANSFER).objects)
        assert sent.keys() == {one.key for one in MANY}
        twice = [key for key, times in sent.items() if times > 1]
        assert len(twice) <= BLOCK * 1_000
        assert all(key > told[-1] for key in twice)


def test_without_a_queue_tasks_are_counted_alone() -> None:
    dry = submit(TRANSFER, None, source=MANY, destination=[], digests=True, random=Random(1))
    assert dry == submitted(MANY)[1]
    assert dry["tasks"] > BLOCK


def test_filters_and_criterion_decide_what_is_sent() -> None:
    queue = RecordingQueue()
    counts = submit(
        TRANSFER,
        queue,
        source=[ref("in/a.gz"), ref("in/b.gz"), ref("in/c.txt")],
        destination=[ref("out/a.gz", etag=OTHER_MD5)],
        digests=True,
        random=Random(1),
        filters=Filters(include=("*.gz",)),
        by=Criterion.SIZE,
    )
    assert lines(decode(entry.body, TRANSFER) for entry in queue.taken) == ["in/b.gz seen=''"]
    assert counts == {"equal": 1, "copy": 1, "bytes": 1, "tasks": 1}


def broken() -> Iterator[ObjectRef]:
    """A listing that fails on its way."""
    yield ref("in/a")
    raise ServiceUnavailableError("the listing broke off")


BAD = [
    pytest.param([ref("in/b"), ref("in/a")], [], "out of order", id="source disorder"),
    pytest.param([], [ref("out/b"), ref("out/a")], "out of order", id="destination disorder"),
    pytest.param([ref("in/a"), ref("in/a")], [], "out of order", id="source repeats"),
    pytest.param([ref("other/a")], [], "outside prefix 'in/'", id="source prefix"),
    pytest.param([], [ref("in/a")], "outside prefix 'out/'", id="destination prefix"),
]


@pytest.mark.parametrize(("source", "destination", "complaint"), BAD)
def test_a_listing_that_cannot_be_compared_ends_both(
    source: list[ObjectRef], destination: list[ObjectRef], complaint: str
) -> None:
    with pytest.raises(ListingError, match=complaint):
        submitted(source, destination)
    with pytest.raises(ListingError, match=complaint):
        verified(source, destination)


def test_a_listing_that_breaks_off_ends_both() -> None:
    with pytest.raises(ServiceUnavailableError, match="broke off"):
        submitted(broken())
    with pytest.raises(ServiceUnavailableError, match="broke off"):
        verified(broken(), [ref("out/a")])


def test_tasks_are_sent_while_the_listing_goes_on() -> None:
    queue = RecordingQueue()
    listed = 0

    def source() -> Iterator[ObjectRef]:
        nonlocal listed
        for number in range(20_000):
            listed += 1
            yield ref(f"in/{number:06}")
            if queue.taken:
                raise ServiceUnavailableError("stop")

    with pytest.raises(ServiceUnavailableError, match="stop"):
        submitted(source(), queue=queue)
    assert len(queue.taken) == BLOCK
    # A block of tasks is held, and some steps with the object that began the next task.
    held = itertools.islice(pack(TRANSFER.id, (ref(f"in/{number:06}") for number in range(20_000))), BLOCK)
    assert listed <= sum(len(task.objects) for task in held) + 2 + AT_ONCE


def test_a_verdict_judges_each_pair_and_reports_what_is_not_equal() -> None:
    verdict, reported = verified(SOURCE, DESTINATION)
    assert str(verdict) == "verdict: equal 1, different 1, missing 1, extra 1, unproven 1"
    assert reported == [
        "missing in/absent",
        "different in/different",
        "extra out/extra",
        "unproven in/unproven",
    ]
    assert not verdict.proven


def test_equal_sides_are_proven_without_a_word() -> None:
    verdict, reported = verified([ref("in/a"), ref("in/b")], [ref("out/a"), ref("out/b")])
    assert verdict.proven
    assert reported == []


def test_what_is_missing_or_different_is_sent_again() -> None:
    queue = RecordingQueue()
    verdict = verify(
        TRANSFER,
        source=[*SOURCE, ref("in/zoo.txt")],
        destination=DESTINATION,
        digests=True,
        on_finding=lambda _finding: None,
        filters=Filters(exclude=("zoo*",)),
        queue=queue,
        random=Random(1),
    )
    assert str(verdict) == "verdict: equal 1, different 1, missing 1, extra 1, unproven 1"
    assert lines(decode(entry.body, TRANSFER) for entry in queue.taken) == [
        "in/absent seen=''",
        f"in/different seen={OTHER_MD5!r}",
    ]


def test_what_can_never_be_copied_is_missing_and_not_sent() -> None:
    queue = RecordingQueue()
    here = transfer("in/", "")
    verdict = verify(
        here, source=[ref("in/")], destination=[], digests=True, on_finding=lambda _finding: None,
        queue=queue, random=Random(1),
    )  # fmt: skip
    assert verdict.counts == {Match.MISSING: 1}
    assert queue.taken == []


def test_a_verdict_tells_its_progress() -> None:
    seen: list[int] = []
    verify(
        TRANSFER,
        source=SOURCE,
        destination=DESTINATION,
        digests=True,
        on_finding=lambda _finding: None,
        on_progress=seen.append,
        random=Random(1),
    )
    assert sum(seen) == 5


SIDE = st.dictionaries(
    keys(), st.tuples(st.integers(0, 2), st.sampled_from([ONE_MD5, OTHER_MD5])), max_size=10
)


@properly
@given(SIDE, SIDE)
def test_once_the_tasks_are_copied_nothing_is_lacking(
    source: dict[str, tuple[int, str]], destination: dict[str, tuple[int, str]]
) -> None:
    here = Shelf(ref("in/" + name, *what) for name, what in source.items())
    there = Shelf(ref("out/" + name, *what) for name, what in destination.items())
    tasks, _ = submitted(here.list(), there.list())
    for task in tasks:
        for one in task.objects:
            key = TRANSFER.destination_key(one.key)
            before = there.objects.get(key)
            assert one.destination_etag == (before.etag if before else "")  # the write's condition holds
            there.objects[key] = ref(key, one.size, one.etag)
    assert submitted(here.list(), there.list())[0] == []
    verdict, _ = verified(here.list(), there.list())
    extra = len(destination.keys() - source.keys())
    assert str(verdict) == f"verdict: equal {len(source)}, different 0, missing 0, extra {extra}, unproven 0"
