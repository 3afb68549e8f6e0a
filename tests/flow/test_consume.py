"""The consumer, played second by second: what it asks of its hands and of SQS, in which order.

A `Play` runs the real `Consumer.run` in virtual time: waiting for an event moves the clock to the next event
or to the end of the wait, whichever comes first. Whatever the consumer does becomes a line of one log, which
starts with the second; it and the tests' expectations read like this:

    0 poll                      the receiving thread is asked for a message
    1 copy m1: a b              objects a and b of the message with receipt m1 go to the streams
    1 perform m1: a             the step that the message asks for goes to the streams
    1 survey m1: a b            they are to be compared with the destination
    2 probe                     the endpoints are to be probed
    3 withdraw m1, 3 cancel m1  the delivery's flags are set (seen when the consumer next waits)
    4 extend m1 120             a heartbeat
    5 send a #0 +0s; b #1 +2s   a batch: keys, attempt, delay of each message
    5 dead-letter a ObjectGone  a batch for the dead-letter queue: key and reason of each
    5 delete m1                 and, with `fails` at the end of the line, what SQS did not do
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import queue
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from random import Random
from typing import cast

import pytest

from tests.core import ref, transfer
from worker.core.errors import (
    ConfigurationError,
    EndpointUnreachableError,
    FleetcopyError,
    ObjectDeniedError,
    ObjectRefusedError,
    ServiceUnavailableError,
)
from worker.core.message import CopyTask, LargeTask, Task, decode, encode
from worker.core.model import UNTOUCHED, Kind, ObjectRef, Outcome, Proof
from worker.core.progress import Report, Tally
from worker.core.settle import Send
from worker.core.tasks import Entry, Message, Refusal, Sender, TaskQueue
from worker.flow.consume import Consumer
from worker.flow.delivery import Delivery
from worker.flow.streams import Event, Finished, Probed, Received, Streams, Surveyed

TRANSFER = transfer("data/")
DOWN = ServiceUnavailableError("SQS does not answer")
UNREACHABLE = EndpointUnreachableError("no route")
WRONG = ConfigurationError("the bucket is gone")
DENIED = ObjectDeniedError("source", "403 for data/a")
REFUSED = ObjectRefusedError("400 for data/a")
BUSY = ServiceUnavailableError("503 for data/a")

COPIED = Outcome(Kind.COPIED, 7, Proof.MD5)
RETRYABLE = Outcome(Kind.FAILED, error=BUSY)
FINAL = Outcome(Kind.FAILED, error=REFUSED)

START = 1024.0
HOUR = 3600


# The fakes.


class Curtain(BaseException):
    """The play is over, whatever the consumer was about to do: as if the machine had lost its power."""


class Least(Random):
    """Draws the least that is possible: pauses of 0 s, delays of 2, 10, 40 and 160 s."""

    def uniform(self, a: float, _b: float) -> float:
        """See `Random.uniform`."""
        return a


class Hands:
    """Stands for `flow.streams.Streams`: does nothing, logs everything, insists on one poll at a time."""

    def __init__(self, play: Play, count: int) -> None:
        self.count = count
        self.events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self.deliveries: dict[str, Delivery] = {}
        self.owners: dict[str, Delivery] = {}
        self.polling = self.probing = False
        self._play = play

    def start(self) -> None:
        """See `Streams.start`."""
        self._play.note("start")

    def stop(self) -> None:
        """See `Streams.stop`."""
        self._play.note("stop")

    def gather(self, seconds: float) -> Iterator[Event]:
        """See `Streams.gather`: one event; waiting for it takes virtual time, in which the play goes on."""
        self._play.wait(seconds)
        with contextlib.suppress(queue.Empty):
            yield self.events.get_nowait()

    def poll(self) -> None:
        """See `Streams.poll`."""
        assert not self.polling, "two polls at once"
        self.polling = True
        self._play.note("poll")
        if self._play.on_poll:
            self._play.on_poll()

    def copy(self, delivery: Delivery, refs: Iterable[ObjectRef]) -> None:
        """See `Streams.copy`."""
        self._take("copy", delivery, list(refs))

    def perform(self, delivery: Delivery, task: Task) -> None:
        """See `Streams.perform`."""
        self._take("perform", delivery, task.objects)

    def survey(self, delivery: Delivery, task: CopyTask) -> None:
        """See `Streams.survey`."""
        self._take("survey", delivery, task.objects)

    def probe(self) -> None:
        """See `Streams.probe`."""
        assert not self.probing, "two probes at once"
        self.probing = True
        self._play.note("probe")
        if self._play.on_probe:
            self._play.on_probe()

    def _take(self, word: str, delivery: Delivery, refs: Sequence[ObjectRef]) -> None:
        receipt = delivery.message.receipt
        self.deliveries[receipt] = delivery
        self.owners.update({short(ref.key): delivery for ref in refs})
        self._play.note(f"{word} {receipt}: {keys(refs)}")


class Post:
    """Stands for `aws.sqs.Queue`: logs every request, and fails where the play says so."""

    def __init__(self, play: Play, word: str, describe: Callable[[Entry], str]) -> None:
        self.url = f"https://queue.example/{word}"
        self.repeats = True
        self.taken: list[Entry] = []
        self.lost: set[str] = set()
        self._play = play
        self._word = word
        self._describe = describe

    def send(self, entries: Sequence[Entry]) -> list[Refusal]:
        """See `TaskQueue.send`."""
        refused = [entry for entry in entries if self._play.refuses(self._word, self._describe(entry))]
        self._request(f"{self._word} {'; '.join(map(self._describe, entries))}")
        for entry in refused:
            self._play.note(f"refused {self._describe(entry)}")
        self.taken += [entry for entry in entries if entry not in refused]
        return [Refusal(entry, "InternalError", final=False) for entry in refused]

    def extend(self, receipts: Sequence[str], visibility: int) -> list[str]:
        """See `TaskQueue.extend`; without receipts it makes no request."""
        if receipts:
            self._request(f"extend {' '.join(receipts)} {visibility}")
        return [receipt for receipt in receipts if receipt in self.lost]

    def delete(self, receipt: str) -> None:
        """See `TaskQueue.delete`."""
        self._request(f"delete {receipt}")

    def _request(self, line: str) -> None:
        fails = self._play.fails_now(line.split(maxsplit=1)[0])
        self._play.note(line + " fails" * fails)
        if fails:
            raise ServiceUnavailableError("SQS does not answer")


class Play:
    """A consumer, its fakes, and a script: what happens at which second.

    Args:
        count: streams.
        visibility: seconds of a lease.
    """

    def __init__(self, count: int = 2, visibility: int = 120) -> None:
        self.log: list[str] = []
        self.on_poll: Callable[[], None] | None = None
        self.on_probe: Callable[[], None] | None = None
        self.tasks = Post(self, "send", as_task)
        self.dead_letters = Post(self, "dead-letter", as_dead_letter)
        self._hands = Hands(self, count)
        self._clock = START
        self._script: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count(1)
        self._receipts = itertools.count(1)
        self._failures: Counter[str] = Counter()
        self._refusals: list[tuple[str, str]] = []
        self._flags: set[str] = set()
        self._steps = 0
        self.reports: list[tuple[float, Report]] = []
        self.consumer = Consumer(
            transfer=TRANSFER,
            tasks=cast("TaskQueue", self.tasks),
            dead_letters=cast("Sender", self.dead_letters),
            streams=cast("Streams", self._hands),
            visibility=visibility,
            give_up=900,
            random=Least(),
            on_report=lambda report: self.reports.append((self._clock - START, report)),
            clock=lambda: self._clock,
        )

    # The script.

    def at(self, second: float, action: Callable[[], None]) -> None:
        """Have something done then."""
        heapq.heappush(self._script, (START + second, next(self._numbers), action))

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Have something done so much later than now."""
        self.at(self._clock - START + seconds, action)

    def passes(self, seconds: float) -> None:
        """Time passes in the middle of something."""
        self._clock += seconds

    def receives(self, second: float, names: str, *, attempt: int = 0, count: int = 1) -> None:
        """The poll under way ends with a message; the first has the receipt m1, the next m2, and so on."""
        refs = tuple(ref("data/" + name) for name in names.split())
        self.receives_body(second, encode(CopyTask(TRANSFER.id, refs, attempt)), count=count)

    def receives_body(self, second: float, body: str, *, count: int = 1) -> None:
        """The poll under way ends with this message."""
        message = Message(body, f"m{next(self._receipts)}", count)
        self.at(second, lambda: self._polled(Received(message)))

    def receives_nothing(self, second: float) -> None:
        """The poll under way ends without a message."""
        self.at(second, lambda: self._polled(Received()))

    def fails_to_receive(self, second: float) -> None:
        """The poll under way ends with an error."""
        self.at(second, lambda: self._polled(Received(error=DOWN)))

    def polls_end(self, answer: Callable[[], Received], seconds: float = 2) -> None:
        """From now on every poll ends so, after so many seconds."""
        self.on_poll = lambda: self.after(seconds, lambda: self._polled(answer()))

    def surveyed(self, second: float, receipt: str, proven: str, rest: str) -> None:
        """A survey ends."""

        def act() -> None:
            delivery = self._hands.deliveries[receipt]
            assert delivery.task
            known = {short(ref.key): ref for ref in delivery.task.objects}
            self._hands.events.put(
                Surveyed(
                    delivery, [known[key] for key in proven.split()], [known[key] for key in rest.split()]
                )
            )

        self.at(second, act)

    def ends(
        self,
        second: float,
        names: str,
        outcome: Outcome,
        *,
        began: float | None = None,
        led_to: tuple[Send, ...] = (),
    ) -> None:
        """Objects end so, one after the other, each begun a second before or when it says."""

        def act() -> None:
            start = START + (second - 1 if began is None else began)
            for name in names.split():
                delivery = self._hands.owners[name]
                event = Finished(delivery, ref("data/" + name), outcome, start, START + second, led_to)
                self._hands.events.put(event)

        self.at(second, act)

    def fault(self, second: float, names: str, error: FleetcopyError = UNREACHABLE) -> None:
        """Objects fail, by no fault of theirs."""
        self.ends(second, names, Outcome(Kind.FAILED, error=error))

    def denied(self, second: float, names: str) -> None:
        """Objects are denied."""
        self.ends(second, names, Outcome(Kind.FAILED, error=DENIED))

    def probes_end(self, *errors: FleetcopyError | None) -> None:
        """Probes end at once, each with its error or well; the last is how all further ones do."""
        answers = itertools.chain(errors, itertools.repeat(errors[-1]))

        def act(error: FleetcopyError | None) -> None:
            self._hands.probing = False
            self._hands.events.put(Probed(error))

        def on_probe() -> None:
            error = next(answers)
            self.after(0, lambda: act(error))

        self.on_probe = on_probe

    def drains(self, second: float, seconds: float) -> None:
        """A drain begins, or is shortened."""
        self.at(second, lambda: self.consumer.drain(seconds))

    def fails(self, word: str, times: int = 1) -> None:
        """The next requests of this kind fail as a whole."""
        self._failures[word] += times

    def refuses_once(self, word: str, entry: str) -> None:
        """SQS takes a batch, but for this entry of it."""
        self._refusals.append((word, entry))

    def loses(self, second: float, receipt: str) -> None:
        """From then on SQS does not extend this lease."""
        self.at(second, lambda: self.tasks.lost.add(receipt))

    def run(self, until: float | None = None) -> list[str]:
        """Run the consumer until it returns, or until that second, and no further; the log."""

        def end() -> None:
            raise Curtain

        if until is None:
            self.consumer.run()
        else:
            self.at(until, end)
            with contextlib.suppress(Curtain):
                self.consumer.run()
                pytest.fail(f"run() returned at {self.second}")
        return self.log

    def lines(self, *words: str) -> list[str]:
        """The log's lines of these kinds."""
        return [line for line in self.log if line.split()[1] in words]

    def settling(self) -> list[str]:
        """The log's lines about settling."""
        return self.lines("send", "dead-letter", "refused", "delete")

    @property
    def second(self) -> str:
        """Now."""
        return f"{self._clock - START:g}"

    # For the fakes.

    def note(self, line: str) -> None:
        """Write to the log."""
        self.log.append(f"{self.second} {line}")

    def fails_now(self, word: str) -> bool:
        """Whether a request fails as a whole; counted."""
        fails = self._failures[word] > 0
        self._failures[word] -= fails
        return fails

    def refuses(self, word: str, entry: str) -> bool:
        """Whether an entry is refused; once."""
        refused = (word, entry) in self._refusals
        if refused:
            self._refusals.remove((word, entry))
        return refused

    def wait(self, seconds: float) -> None:
        """Let the script go on until there is an event or the time is over."""
        self._see_flags()
        began, end = self._clock, self._clock + seconds
        assert end < START + 24 * HOUR, "nothing ends this play"
        while self._hands.events.empty() and self._script and self._script[0][0] <= end:
            self._clock, _, action = heapq.heappop(self._script)
            action()
        if self._hands.events.empty():
            self._clock = end
        self._steps = self._steps + 1 if self._clock == began else 0
        assert self._steps < 100, f"run() spins at {self.second}"

    def _see_flags(self) -> None:
        for receipt, delivery in self._hands.deliveries.items():
            for word, flag in (("withdraw", delivery.withdrawn), ("cancel", delivery.cancel)):
                line = f"{word} {receipt}"
                if flag.is_set() and line not in self._flags:
                    self._flags.add(line)
                    self.note(line)

    def _polled(self, event: Received) -> None:
        assert self._hands.polling, "a poll ends that was not under way"
        self._hands.polling = False
        self._hands.events.put(event)


def short(key: str) -> str:
    """A key as the scripts spell it."""
    return key.removeprefix("data/")


def keys(refs: Iterable[ObjectRef]) -> str:
    """Objects as a log line names them."""
    return " ".join(short(ref.key) for ref in refs)


def as_task(entry: Entry) -> str:
    """A message for the task queue as a log line names it."""
    task = decode(entry.body, TRANSFER)
    return f"{keys(task.objects)} #{task.attempt} +{entry.delay}s"


def as_dead_letter(entry: Entry) -> str:
    """A message for the dead-letter queue as a log line names it."""
    return f"{short(entry.attributes.get('Key', '-'))} {entry.attributes['Reason']}"


# A task's way.


def test_a_tasks_whole_way() -> None:
    play = Play()
    play.receives(1, "a b")
    play.ends(5, "a", COPIED)
    play.receives(6, "c")
    play.ends(45, "b c", COPIED)
    play.receives_nothing(47)
    assert play.run(until=48) == [
        "0 start",
        "0 poll",
        "1 copy m1: a b",
        "5 poll",
        "6 copy m2: c",
        "40 extend m1 m2 120",
        "45 delete m1",
        "45 poll",
        "45 delete m2",
        "47 poll",
    ]


# Rule 1: delete last.


@pytest.mark.parametrize("kind", [Kind.COPIED, Kind.SKIPPED, Kind.GONE, Kind.ARCHIVED])
def test_a_message_is_deleted_when_the_last_of_its_objects_is_done(kind: Kind) -> None:
    play = Play()
    play.receives(1, "a b c")
    play.ends(2, "b", Outcome(kind))
    play.ends(3, "a", COPIED)
    play.ends(9, "c", Outcome(kind))
    play.run(until=20)
    assert play.settling() == ["9 delete m1"]


def test_a_message_is_not_deleted_while_an_object_is_under_way() -> None:
    play = Play()
    play.receives(1, "a b")
    play.ends(2, "a", COPIED)
    play.run(until=300)
    assert play.settling() == []


def test_everything_is_sent_before_the_message_is_deleted() -> None:
    play = Play()
    play.receives(1, "a b c d")
    play.ends(5, "a", UNTOUCHED)
    play.ends(6, "b", RETRYABLE)
    play.ends(7, "c", FINAL)
    play.ends(8, "d", COPIED)
    play.run(until=20)
    assert play.settling() == [
        "8 dead-letter c ObjectRefused",
        "8 send a #0 +0s; b #1 +2s",
        "8 delete m1",
    ]


@pytest.mark.parametrize(
    ("outcome", "failing", "expected"),
    [
        pytest.param(
            RETRYABLE,
            {"send": 2},
            ["5 send a #1 +2s fails", "7 send a #1 +2s fails", "9 send a #1 +2s", "9 delete m1"],
            id="a failing send is tried again, and nothing deleted before it is taken",
        ),
        pytest.param(
            FINAL,
            {"dead-letter": 1},
            ["5 dead-letter a ObjectRefused fails", "7 dead-letter a ObjectRefused", "7 delete m1"],
            id="so is a failing dead letter",
        ),
        pytest.param(
            COPIED,
            {"delete": 2},
            ["5 delete m1 fails", "7 delete m1 fails", "9 delete m1"],
            id="a failing delete is tried again",
        ),
        pytest.param(
            RETRYABLE,
            {"delete": 2},
            ["5 send a #1 +2s", "5 delete m1 fails", "7 delete m1 fails", "9 delete m1"],
            id="without sending again what was taken",
        ),
        pytest.param(
            FINAL,
            {"delete": 1},
            ["5 dead-letter a ObjectRefused", "5 delete m1 fails", "7 delete m1"],
            id="nor a dead letter that was taken",
        ),
        pytest.param(
            RETRYABLE,
            {"send": 1, "delete": 1},
            ["5 send a #1 +2s fails", "7 send a #1 +2s", "7 delete m1 fails", "9 delete m1"],
            id="first the send fails, then the delete",
        ),
    ],
)
def test_when_sqs_fails_settling_goes_on_two_seconds_later(
    outcome: Outcome, failing: dict[str, int], expected: list[str]
) -> None:
    play = Play()
    for word, times in failing.items():
        play.fails(word, times)
    play.receives(1, "a")
    play.ends(5, "a", outcome)
    play.run(until=30)
    assert play.settling() == expected


def test_only_the_entry_that_sqs_did_not_take_is_sent_again_before_the_delete() -> None:
    play = Play()
    play.refuses_once("send", "b #1 +2s")
    play.receives(1, "a b")
    play.ends(5, "a", UNTOUCHED)
    play.ends(5, "b", RETRYABLE)
    play.run(until=20)
    assert play.settling() == [
        "5 send a #0 +0s; b #1 +2s",
        "5 refused b #1 +2s",
        "7 send b #1 +2s",
        "7 delete m1",
    ]


def test_a_task_that_cannot_be_settled_holds_up_none_in_hand_but_no_more_are_received() -> None:
    play = Play()
    play.fails("send", 5)
    play.receives(1, "a")
    play.receives(2, "b")
    play.ends(5, "a", RETRYABLE)
    play.ends(6, "b", COPIED)
    play.run(until=9)
    assert play.lines("delete", "copy") == ["1 copy m1: a", "2 copy m2: b", "6 delete m2"]
    assert all(float(line.split()[0]) < 5 for line in play.lines("poll"))


def test_dead_letters_that_were_taken_are_not_sent_again() -> None:
    play = Play()
    play.fails("send")
    play.receives(1, "a b")
    play.ends(5, "a", FINAL)
    play.ends(5, "b", RETRYABLE)
    play.run(until=20)
    assert play.settling() == [
        "5 dead-letter a ObjectRefused",
        "5 send b #1 +2s fails",
        "7 send b #1 +2s",
        "7 delete m1",
    ]


def test_a_queue_that_takes_nothing_is_given_up_with_no_more_in_hand() -> None:
    play = Play(count=1)
    play.fails("send", 10**6)
    play.receives(1, "a")
    play.ends(5, "a", RETRYABLE)
    with pytest.raises(ConfigurationError, match="queue"):
        play.run(until=HOUR)
    assert len(play.lines("copy")) == 1


def test_slow_settling_does_not_starve_the_heartbeat(monkeypatch: pytest.MonkeyPatch) -> None:
    play = Play(count=9)
    fail = play.tasks.send

    def slow(entries: Sequence[Entry]) -> list[Refusal]:
        play.passes(30)
        return fail(entries)

    monkeypatch.setattr(play.tasks, "send", slow)
    play.fails("send", 10**6)
    for number in range(6):
        play.receives(1 + number, f"a{number}")
    for number in range(6):
        play.ends(10, f"a{number}", RETRYABLE)
    play.run(until=800)
    beats = [1.0, *(float(line.split()[0]) for line in play.lines("extend"))]
    assert max(later - earlier for earlier, later in itertools.pairwise(beats)) < 120


def test_an_idle_worker_does_not_give_up_on_an_endpoint_that_answers_again() -> None:
    play = Play(count=1)
    play.probes_end(None)
    play.receives(1, "a")
    play.fault(2, "a")
    play.at(7.5, lambda: play.polls_end(Received))
    play.receives_nothing(8)
    play.run(until=2000)


def test_a_long_copy_after_a_fault_does_not_give_up() -> None:
    play = Play(count=1)
    play.probes_end(None)
    play.receives(1, "a")
    play.fault(2, "a")
    play.receives(8, "big")
    play.ends(1500, "big", COPIED)
    play.run(until=1600)


def test_at_eleven_hours_what_waits_for_a_verdict_is_given_back_too() -> None:
    play = Play(count=2)
    play.receives(1, "a b")
    play.denied(2, "a")
    play.ends(11 * HOUR + 45, "b", UNTOUCHED)
    play.run(until=11 * HOUR + 300)
    assert play.lines("send", "delete")


def test_a_stream_that_hangs_is_left_behind_before_the_lease_ends() -> None:
    play = Play(count=2)
    play.receives(1, "a b")
    play.run(until=12 * HOUR)
    assert play.lines("send", "delete")


# Rule 3: the lease.


@pytest.mark.parametrize(
    ("visibility", "expected"),
    [
        (120, ["40 extend m1 120", "80 extend m1 120", "120 extend m1 120", "160 extend m1 120"]),
        (300, ["100 extend m1 300"]),
    ],
)
def test_a_lease_is_renewed_at_a_third_of_it_by_a_constant_horizon(
    visibility: int, expected: list[str]
) -> None:
    play = Play(visibility=visibility)
    play.receives(1, "a")
    play.run(until=170)
    assert play.lines("extend") == expected


def test_a_lease_is_renewed_while_settling_fails_and_no_longer_once_it_succeeds() -> None:
    play = Play()
    play.fails("send", 40)
    play.receives(1, "a")
    play.ends(5, "a", RETRYABLE)
    play.run(until=170)
    assert play.lines("extend") == ["40 extend m1 120", "80 extend m1 120"]
    assert play.settling()[-3:] == ["83 send a #1 +2s fails", "85 send a #1 +2s", "85 delete m1"]


def test_a_failing_heartbeat_stops_no_work_and_the_next_comes_in_time() -> None:
    play = Play()
    play.fails("extend")
    play.receives(1, "a")
    play.ends(90, "a", COPIED)
    play.run(until=100)
    assert play.lines("extend", "delete", "withdraw") == [
        "40 extend m1 120 fails",
        "80 extend m1 120",
        "90 delete m1",
    ]


def test_a_task_is_handed_over_before_sqs_ends_its_lease_for_good() -> None:
    """Eleven hours after its receipt; a younger one is kept."""
    late = 11 * HOUR
    play = Play()
    play.receives(1, "a b")
    play.ends(10, "a", COPIED)
    play.receives(50, "c")
    play.ends(late + 45, "b", UNTOUCHED)
    play.run(until=late + 60)
    assert play.lines("withdraw", "cancel", "send", "delete") == [
        f"{late + 40} withdraw m1",
        f"{late + 40} cancel m1",
        f"{late + 45} send b #0 +0s",
        f"{late + 45} delete m1",
    ]


@pytest.mark.parametrize("outcome", [UNTOUCHED, RETRYABLE, FINAL])
def test_of_an_unfinished_task_whose_lease_is_lost_nothing_is_sent_or_deleted(outcome: Outcome) -> None:
    play = Play()
    play.receives(1, "a b")
    play.loses(30, "m1")
    play.ends(45, "a", COPIED)
    play.ends(46, "b", outcome)
    play.run(until=100)
    assert play.lines("withdraw", "cancel", "send", "dead-letter", "delete") == ["40 withdraw m1"]
    assert play.lines("extend") == ["40 extend m1 120"]
    assert play.lines("poll")[-1] == "45 poll"


@pytest.mark.parametrize("kind", [Kind.COPIED, Kind.SKIPPED, Kind.GONE, Kind.ARCHIVED])
def test_a_finished_task_is_deleted_though_its_lease_is_lost(kind: Kind) -> None:
    play = Play()
    play.receives(1, "a b")
    play.loses(30, "m1")
    play.ends(45, "a", COPIED)
    play.ends(46, "b", Outcome(kind))
    play.run(until=100)
    assert play.settling() == ["46 delete m1"]


def test_only_the_lease_that_is_lost_is_withdrawn() -> None:
    play = Play()
    play.receives(1, "a")
    play.receives(2, "b")
    play.loses(30, "m2")
    play.ends(50, "a b", UNTOUCHED)
    play.run(until=60)
    assert play.lines("extend", "withdraw", "send", "delete") == [
        "40 extend m1 m2 120",
        "40 withdraw m2",
        "50 send a #0 +0s",
        "50 delete m1",
    ]


def test_a_lease_lost_while_sending_fails_ends_the_trying() -> None:
    play = Play()
    play.fails("send", 99)
    play.receives(1, "a")
    play.loses(30, "m1")
    play.ends(35, "a", RETRYABLE)
    play.run(until=200)
    assert play.settling() == [f"{second} send a #1 +2s fails" for second in (35, 37, 39)]
    assert play.lines("extend") == ["40 extend m1 120"]


# Rule 2: what goes where.


@pytest.mark.parametrize(
    ("attempt", "outcome", "expected"),
    [
        pytest.param(0, UNTOUCHED, "send a #0 +0s", id="untouched: as it was"),
        pytest.param(4, UNTOUCHED, "send a #4 +0s", id="an interruption is never the last attempt"),
        pytest.param(0, RETRYABLE, "send a #1 +2s", id="failed: delayed"),
        pytest.param(1, RETRYABLE, "send a #2 +10s", id="failed again: delayed for longer"),
        pytest.param(2, RETRYABLE, "send a #3 +40s", id="and longer"),
        pytest.param(3, RETRYABLE, "send a #4 +160s", id="and longest"),
        pytest.param(4, RETRYABLE, "dead-letter a ServiceUnavailable", id="the fifth failure is the last"),
        pytest.param(0, FINAL, "dead-letter a ObjectRefused", id="what repeating does not change: at once"),
    ],
)
def test_what_is_not_done_goes_on(attempt: int, outcome: Outcome, expected: str) -> None:
    play = Play()
    play.receives(1, "a b", attempt=attempt)
    play.ends(4, "b", COPIED)
    play.ends(5, "a", outcome)
    play.run(until=20)
    assert play.settling() == [f"5 {expected}", "5 delete m1"]


def test_untouched_and_failed_objects_of_a_task_become_two_messages() -> None:
    play = Play()
    play.receives(1, "a b c d e", attempt=1)
    play.ends(5, "b d", RETRYABLE)
    play.ends(6, "c", COPIED)
    play.ends(7, "a e", UNTOUCHED)
    play.run(until=20)
    assert play.settling() == ["7 send a e #1 +0s; b d #2 +10s", "7 delete m1"]


def test_a_dead_letter_says_why_and_can_be_redriven() -> None:
    play = Play()
    play.receives(1, "a b", attempt=3)
    play.ends(5, "a", FINAL)
    play.ends(6, "b", COPIED)
    play.run(until=20)
    [letter] = play.dead_letters.taken
    assert letter.attributes == {
        "Reason": "ObjectRefused",
        "Detail": "400 for data/a",
        "Key": "data/a",
        "Transfer": TRANSFER.id,
    }
    assert decode(letter.body, TRANSFER) == CopyTask(TRANSFER.id, (ref("data/a"),), attempt=0)


# Rule 4: redelivered tasks.


@pytest.mark.parametrize(
    ("count", "names", "expected"),
    [
        (1, "a b", ["1 copy m1: a b"]),
        (2, "a b", ["1 survey m1: a b"]),
        (3, "a b", ["1 survey m1: a b"]),
        (4, "a b", ["1 send a #2 +0s; b #2 +0s", "1 delete m1"]),
        (4, "a b c d e", ["1 send a b #2 +0s; c d e #2 +0s", "1 delete m1"]),
        (49, "a b", ["1 send a #2 +0s; b #2 +0s", "1 delete m1"]),
        (4, "a", ["1 survey m1: a"]),
        (49, "a", ["1 survey m1: a"]),
    ],
)
def test_a_task_is_copied_surveyed_or_split_by_how_often_it_was_received(
    count: int, names: str, expected: list[str]
) -> None:
    play = Play()
    play.receives(1, names, attempt=2, count=count)
    play.run(until=10)
    assert play.lines("copy", "survey", "send", "delete") == expected


def test_what_a_survey_finds_proven_is_not_copied_again() -> None:
    play = Play()
    play.receives(1, "a b c", count=2)
    play.surveyed(3, "m1", "a c", "b")
    play.ends(6, "b", RETRYABLE)
    play.run(until=10)
    assert play.lines("survey", "copy", "send", "delete") == [
        "1 survey m1: a b c",
        "3 copy m1: b",
        "6 send b #1 +2s",
        "6 delete m1",
    ]
    assert play.consumer.totals["skipped"] == 2


def test_a_task_that_a_survey_finds_proven_as_a_whole_is_deleted() -> None:
    play = Play()
    play.receives(1, "a b", count=3)
    play.surveyed(3, "m1", "a b", "")
    play.run(until=10)
    assert play.settling() == ["3 delete m1"]


def test_a_split_that_sqs_does_not_take_is_not_deleted() -> None:
    play = Play()
    play.fails("send")
    play.receives(1, "a b", count=4)
    play.run(until=10)
    assert play.settling() == [
        "1 send a #0 +0s; b #0 +0s fails",
        "3 send a #0 +0s; b #0 +0s",
        "3 delete m1",
    ]


# Rule 5: an endpoint's fault.


@pytest.mark.parametrize("error", [UNREACHABLE, WRONG], ids=["unreachable", "configuration"])
def test_an_endpoints_fault_stops_polling_and_gives_tasks_back_unfailed_and_later(
    error: FleetcopyError,
) -> None:
    play = Play(count=3)
    play.receives(1, "a b c", attempt=4)
    play.fault(2, "a", error)
    play.ends(4, "b", COPIED)
    play.ends(5, "c", UNTOUCHED)
    play.run(until=600)
    assert play.log[2:] == [
        "1 copy m1: a b c",
        "2 withdraw m1",
        "5 send a c #4 +5s",
        "5 delete m1",
        "7 probe",
    ]


def test_all_tasks_in_hand_are_withdrawn_but_those_under_way_not_cancelled() -> None:
    play = Play(count=3)
    play.receives(1, "a")
    play.receives(2, "b")
    play.fault(3, "a")
    play.run(until=6)
    assert play.lines("withdraw", "cancel") == ["3 withdraw m1", "3 withdraw m2"]
    assert play.settling() == ["3 send a #0 +5s", "3 delete m1"]


@pytest.mark.parametrize(
    ("names", "count"), [("b c", 1), ("b", 2), ("b c", 4)], ids=["new", "redelivered", "often redelivered"]
)
def test_a_message_that_arrives_while_the_breaker_is_open_is_given_back_at_once(
    names: str, count: int
) -> None:
    play = Play()
    play.receives(1, "a")
    play.fault(2, "a")
    play.receives(3, names, attempt=1, count=count)
    play.run(until=6)
    assert play.log[4:] == [
        "2 send a #0 +5s",
        "2 delete m1",
        "2 withdraw m1",
        f"3 send {names} #1 +5s",
        "3 delete m2",
    ]


def test_a_probe_is_made_when_due_and_a_good_one_lets_the_worker_poll_again() -> None:
    play = Play(count=1)
    play.probes_end(None)
    play.receives(1, "a")
    play.fault(2, "a")
    play.run(until=30)
    assert play.lines("poll", "probe") == ["0 poll", "7 probe", "7 poll"]


def test_while_a_probe_is_under_way_there_is_no_other() -> None:
    play = Play(count=1)
    play.receives(1, "a")
    play.fault(2, "a")
    play.run(until=800)
    assert play.lines("poll", "probe") == ["0 poll", "7 probe"]


def test_each_failed_probe_doubles_the_pause_and_after_a_quarter_of_an_hour_the_worker_gives_up() -> None:
    play = Play(count=1)
    play.probes_end(WRONG)
    play.receives(1, "a")
    play.fault(2, "a")
    with pytest.raises(ConfigurationError, match="an endpoint has been out of order for too long"):
        play.run(until=2000)
    assert play.lines("poll", "probe") == [
        "0 poll",
        *(f"{second} probe" for second in (7, 17, 37, 77, 157, 317, 617, 917)),
    ]
    assert play.second == "917"


def test_a_worker_whose_probe_hangs_gives_up_too() -> None:
    play = Play(count=1)
    play.receives(1, "a")
    play.fault(2, "a")
    with pytest.raises(ConfigurationError, match="an endpoint"):
        play.run(until=2000)
    assert play.second == "920"


def test_faults_of_copies_that_were_under_way_do_not_lengthen_the_pause() -> None:
    play = Play()
    play.probes_end(None)
    play.receives(1, "a b c")
    play.fault(2, "a")
    play.fault(3, "b c")
    play.run(until=10)
    assert play.lines("send", "probe", "poll") == ["0 poll", "3 send a b c #0 +5s", "7 probe", "7 poll"]


def test_a_copy_closes_the_half_open_breaker() -> None:
    """What is given back after it is not held back, and the next fault opens it for the first pause."""
    play = Play(count=1)
    play.probes_end(WRONG, None)
    play.receives(1, "a")
    play.fault(2, "a")
    play.receives(20, "b c d")
    play.ends(21, "b", COPIED)
    play.ends(22, "c d", UNTOUCHED)
    play.receives(23, "e")
    play.fault(24, "e")
    play.run(until=30)
    assert play.lines("poll", "probe", "send") == [
        "0 poll",
        "2 send a #0 +5s",
        "7 probe",
        "17 probe",
        "17 poll",
        "22 send c d #0 +0s",
        "22 poll",
        "24 send e #0 +5s",
        "29 probe",
        "29 poll",
    ]


def test_a_fault_in_half_open_opens_the_breaker_for_longer() -> None:
    play = Play(count=1)
    play.probes_end(None)
    play.receives(1, "a")
    play.fault(2, "a")
    play.receives(8, "b")
    play.fault(9, "b")
    play.receives(20, "c")
    play.fault(21, "c")
    play.run(until=50)
    assert play.lines("poll", "probe", "send") == [
        "0 poll",
        "2 send a #0 +5s",
        "7 probe",
        "7 poll",
        "9 send b #0 +10s",
        "19 probe",
        "19 poll",
        "21 send c #0 +20s",
        "41 probe",
        "41 poll",
    ]


def test_faults_in_half_open_add_up_to_giving_up() -> None:
    play = Play(count=1)
    play.probes_end(None)
    play.receives(1, "a")
    play.fault(2, "a")
    for number, second in enumerate((8, 20, 42, 84, 166, 328, 630)):
        play.receives(second, f"b{number}")
        play.fault(second + 1, f"b{number}")
    with pytest.raises(ConfigurationError, match="an endpoint"):
        play.run(until=2000)
    assert play.lines("probe")[-1] == "629 probe"
    assert play.second == "920"


# Rule 5: denials.


def test_a_denial_waits_until_a_copy_begun_after_it_shows_it_to_be_the_objects_own() -> None:
    play = Play()
    play.receives(1, "a b c d")
    play.denied(5, "a")
    play.ends(7, "b", COPIED, began=4)
    play.ends(8, "c", COPIED, began=6)
    play.ends(9, "d", COPIED)
    play.run(until=20)
    assert play.settling() == ["9 dead-letter a ObjectDenied", "9 delete m1"]
    assert decode(play.dead_letters.taken[0].body, TRANSFER).objects == (ref("data/a"),)


@pytest.mark.parametrize(
    ("began", "expected"),
    [
        (6, ["7 dead-letter a ObjectDenied", "7 delete m1", "7 delete m2"]),
        (5, ["7 dead-letter a ObjectDenied", "7 delete m1", "7 delete m2"]),
        (4, ["7 delete m2"]),
    ],
    ids=["begun after it", "begun as it ended", "begun before it: still waiting"],
)
def test_a_denied_task_is_settled_by_a_copy_in_another(began: float, expected: list[str]) -> None:
    play = Play()
    play.receives(1, "a")
    play.receives(2, "b")
    play.denied(5, "a")
    play.ends(7, "b", COPIED, began=began)
    play.run(until=100)
    assert play.settling() == expected


@pytest.mark.parametrize("kind", [Kind.SKIPPED, Kind.GONE, Kind.ARCHIVED])
def test_what_was_not_copied_says_nothing_about_a_denial(kind: Kind) -> None:
    play = Play()
    play.receives(1, "a b")
    play.denied(5, "a")
    play.ends(7, "b", Outcome(kind))
    play.run(until=100)
    assert play.settling() == []


NAMES = [f"x{number:02}" for number in range(20)]


def test_twenty_denials_without_a_copy_are_the_endpoints_and_none_is_a_dead_letter() -> None:
    play = Play(count=20)
    play.receives(1, " ".join(NAMES))
    for name in NAMES:
        play.denied(2, name)
    play.run(until=600)
    assert play.log[2:] == [
        "1 copy m1: " + " ".join(NAMES),
        "2 poll",
        "2 send " + " ".join(NAMES) + " #0 +5s",
        "2 delete m1",
        "2 withdraw m1",
        "7 probe",
    ]


def test_nineteen_denials_then_a_copy_are_the_objects_own() -> None:
    play = Play(count=20)
    play.receives(1, " ".join(NAMES))
    play.denied(2, " ".join(NAMES[:19]))
    play.ends(5, NAMES[19], COPIED)
    play.run(until=600)
    assert play.settling() == [
        "5 dead-letter " + "; ".join(f"{name} ObjectDenied" for name in NAMES[:10]),
        "5 dead-letter " + "; ".join(f"{name} ObjectDenied" for name in NAMES[10:19]),
        "5 delete m1",
    ]


def test_denials_for_which_nothing_else_is_left_to_try_are_the_objects_own() -> None:
    play = Play(count=2)
    play.receives(1, "a b")
    play.denied(2, "a b")
    play.receives_nothing(4)
    play.run(until=20)
    assert play.log[2:] == [
        "1 copy m1: a b",
        "2 poll",
        "4 dead-letter a ObjectDenied; b ObjectDenied",
        "4 delete m1",
        "4 poll",
    ]


def test_denials_wait_while_another_object_is_under_way_though_the_queue_is_dry() -> None:
    play = Play(count=2)
    play.receives(1, "a")
    play.receives(2, "b")
    play.denied(3, "a")
    play.receives_nothing(5)
    play.ends(9, "b", UNTOUCHED)
    play.run(until=20)
    assert play.settling() == [
        "9 send b #0 +0s",
        "9 delete m2",
        "9 dead-letter a ObjectDenied",
        "9 delete m1",
    ]


def test_a_queue_that_answers_with_an_error_is_not_dry() -> None:
    play = Play(count=2)
    play.receives(1, "a")
    play.denied(2, "a")
    play.fails_to_receive(4)
    play.run(until=20)
    assert play.lines("poll", "dead-letter", "delete") == ["0 poll", "1 poll", "6 poll"]


def test_a_denial_while_draining_is_given_back() -> None:
    play = Play(count=1)
    play.receives(1, "a", attempt=4)
    play.drains(2, 60)
    play.denied(3, "a")
    play.run()
    assert play.settling() == ["3 send a #4 +0s", "3 delete m1"]


def test_denials_that_wait_when_a_drain_begins_are_given_back() -> None:
    play = Play(count=2)
    play.receives(1, "a b", attempt=4)
    play.denied(2, "a b")
    play.drains(3, 60)
    play.receives_nothing(4)
    play.run()
    assert play.settling() == ["3 send a b #4 +0s", "3 delete m1"]
    assert play.consumer.totals["dead_letters"] == 0


def test_denials_that_wait_when_the_breaker_opens_are_given_back() -> None:
    play = Play(count=2)
    play.receives(1, "a b")
    play.denied(2, "a")
    play.fault(3, "b")
    play.run(until=6)
    assert play.settling() == ["3 send a b #0 +5s", "3 delete m1"]


def test_a_denial_while_the_breaker_is_open_is_given_back() -> None:
    play = Play(count=2)
    play.receives(1, "a b")
    play.fault(2, "b")
    play.denied(3, "a")
    play.run(until=6)
    assert play.settling() == ["3 send b a #0 +5s", "3 delete m1"]


# Receiving errors.


def test_after_a_receiving_error_the_next_poll_waits_two_seconds() -> None:
    play = Play()
    play.fails_to_receive(1)
    play.receives_nothing(5)
    play.run(until=10)
    assert play.lines("poll") == ["0 poll", "3 poll", "5 poll"]


def test_a_queue_out_of_order_for_a_quarter_of_an_hour_is_given_up() -> None:
    play = Play()
    play.polls_end(lambda: Received(error=DOWN))
    with pytest.raises(ConfigurationError, match="the queue has been out of order for too long"):
        play.run(until=2000)
    assert play.lines("poll")[:3] == ["0 poll", "4 poll", "8 poll"]
    assert play.second == "904"


def test_one_answer_of_the_queue_makes_its_errors_forgotten() -> None:
    play = Play()
    play.polls_end(lambda: Received() if play.second == "802" else Received(error=DOWN))
    with pytest.raises(ConfigurationError, match="the queue"):
        play.run(until=3000)
    assert play.second == "1706"


# Messages that are no tasks.


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("Kirk to Enterprise", "NotJSON"),
        ('{"v":2}', "UnknownVersion"),
        ('{"v":1,"kind":"move"}', "UnknownKind"),
        (encode(CopyTask("0123456789abcdef", (ref("data/a"),))), "UnknownTransfer"),
        (encode(CopyTask(TRANSFER.id, (ref("elsewhere/a"),))), "ForeignKey"),
        (f'{{"v":1,"kind":"copy","transfer":"{TRANSFER.id}"}}', "Malformed"),
    ],
)
def test_what_is_no_task_goes_to_the_dead_letters_as_it_is_and_the_worker_goes_on(
    body: str, reason: str
) -> None:
    play = Play()
    play.receives_body(1, body)
    play.receives(2, "a")
    play.run(until=10)
    assert play.log[2:] == [
        f"1 dead-letter - {reason}",
        "1 delete m1",
        "1 poll",
        "2 copy m2: a",
        "2 poll",
    ]
    [letter] = play.dead_letters.taken
    assert letter.body == body
    assert set(letter.attributes) == {"Reason", "Detail", "Transfer"}
    assert play.consumer.totals == {"dead_letters": 1, "bytes": 0}


def test_what_is_no_task_is_not_deleted_before_the_dead_letter_is_taken() -> None:
    play = Play()
    play.fails("dead-letter")
    play.fails("delete")
    play.receives_body(1, "{}")
    play.run(until=10)
    assert play.settling() == [
        "1 dead-letter - UnknownVersion fails",
        "3 dead-letter - UnknownVersion",
        "3 delete m1 fails",
        "5 delete m1",
    ]
    assert play.consumer.totals["dead_letters"] == 1


# The backlog.


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (1, ["0 poll", "9 poll"]),
        (2, ["0 poll", "8 poll"]),
        (3, ["0 poll", "7 poll"]),
        (4, ["0 poll", "1 poll"]),
    ],
)
def test_a_message_is_asked_for_while_fewer_objects_than_streams_are_in_hand(
    count: int, expected: list[str]
) -> None:
    play = Play(count=count)
    play.receives(1, "a b c")
    play.ends(7, "b", COPIED)
    play.ends(8, "a", RETRYABLE)
    play.ends(9, "c", COPIED)
    play.run(until=20)
    assert play.lines("poll") == expected


def test_objects_of_all_tasks_count_surveyed_ones_too() -> None:
    play = Play(count=3)
    play.receives(1, "a")
    play.receives(2, "b c", count=2)
    play.surveyed(5, "m2", "b", "c")
    play.run(until=20)
    assert play.lines("poll") == ["0 poll", "1 poll", "5 poll"]


def test_objects_that_wait_for_the_verdict_on_a_denial_do_not_count() -> None:
    play = Play(count=2)
    play.receives(1, "a b c")
    play.denied(3, "a")
    play.denied(4, "b")
    play.run(until=20)
    assert play.lines("poll") == ["0 poll", "4 poll"]


def test_while_a_poll_is_under_way_there_is_no_other() -> None:
    play = Play(count=9)
    play.receives(1, "a b c")
    play.ends(3, "a", COPIED)
    play.ends(4, "b", COPIED)
    play.ends(5, "c", COPIED)
    play.run(until=100)
    assert play.lines("poll") == ["0 poll", "1 poll"]


def test_after_a_poll_that_brought_nothing_comes_the_next() -> None:
    play = Play()
    play.polls_end(Received)
    play.run(until=9)
    assert play.lines("poll") == ["0 poll", "2 poll", "4 poll", "6 poll", "8 poll"]


# The drain.


def test_a_drain_lets_objects_under_way_finish_and_hands_over_the_rest() -> None:
    play = Play(count=2)
    play.receives(1, "a b c")
    play.drains(5, 60)
    play.ends(5, "c", UNTOUCHED)
    play.ends(7, "a", COPIED)
    play.ends(50, "b", COPIED)
    assert play.run() == [
        "0 start",
        "0 poll",
        "1 copy m1: a b c",
        "5 withdraw m1",
        "40 extend m1 120",
        "50 send c #0 +0s",
        "50 delete m1",
        "50 stop",
    ]


def test_a_drain_withdraws_all_tasks_at_once_and_polls_no_more() -> None:
    play = Play(count=4)
    play.receives(1, "a")
    play.receives(2, "b")
    play.receives(3, "c")
    play.drains(5, 60)
    play.receives_nothing(6)
    play.ends(9, "a b c", COPIED)
    play.run()
    assert play.lines("withdraw") == ["5 withdraw m1", "5 withdraw m2", "5 withdraw m3"]
    assert play.lines("poll")[-1] == "3 poll"
    assert play.second == "9"


@pytest.mark.parametrize(
    ("seconds", "cancel", "end"),
    [(60, 50, 55), (120, 110, 115), (50, 40, 45), (20, 16, 18), (5, 4, 4.5), (0, 0, 0)],
)
def test_what_outlasts_the_drain_is_cancelled_a_reserve_before_its_end_and_abandoned_halfway(
    seconds: float, cancel: float, end: float
) -> None:
    play = Play(count=1, visibility=600)
    play.receives(128, "a b")
    play.drains(256, seconds)
    play.run()
    end, cancel = end + 256, cancel + 256
    assert play.lines("cancel", "send", "delete", "stop") == [
        *([f"{cancel:g} cancel m1"] if seconds else []),
        f"{end:g} send a b #0 +0s",
        f"{end:g} delete m1",
        f"{end:g} stop",
    ]


def test_what_stops_when_cancelled_is_handed_over_at_once() -> None:
    play = Play(count=2)
    play.receives(1, "a b", attempt=2)
    play.drains(2, 50)
    play.ends(42, "b", UNTOUCHED)
    play.ends(43, "a", UNTOUCHED)
    play.run()
    assert play.lines("cancel", "send", "delete", "stop") == [
        "42 cancel m1",
        "43 send b a #2 +0s",
        "43 delete m1",
        "43 stop",
    ]


def test_of_an_abandoned_task_only_what_is_not_done_is_handed_over() -> None:
    play = Play(count=3)
    play.receives(1, "a b c")
    play.ends(2, "a", COPIED)
    play.ends(3, "b", RETRYABLE)
    play.receives_nothing(3)
    play.drains(4, 50)
    play.run()
    assert play.lines("send", "delete", "stop") == [
        "49 send c #0 +0s; b #1 +2s",
        "49 delete m1",
        "49 stop",
    ]


@pytest.mark.parametrize("count", [1, 2, 4])
def test_a_message_that_arrives_during_the_drain_is_given_back_at_once(count: int) -> None:
    play = Play()
    play.drains(1, 60)
    play.receives(2, "a b", attempt=3, count=count)
    assert play.run()[2:] == ["2 send a b #3 +0s", "2 delete m1", "2 stop"]


def test_what_is_no_task_and_arrives_during_the_drain_goes_to_the_dead_letters() -> None:
    play = Play()
    play.drains(1, 60)
    play.receives_body(2, "{}")
    assert play.run()[2:] == ["2 dead-letter - UnknownVersion", "2 delete m1", "2 stop"]


def test_a_survey_that_ends_during_the_drain_is_heard() -> None:
    play = Play()
    play.receives(1, "a b", count=2)
    play.drains(2, 60)
    play.surveyed(3, "m1", "a", "b")
    play.ends(4, "b", UNTOUCHED)
    play.run()
    assert play.settling() == ["4 send b #0 +0s", "4 delete m1"]


def test_a_drain_with_nothing_in_hand_awaits_the_poll_under_way_and_no_more() -> None:
    play = Play()
    play.drains(1, 60)
    play.receives_nothing(2)
    assert play.run() == ["0 start", "0 poll", "2 stop"]


def test_a_drain_before_anything_ends_the_worker_at_once() -> None:
    play = Play()
    play.consumer.drain(60)
    assert play.run() == ["0 start", "0 stop"]


def test_a_poll_that_hangs_does_not_outlast_the_drain() -> None:
    play = Play()
    play.drains(1, 50)
    assert play.run() == ["0 start", "0 poll", "46 stop"]


def test_a_poll_that_fails_during_the_drain_is_back_too() -> None:
    play = Play()
    play.drains(1, 60)
    play.fails_to_receive(3)
    assert play.run() == ["0 start", "0 poll", "3 stop"]


@pytest.mark.parametrize(
    ("second", "seconds", "cancel", "end"),
    [
        pytest.param(10, 20, 26, 28, id="shortened"),
        pytest.param(10, 600, 51, 56, id="not lengthened"),
        pytest.param(53, 2, 51, 54.8, id="shortened after the cancelling"),
        pytest.param(53, 0, 51, 53, id="ended"),
        pytest.param(53, 600, 51, 56, id="not lengthened after the cancelling"),
    ],
)
def test_a_second_drain_can_only_shorten(second: float, seconds: float, cancel: float, end: float) -> None:
    play = Play(count=1)
    play.receives(0.5, "a")
    play.drains(1, 60)
    play.drains(second, seconds)
    play.run()
    assert play.lines("cancel", "send", "stop") == [
        f"{cancel:g} cancel m1",
        f"{end:g} send a #0 +0s",
        f"{end:g} stop",
    ]


def test_settling_that_fails_during_the_drain_is_tried_again_before_the_worker_ends() -> None:
    play = Play(count=1)
    play.fails("send")
    play.fails("delete")
    play.receives(1, "a")
    play.drains(2, 60)
    play.ends(3, "a", UNTOUCHED)
    play.run()
    assert play.lines("send", "delete", "stop") == [
        "3 send a #0 +0s fails",
        "5 send a #0 +0s",
        "5 delete m1 fails",
        "7 delete m1",
        "7 stop",
    ]


def test_a_task_that_sqs_does_not_take_back_in_time_is_left_to_its_lease() -> None:
    play = Play(count=1)
    play.fails("send", 99)
    play.receives(1, "a")
    play.drains(2, 10)
    play.ends(3, "a", UNTOUCHED)
    play.run()
    assert play.lines("delete") == []
    assert play.log[-1] == "11 stop"


def test_a_drain_while_the_breaker_is_open_ends_the_worker() -> None:
    play = Play(count=2)
    play.receives(1, "a b")
    play.fault(2, "a")
    play.drains(3, 60)
    play.ends(4, "b", COPIED)
    assert play.run()[2:] == ["1 copy m1: a b", "2 withdraw m1", "4 send a #0 +5s", "4 delete m1", "4 stop"]


# Steps: tasks of other kinds.


STEP = LargeTask(TRANSFER.id, ref("data/big"), attempt=1)
NEXT = (Send(encode(LargeTask(TRANSFER.id, ref("data/next"))), 5), Send(encode(STEP)))
HANDED_ON = Outcome(Kind.HANDED_ON)


def step(count: int = 1) -> Play:
    """A step is received."""
    play = Play()
    play.receives_body(1, encode(STEP), count=count)
    return play


@pytest.mark.parametrize("count", [1, 3, 9])
def test_what_a_step_led_to_is_taken_before_its_message_is_deleted(count: int) -> None:
    play = step(count)
    play.ends(5, "big", HANDED_ON, led_to=NEXT)
    play.receives_nothing(6)
    assert play.run(until=7) == [
        "0 start",
        "0 poll",
        "1 perform m1: big",
        "1 poll",
        "5 send next #0 +5s; big #1 +0s",
        "5 delete m1",
        "6 poll",
    ]


def test_a_step_that_comes_a_second_time_is_left_to_its_first_receiver_for_a_lease() -> None:
    play = step(count=2)
    play.receives_nothing(3)
    assert play.run(until=50) == ["0 start", "0 poll", "1 poll", "3 poll"]


def test_a_step_is_never_left_where_only_the_dead_lose_their_messages() -> None:
    play = step(count=2)
    play.tasks.repeats = False
    play.ends(5, "big", HANDED_ON, led_to=NEXT)
    play.run(until=6)
    assert play.settling() == ["5 send next #0 +5s; big #1 +0s", "5 delete m1"]


def test_a_step_whose_sends_fail_is_settled_later() -> None:
    play = step()
    play.fails("send")
    play.ends(5, "big", HANDED_ON, led_to=NEXT)
    play.run(until=10)
    assert play.settling() == [
        "5 send next #0 +5s; big #1 +0s fails",
        "7 send next #0 +5s; big #1 +0s",
        "7 delete m1",
    ]


def test_a_failed_step_is_tried_again_and_what_it_led_to_is_sent_all_the_same() -> None:
    play = step()
    play.ends(5, "big", RETRYABLE, led_to=NEXT[:1])
    play.run(until=6)
    assert play.settling() == ["5 send next #0 +5s; big #2 +10s", "5 delete m1"]


def test_a_step_that_has_failed_for_good_is_a_dead_letter() -> None:
    play = step()
    play.ends(5, "big", FINAL, led_to=NEXT[:1])
    play.run(until=6)
    assert play.settling() == ["5 dead-letter big ObjectRefused", "5 send next #0 +5s", "5 delete m1"]


def test_a_step_is_given_back_when_an_endpoint_is_out_of_order() -> None:
    play = step()
    play.fault(5, "big")
    play.run(until=6)
    assert play.settling() == ["5 send big #1 +5s", "5 delete m1"]


def test_a_denied_step_that_is_given_back_leads_to_nothing_else() -> None:
    """What its failure would have led to would abort the upload that it is to go on with."""
    play = step()
    play.ends(5, "big", Outcome(Kind.FAILED, error=DENIED), led_to=NEXT[:1])
    play.drains(7, 50)
    play.run()
    assert play.settling() == ["7 send big #1 +0s", "7 delete m1"]


def test_a_step_is_abandoned_to_another_delivery_when_it_hangs_in_a_drain() -> None:
    play = step()
    play.drains(2, 50)
    play.receives_nothing(3)
    play.ends(60, "big", HANDED_ON, led_to=NEXT)
    play.run()
    assert play.lines("withdraw", "cancel") == ["2 withdraw m1", "42 cancel m1"]
    assert play.settling() == ["47 send big #1 +0s", "47 delete m1"]


def test_a_step_that_comes_while_nothing_is_begun_is_given_back() -> None:
    play = step()
    play.drains(0.5, 50)
    play.run()
    assert play.settling() == ["1 send big #1 +0s", "1 delete m1"]


def test_a_denied_step_waits_for_the_verdict_with_what_it_led_to() -> None:
    play = step()
    play.ends(2, "big", Outcome(Kind.FAILED, error=DENIED), led_to=NEXT[:1])
    play.receives(3, "a")
    play.ends(5, "a", COPIED)
    play.run(until=6)
    assert "dead-letter big ObjectDenied" in "\n".join(play.settling())
    assert "5 send next #0 +5s" in play.settling()


def test_what_is_handed_on_is_counted_but_is_no_object() -> None:
    play = step()
    play.ends(5, "big", Outcome(Kind.HANDED_ON, 9), led_to=NEXT)
    play.run(until=7)
    assert play.consumer.totals == {"handed on": 1, "bytes": 9, "dead_letters": 0}
    assert play.reports[-1][1].settled.done == 0


# Totals.


def test_totals_count_objects_by_outcome_and_proof_bytes_and_dead_letters() -> None:
    play = Play(count=4)
    play.receives(1, "a b c d e f")
    play.ends(2, "a b", COPIED)
    play.ends(3, "c", Outcome(Kind.COPIED, 100, Proof.TRANSPORT))
    play.receives(4, "g h")
    play.ends(5, "d", Outcome(Kind.GONE))
    play.ends(6, "e", FINAL)
    play.ends(7, "f", RETRYABLE)
    play.ends(8, "g", Outcome(Kind.SKIPPED))
    play.drains(9, 50)
    play.receives_nothing(10)
    play.ends(11, "h", UNTOUCHED)
    play.run()
    assert play.consumer.totals == {
        "copied": 3,
        "md5": 2,
        "transport": 1,
        "gone": 1,
        "failed": 2,
        "skipped": 1,
        "untouched": 1,
        "bytes": 114,
        "dead_letters": 1,
    }


def test_what_is_retried_is_counted_once() -> None:
    play = Play()
    play.fails("dead-letter", 2)
    play.fails("delete", 2)
    play.receives(1, "a b")
    play.ends(2, "a", COPIED)
    play.ends(3, "b", FINAL)
    play.run(until=30)
    assert play.settling()[-1] == "11 delete m1"
    assert play.consumer.totals == {"copied": 1, "md5": 1, "failed": 1, "bytes": 7, "dead_letters": 1}


def test_progress_is_reported_after_each_task_and_now_and_then_between() -> None:
    play = Play()
    play.receives(1, "a b c d")
    play.ends(2, "a", COPIED)
    play.ends(2.25, "b", COPIED)
    play.ends(3, "c", FINAL)
    play.ends(3.25, "d", Outcome(Kind.SKIPPED))
    play.run(until=20)
    told = [(at, report.settled, report.in_hand) for at, report in play.reports if at > 1]
    assert told == [
        (2.0, Tally(), Tally({"copied": 1, "md5": 1, "bytes": 7}, 1)),
        (3.0, Tally(), Tally({"copied": 2, "failed": 1, "md5": 2, "bytes": 14}, 2)),
        (
            3.25,
            Tally({"copied": 2, "failed": 1, "skipped": 1, "md5": 2, "bytes": 14, "dead_letters": 1}, 3),
            Tally(),
        ),
    ]
