"""The protocol of owner and hints under an adversary: the real `flow.large`, every other thing simulated.

Workers, queue and S3 are played by one scheduler that a seed decides. Every call of S3 is a point at which it
may turn to something else: let another worker go on, stall this one, kill it before or after the effect, fail
the call, overwrite the source with as many bytes (or with what it has held before) or delete it, deliver a
message twice, late, or (a hint) never, or copy the object by other means. A part under way when its upload is
aborted may still arrive; S3 lists what has arrived, until it is aborted again.

Always: the destination is absent or one whole version that the source held, and never an older one than
before. In the end: nothing is left in the queue, every owner has come to an end, and no upload survives; but
for one that was made when another, who had received the same message, had already looked for what is left,
and whose maker then died: nobody can know of that one (`fleetcopy uploads abort` is for such).

Set FLEETCOPY_TEST_SEED to repeat one interleaving, FLEETCOPY_TEST_ROUNDS for more or fewer of them.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from random import Random

import msgspec
import pytest

from tests.core import transfer
from worker.core.compare import Seen
from worker.core.errors import (
    DestinationChangedError,
    InterruptedTransferError,
    ObjectGoneError,
    ServiceUnavailableError,
    SourceChangedError,
    UploadGoneError,
)
from worker.core.large import Move, decide
from worker.core.message import LargeTask, PartTask, Upload, decode, encode
from worker.core.model import Kind, ObjectRef, Outcome
from worker.core.parts import MIB, Part, Whole, etag_of
from worker.core.settle import Step, settle
from worker.core.transferrer import Cancellation, Original
from worker.flow.large import Large

SEED = int(os.environ.get("FLEETCOPY_TEST_SEED", "1"))
ROUNDS = int(os.environ.get("FLEETCOPY_TEST_ROUNDS", "0"))
TRANSFER = transfer()
PART = 64 * MIB
UNDER_WAY = 12.0
"""Seconds within which a part that is under way arrives, or never; `core.large.lateness` is above."""
WORKERS = 3
MOST_TURNS = 5_000


class Killed(BaseException):
    """A worker is no more."""


class ViolationError(AssertionError):
    """What must never be."""


class Actor:
    """A thread that runs only while the scheduler waits for it: code that can be left at any `pause`."""

    def __init__(self) -> None:
        self.busy = self.killed = False
        self.message: Message | None = None
        """What it works on."""
        self.swept = False
        """Whether its job has looked for what uploads are left."""
        self.unasked: list[str] = []
        """Uploads that its job has created when another with the same message had already looked."""
        self.error: BaseException | None = None
        self.lands_by: float | None = None
        """Where it uploads a part: when that arrives at the latest."""
        self._job: Callable[[], None] = lambda: None
        self._go, self._back = threading.Semaphore(0), threading.Semaphore(0)
        threading.Thread(target=self._run, daemon=True).start()

    def start(self, job: Callable[[], None]) -> None:
        """Give it a job, which begins at the next `resume`."""
        self._job, self.busy, self.killed, self.lands_by = job, True, False, None
        self.swept, self.unasked = False, []

    def resume(self) -> None:
        """Let it go on until its next pause, or its end."""
        self._go.release()
        self._back.acquire()
        if self.error:
            error, self.error = self.error, None
            raise error

    def kill(self) -> None:
        """Let its pause end in its death."""
        self.killed = True
        self.resume()

    def pause(self) -> None:
        """Called by its job: the scheduler may turn to something else."""
        self._back.release()
        self._go.acquire()
        if self.killed:
            raise Killed

    def _run(self) -> None:
        while True:
            self._go.acquire()
            try:
                self._job()
            except Killed:
                pass
            except BaseException as error:  # noqa: BLE001 - raised again by the scheduler
                self.error = error
            self.busy = False
            self._back.release()


ACTORS = [Actor() for _ in range(WORKERS)]


class Cancel:
    """A drain's word; waiting for it takes no time."""

    def __init__(self) -> None:
        self.drained = False

    def is_set(self) -> bool:
        """See `Cancellation`."""
        return self.drained

    def wait(self, timeout: float) -> bool:
        """See `Cancellation`."""
        del timeout
        return self.drained


class Message(msgspec.Struct):
    """A message of the queue: hidden until then; `held` while a worker has it."""

    body: str
    visible_at: float
    held: bool = False
    receipts: int = 0


Read = tuple[int, int]
"""What was read of the source: its version, and how many it had held by then."""


class World:
    """One interleaving: S3, queue, workers, clock; also a `core.transferrer.Multipart`.

    Args:
        seed: decides everything.
    """

    def __init__(self, seed: int) -> None:
        self.random = random = Random(seed)
        self.now = 0.0
        self.parts_planned = random.randint(1, 3)
        self.size = self.parts_planned * PART - random.randint(0, 9)
        self.provable = random.random() < 0.5
        self.source: int | None = 1
        self.version = 1
        self.held = [1]
        """What the source has held, one after the other."""
        self.published: tuple[int, str] | None = None
        """The destination: when the source held what it holds, ETag."""
        self.live: dict[str, dict[int, Read]] = {}
        """Uploads, as what was read by part."""
        self.left: dict[str, dict[int, Read]] = {}
        """What has arrived in aborted uploads."""
        self.completed: set[str] = set()
        """Uploads that have become objects."""
        self.landings: list[tuple[float, str, int, Read]] = []
        """Parts of dead workers that may still arrive: until when, upload, number, what was read."""
        self.queue: list[Message] = []
        self.ends: Counter[Kind] = Counter()
        self.dead_letters = 0
        self.turns = 0
        self.events = Counter[str]()
        self.loss = 0.1
        """Of a hint's deliveries."""
        self.fences = self.conditional = self.sends_first = True
        self._numbers = 0
        self._actor: Actor | None = None
        self._unknown: set[str] = set()
        """Uploads that nobody may know of."""
        self._stalled: dict[Actor, int] = {}
        """Turn until which a worker does not go on."""
        # How much of each kind of mischief there may be.
        self.mischief = {
            "kill": random.choice([0, 1, 3]),
            "fail": random.choice([0, 1, 3]),
            "stall": random.choice([0, 1, 3]),
            "overwrite": random.choice([0, 0, 1, 2]),
            "rival": random.choice([0, 0, 0, 1]),
            "delete": random.choice([0] * 9 + [1]),
            "twice": random.choice([0, 1, 3]),
            "late": random.choice([0, 2]),
            "lose": random.choice([0, 0, 2]),
            "drain": random.choice([0, 0, 1]),
        }
        self._large = Large(self, random)
        first = encode(
            LargeTask(TRANSFER.id, ObjectRef("k", self.size, self.etag(1), 0, destination_etag=""))
        )
        for _ in range(random.choice([1, 1, 2])):
            self.queue.append(Message(first, 0.0))

    def etag(self, version: int) -> str:
        """The source's ETag."""
        if not self.provable:
            return f"opaque{version}"
        return etag_of([self.part(version, number) for number in range(1, self.parts_planned + 1)])

    def part(self, version: int, number: int) -> Part:
        """A part, as S3 would know it."""
        size = min(PART, self.size - (number - 1) * PART)
        return Part(
            number, hashlib.md5(f"{version}/{number}".encode(), usedforsecurity=False).hexdigest(), size
        )

    # The scheduler.

    def run(self) -> None:
        """Until nothing is left to do."""
        try:
            while self._turn():
                self.turns += 1
                if self.turns > MOST_TURNS:
                    raise ViolationError("no progress")
        finally:
            for actor in ACTORS:
                if actor.busy:
                    self._actor = actor
                    actor.kill()
        self._check_end()

    def _turn(self) -> bool:
        awake = [actor for actor in ACTORS if actor.busy and self._stalled.get(actor, 0) <= self.turns]
        choices: list[Callable[[], None]] = []
        choices += [partial(self._resume, actor) for actor in awake] * 4
        idle = next((actor for actor in ACTORS if not actor.busy), None)
        visible = [one for one in self.queue if not one.held and one.visible_at <= self.now]
        if idle and visible:
            choices += [lambda: self._deliver(idle, self.random.choice(visible))] * 2
        later = self._next_moment()
        if later is not None:
            choices.append(partial(self._advance, later))
        if self.landings and (not choices or self.random.random() < 0.1):
            choices = [self._land]
        if not choices and any(actor.busy for actor in ACTORS):
            choices.append(lambda: None)  # time for mischief, until what is stalled goes on
        if not choices:
            return False
        self._mischief()
        self.random.choice(choices)()
        return True

    def _next_moment(self) -> float | None:
        """When something becomes visible, if no part under way must have arrived before."""
        moments = [one.visible_at for one in self.queue if not one.held and one.visible_at > self.now]
        if not moments:
            return None
        deadlines = [landing[0] for landing in self.landings]
        deadlines += [actor.lands_by for actor in ACTORS if actor.busy and actor.lands_by is not None]
        moment = min(moments)
        return moment if all(moment <= deadline for deadline in deadlines) else None

    def _advance(self, moment: float) -> None:
        self.now = moment

    def _resume(self, actor: Actor) -> None:
        self._actor = actor
        if self._may("stall", 0.05):
            self._stalled[actor] = self.turns + self.random.choice([20, 200])
        elif self._may("kill", 0.04):
            actor.kill()
        else:
            actor.resume()

    def _mischief(self) -> None:
        if self.source is not None and self._may("overwrite", 0.03):
            # With what it has held before, now and then.
            self.source = self.random.choice([self.version + 1] * 2 + [1])
            self.version = max(self.version, self.source)
            self.held.append(self.source)
        if self.source is not None and self._may("rival", 0.03):
            read = self.source, len(self.held)
            self._publish(dict.fromkeys(range(1, self.parts_planned + 1), read))
        if self._may("delete", 0.01):
            self.source = None

    def _may(self, what: str, probability: float) -> bool:
        if not self.mischief[what] or self.random.random() >= probability:
            return False
        self.mischief[what] -= 1
        self.events[what] += 1
        return True

    def _check_end(self) -> None:
        known = (self.live.keys() | self.left.keys()) - self._unknown
        if known:
            raise ViolationError(f"uploads survive: {self.live} {self.left}")
        if self.dead_letters:
            raise ViolationError("an object was given up")
        if not self.ends[Kind.GONE] and not self.published:
            raise ViolationError("the object has not arrived")

    # Queue and workers.

    def _deliver(self, actor: Actor, message: Message) -> None:
        if message.body.startswith('{"v":1,"kind":"part"') and self._may("lose", self.loss):
            self.queue.remove(message)
            return
        if self._may("late", 0.1):
            message.visible_at = self.now + self.random.choice([1, 20, 200])
            return
        message.receipts += 1
        message.held = not self._may("twice", 0.1)  # else others may receive it as well
        actor.message = message
        actor.start(lambda: self._work(message))

    def _work(self, message: Message) -> None:
        """What a worker does with a message: the step, what must be sent, and then the deletion."""
        task, cancel = decode(message.body, TRANSFER), Cancel()
        cancel.drained = self._may("drain", 0.1)
        try:
            if isinstance(task, LargeTask):
                step = self._large.own(task, cancel)
            else:
                assert isinstance(task, PartTask)
                step = self._large.hint(task, cancel)
            self._settle(message, task, step)
        except Killed:
            assert self._actor
            self._unknown |= set(self._actor.unasked)
            # Its lease ends by itself.
            message.held = False
            message.visible_at = max(message.visible_at, self.now + self.random.choice([2, 30]))
            raise

    def _settle(self, message: Message, task: LargeTask | PartTask, step: Step) -> None:
        results: list[tuple[ObjectRef, Outcome]] = [(task.ref, step.outcome)]
        settlement = settle(task, results, self.random, sends=step.sends)
        self.dead_letters += len(settlement.dead_letters)
        if not self.sends_first:
            self._delete(message)
        for send in settlement.sends:
            self._pause()
            self.queue.append(Message(send.body, self.now + send.delay))
        if self.sends_first:
            self._delete(message)
        self.ends[step.outcome.kind] += 1

    def _delete(self, message: Message) -> None:
        self._pause()
        self.queue = [one for one in self.queue if one is not message]

    def _pause(self) -> None:
        assert self._actor
        self._actor.pause()

    @contextmanager
    def _call(self) -> Iterator[None]:
        """One call of S3: may fail, or end the worker, before its effect or after."""
        self._pause()
        if self._may("fail", 0.04):
            raise ServiceUnavailableError("before")
        yield
        self._pause()
        if self._may("fail", 0.04):
            raise ServiceUnavailableError("after")

    # S3.

    def look(self, ref: ObjectRef, *, fenced: bool, cancel: Cancellation, part: int = 0) -> Original:
        """See `Multipart.look`."""
        del cancel
        with self._call():
            version = self._read(ref, fenced=fenced)
            seen = Seen(self.size, self.etag(version), self.provable)
        now = msgspec.structs.replace(ref, etag=seen.etag, size=self.size)
        return Original(now, seen, {}, self.part(version, part).size if part else self.size)

    def _read(self, ref: ObjectRef, *, fenced: bool) -> int:
        if self.source is None:
            raise ObjectGoneError("404")
        if fenced and self.fences and ref.etag != self.etag(self.source):
            raise SourceChangedError("412")
        return self.source

    def destination(self, ref: ObjectRef, cancel: Cancellation) -> Seen | None:
        """See `Multipart.destination`."""
        del ref, cancel
        with self._call():
            return Seen(self.size, self.published[1], self.provable) if self.published else None

    def create(self, original: Original, part_size: int, *, own: bool, cancel: Cancellation) -> Upload:
        """See `Multipart.create`."""
        del original, cancel
        assert part_size in {PART, self.size}
        with self._call():
            self._numbers += 1
            upload_id = f"u{self._numbers}"
            self.live[upload_id] = {}
            assert self._actor
            if self._another_has_looked(self._actor):
                self._actor.unasked.append(upload_id)
        return Upload(upload_id, part_size, "", own)

    def _another_has_looked(self, actor: Actor) -> bool:
        """Whether another receiver of an actor's message has swept, perhaps to the end of its step."""
        others = [one for one in ACTORS if one is not actor and one.busy and one.message is actor.message]
        return all(one is not actor.message for one in self.queue) or any(one.swept for one in others)

    def put(self, ref: ObjectRef, upload: Upload, number: int, cancel: Cancellation) -> Part:
        """See `Multipart.put`."""
        if cancel.is_set():
            raise InterruptedTransferError("cancelled")
        actor = self._actor
        assert actor
        with self._call():
            version = self._read(ref, fenced=True)
            read = version, len(self.held)
        try:
            with self._call():
                if upload.id not in self.live:
                    raise UploadGoneError("404")
                actor.lands_by = self.now + UNDER_WAY
            self._pause()
        except (Killed, ServiceUnavailableError):
            if actor.lands_by is not None:
                self.landings.append((actor.lands_by, upload.id, number, read))
            raise
        finally:
            actor.lands_by = None
        self._arrive(upload.id, number, read)
        self._pause()
        return self.part(version, number)

    def _land(self) -> None:
        landing = self.random.choice(self.landings)
        self.landings.remove(landing)
        _, upload_id, number, read = landing
        if self.random.random() < 0.7:
            self._arrive(upload_id, number, read)

    def _arrive(self, upload_id: str, number: int, read: Read) -> None:
        """A part that was under way is there, whatever has become of its upload, unless that is an object."""
        if upload_id in self.live:
            self.live[upload_id][number] = read
        elif upload_id not in self.completed:
            self.left.setdefault(upload_id, {})[number] = read
            self.events["late part"] += 1

    def parts(self, ref: ObjectRef, upload: Upload, first: int, last: int) -> list[Part]:
        """See `Multipart.parts`."""
        del ref
        with self._call():
            there = self.live.get(upload.id)
            if there is None:
                there = self.left.get(upload.id)
            if there is None:
                raise UploadGoneError("404")
            return [
                self.part(there[number][0], number) for number in sorted(there) if first <= number <= last
            ]

    def complete(
        self,
        ref: ObjectRef,
        upload: Upload,
        parts: Sequence[Part],
        whole: Whole,
        *,
        expect: str,
        cancel: Cancellation,
    ) -> None:
        """See `Multipart.complete`."""
        del ref, whole, cancel
        with self._call():
            there = self.live.get(upload.id)
            if there is None or len(there) < len(parts):
                raise UploadGoneError("404")
            if (self.published[1] if self.published else "") != expect and self.conditional:
                raise DestinationChangedError("412")
            self._publish(there)
            del self.live[upload.id]
            self.completed.add(upload.id)

    def _publish(self, there: dict[int, Read]) -> None:
        versions = {version for version, _ in there.values()}
        if len(versions) != 1 or len(there) != self.parts_planned:
            raise ViolationError(f"published a mixture: {there}")
        [version] = versions
        moment = max(moment for _, moment in there.values())
        if self.published and moment < self.published[0]:
            raise ViolationError(f"what the source held {moment}th has replaced its {self.published[0]}th")
        self._numbers += 1
        self.published = moment, self.etag(version) if self.provable else f"made{self._numbers}"

    def abort(self, ref: ObjectRef, upload_id: str) -> None:
        """See `Multipart.abort`."""
        del ref
        with self._call():
            self.live.pop(upload_id, None)
            self.left.pop(upload_id, None)

    def uploads(self, ref: ObjectRef) -> list[str]:
        """See `Multipart.uploads`."""
        del ref
        with self._call():
            assert self._actor
            self._actor.swept = True
            return [*self.live, *self.left]

    def combine(self, algorithm: str, sums: Iterable[tuple[str, int]]) -> str:
        """See `Multipart.combine`; no part has a checksum here."""
        raise NotImplementedError


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """No log of thousands of failures."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def interleave(seeds: Iterable[int]) -> Counter[str]:
    """Play them all; what happened in them.

    Raises:
        ViolationError: with the seed that shows it.
    """
    events: Counter[str] = Counter()
    for seed in seeds:
        world = World(seed)
        try:
            world.run()
        except ViolationError as violation:
            raise ViolationError(f"FLEETCOPY_TEST_SEED={seed}: {violation}") from violation
        events += world.events + Counter({str(kind): count for kind, count in world.ends.items()})
        events["turns"] += world.turns
    return events


def test_whatever_happens_the_object_arrives_whole_and_no_upload_is_left() -> None:
    rounds = ROUNDS or 400
    events = interleave(range(SEED, SEED + rounds))
    print(f"seeds {SEED} to {SEED + rounds - 1}: {dict(events)}")
    if not ROUNDS:
        for what in (
            "kill",
            "stall",
            "fail",
            "overwrite",
            "delete",
            "twice",
            "late",
            "lose",
            "drain",
            "late part",
        ):
            assert events[what], f"no interleaving had this: {what}"


@pytest.mark.slow
def test_ten_thousand_interleavings_more() -> None:
    first = SEED + 400
    print(f"seeds {first} to {first + 9_999}: {dict(interleave(range(first, first + 10_000)))}")


def test_an_object_of_which_no_part_arrives_is_given_up_and_leaves_no_upload(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("worker.core.large._MOST_STALLS", 2)
    for seed in range(20):
        world = World(seed)
        world.mischief = dict.fromkeys(world.mischief, 0) | {"lose": 1_000}
        world.loss = 1.0
        with pytest.raises(ViolationError, match="an object was given up"):
            world.run()
        assert not world.live
        assert world.published is None


# The proof that it can fail: each of these breaks one rule of the protocol.


def adopts(world: World) -> None:
    """An upload that is found by its key is taken for one's own."""
    create = world.create

    def adopt(original: Original, part_size: int, *, own: bool, cancel: Cancellation) -> Upload:
        if world.live:
            return Upload(next(iter(world.live)), part_size, "", own)
        return create(original, part_size, own=own, cancel=cancel)

    world.create = adopt  # type: ignore[method-assign]


def reads_any_version(world: World) -> None:
    """Parts are read without If-Match."""
    world.fences = False


def publishes_over_anything(world: World) -> None:
    """Complete has no condition."""
    world.conditional = False


def deletes_first(world: World) -> None:
    """A message is deleted before its successors are sent."""
    world.sends_first = False


def breaks(name: str, value: object) -> Callable[[pytest.MonkeyPatch], None]:
    """A part of `flow.large` does something else."""
    return lambda monkeypatch: monkeypatch.setattr(f"worker.flow.large.{name}", value)


def decides(old: Move, new: Move) -> object:
    """A decision that is always another."""

    def other(task: LargeTask, source: ObjectRef | None, parts: Sequence[Part] | None) -> Move:
        move = decide(task, source, parts)
        return new if move is old else move

    return other


def drop(self: Large, task: LargeTask, outcome: Outcome) -> Step:
    """End without a sweep."""
    del self, task
    return Step(outcome)


WORLDS = [adopts, reads_any_version, publishes_over_anything, deletes_first]
BREAKS = {
    "does not sweep": breaks("Large._end", drop),
    "sweeps once": breaks("lateness", lambda _size: 0),
    "does not hint again": breaks("decide", decides(Move.HINT_AGAIN, Move.WAIT)),
    "does not notice another version": breaks("decide", decides(Move.ABORT, Move.WAIT)),
    "completes what is no more": breaks("decide", decides(Move.START_OVER, Move.WAIT)),
}


@pytest.mark.slow
@pytest.mark.parametrize("change", WORLDS, ids=lambda change: change.__name__)
def test_without_a_rule_something_goes_wrong(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[World], None]
) -> None:
    build = World.__init__

    def changed(self: World, seed: int) -> None:
        build(self, seed)
        change(self)

    monkeypatch.setattr(World, "__init__", changed)
    with pytest.raises(ViolationError) as caught:
        interleave(range(3_000))
    print(change.__name__, caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("name", BREAKS)
def test_without_a_decision_something_goes_wrong(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    BREAKS[name](monkeypatch)
    with pytest.raises(ViolationError) as caught:
        interleave(range(3_000))
    print(name, caught.value)
