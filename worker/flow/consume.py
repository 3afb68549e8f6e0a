"""A worker process's heart: receive tasks, copy their objects, settle the messages.

One thread, `Consumer.run`'s, owns all state and does all of SQS but the receiving; `flow.streams` are the
hands, which only send it events.

The order of shutdown, which a drain begins and its seconds bound:
 1. nothing more is received, no object begun; the heartbeat goes on;
 2. objects under way finish, until a reserve before the end; the rest are stopped between two pieces;
 3. each task's remainder is sent, then its message deleted;
 4. the poll under way is awaited, since what it receives must be given back;
 5. what still hangs is abandoned to its lease, which ends by itself.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from random import Random

from worker.core import settle
from worker.core.breaker import Breaker, BreakerState
from worker.core.denials import Denials
from worker.core.errors import ConfigurationError, FleetcopyError, MessageError, ObjectDeniedError
from worker.core.lifecycle import Event as Move
from worker.core.lifecycle import State, advance
from worker.core.message import CopyTask, decode
from worker.core.model import UNTOUCHED, Kind, ObjectRef, Outcome, Transfer
from worker.core.progress import Report, Tally
from worker.core.tasks import LONGEST_LEASE, Entry, Message, Sender, TaskQueue
from worker.flow import log
from worker.flow.delivery import Delivery
from worker.flow.outbox import batches, send_batch
from worker.flow.streams import Drain, Event, Finished, Probed, Received, Streams, Surveyed

_RETRY_SECONDS = 2.0
_REPORT_SECONDS = 0.5
_LEASE_RESERVE = 3600
_SECOND = 2


class Consumer:
    """Works one transfer's queue until it is drained.

    Args:
        transfer: the one that this worker carries out.
        tasks: its queue.
        dead_letters: where to put what cannot succeed.
        streams: the hands.
        visibility: seconds of a lease; its heartbeat comes at a third of it.
        give_up: seconds for which an endpoint or the queue may be out of order.
        random: for the jitter of delays.
        on_report: told how far this process is, now and then and after each task.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        *,
        transfer: Transfer,
        tasks: TaskQueue,
        dead_letters: Sender,
        streams: Streams,
        visibility: int,
        give_up: float,
        random: Random,
        on_report: Callable[[Report], object] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.totals: Counter[str] = Counter()
        """Since the start: objects by outcome and by proof, `bytes`, `dead_letters`."""
        self._state = State.STARTING
        self._transfer = transfer
        self._id = transfer.id
        self._tasks = tasks
        self._dead_letters = dead_letters
        self._streams = streams
        self._visibility = visibility
        self._give_up_seconds = give_up
        self._random = random
        self._on_report = on_report
        self._clock = clock
        self._size_settled = 0
        self._deliveries: list[Delivery] = []
        self._denials: Denials[tuple[Delivery, ObjectRef, Outcome]] = Denials()
        self._breaker = Breaker()
        self._polling = False
        self._probing = False
        self._queue_is_dry = False
        self._receiving_failed_since: float | None = None
        self._settling_failed_since: float | None = None
        self._poll_at = 0.0
        self._beat_at = 0.0
        self._report_at = 0.0
        self._cancel_at = self._abandon_at = float("inf")

    def drain(self, seconds: float) -> None:
        """Stop within `seconds`; may be called from any thread, and again with less."""
        self._streams.events.put(Drain(seconds))

    def run(self) -> None:
        """Work until drained.

        Raises:
            FleetcopyError: an endpoint or the queue has been out of order for too long.
        """
        self._streams.start()
        self._state = advance(self._state, Move.READY)
        log.info("ready", transfer=self._id, streams=self._streams.count)
        while not self._is_over():
            for event in self._streams.gather(self._patience()):
                self._handle(event)
            now = self._clock()
            self._keep_time(now)
            if self._on_report and now >= self._report_at:
                self._on_report(self._whole_report(now))
        self._state = advance(self._state, Move.DONE)
        self._streams.stop()
        log.info("stopped", transfer=self._id, abandoned=len(self._deliveries), **self.totals)

    # Events.

    def _handle(self, event: Event) -> None:
        match event:
            case Received():
                self._received(event)
            case Surveyed():
                for ref in event.proven:
                    event.delivery.finish(ref, Outcome(Kind.SKIPPED))
                self._streams.copy(event.delivery, event.rest)
                self._settle_if_finished(event.delivery)
            case Finished():
                self._finished(event)
            case Probed():
                self._probed(event)
            case Drain():
                self._drain(event.seconds)

    def _received(self, event: Received) -> None:
        now = self._clock()
        self._polling = False
        self._queue_is_dry = event.message is None and event.error is None
        if event.error:
            self._receiving_failed_since = self._receiving_failed_since or now
            self._poll_at = now + _RETRY_SECONDS
            log.error("receive failed", transfer=self._id, why=str(event.error))
            return
        self._receiving_failed_since = None
        if event.message:
            self._accept(event.message, now)

    def _accept(self, message: Message, now: float) -> None:
        try:
            task = decode(message.body, self._transfer)
        except MessageError as error:
            delivery = Delivery(message, None, now)
            self._decide(delivery, settle.reject(message.body, error, self._id))
            log.error("rejected", transfer=self._id, reason=error.reason, why=str(error))
            self._deliveries.append(delivery)
            self._settle(delivery)
            return
        if message.receive_count == _SECOND and self._tasks.repeats and not isinstance(task, CopyTask):
            # A step is much work, and the queue may deliver twice: this lease is left to end by itself.
            # A first receiver that lives renews it, or deletes; else the third takes the step.
            return
        delivery = Delivery(message, task, now)
        self._deliveries.append(delivery)
        if not self._takes_work:
            delivery.abandon()
        elif not isinstance(task, CopyTask):
            self._streams.perform(delivery, task)
        elif message.receive_count > settle.SPLIT_ABOVE and len(task.objects) > 1:
            delivery.abandon()
            self._decide(delivery, settle.split(task))
        elif message.receive_count > 1:
            self._streams.survey(delivery, task)
        else:
            self._streams.copy(delivery, task.objects)
        self._settle_if_finished(delivery)

    def _finished(self, event: Finished) -> None:
        error = event.outcome.error
        event.delivery.sends = event.sends
        if event.outcome.kind is Kind.COPIED:
            self._breaker.copied()
            for delivery, ref, outcome in self._denials.copied(event.began):
                self._conclude(delivery, ref, outcome)
        if isinstance(error, ObjectDeniedError) and self._takes_work:
            self._denials.add((event.delivery, event.ref, event.outcome), event.ended)
            if self._denials.blame_endpoint:
                self._trip(ConfigurationError(f"{error}. So far every object is denied"))
        elif isinstance(error, ObjectDeniedError):
            self._conclude(event.delivery, event.ref, UNTOUCHED)
        elif error and error.blames_endpoint:
            self._trip(error)
            self._conclude(event.delivery, event.ref, Outcome(Kind.UNTOUCHED, error=error))
        else:
            self._conclude(event.delivery, event.ref, event.outcome)

    def _conclude(self, delivery: Delivery, ref: ObjectRef, outcome: Outcome) -> None:
        if outcome.kind is Kind.UNTOUCHED:
            delivery.sends = ()  # what a failure would have led to
        delivery.finish(ref, outcome)
        fields = {"transfer": self._id, "key": ref.key, "outcome": outcome.kind}
        if outcome.kind is Kind.COPIED:
            log.debug("object", **fields, bytes=outcome.bytes, proof=outcome.proof)
        elif outcome.kind in {Kind.FAILED, Kind.ARCHIVED}:
            reason = outcome.error.reason if outcome.error else None
            log.warning("object", **fields, reason=reason, why=str(outcome.error))
        self._settle_if_finished(delivery)

    def _trip(self, error: FleetcopyError) -> None:
        """An endpoint is out of order: give back what is in hand, and receive nothing until it is not."""
        before = self._breaker.state
        self._breaker.trip(self._clock())
        if before is not BreakerState.OPEN:
            log.error("endpoint out of order", reason=error.reason, why=str(error), pause=self._breaker.pause)
        for delivery in self._deliveries:
            delivery.withdrawn.set()
        self._give_back_denied()

    def _give_back_denied(self) -> None:
        for delivery, ref, _ in self._denials.take_all():
            self._conclude(delivery, ref, UNTOUCHED)

    def _probed(self, event: Probed) -> None:
        self._probing = False
        if event.error:
            self._breaker.trip(self._clock())
            log.error("probe", why=str(event.error), pause=self._breaker.pause)
        else:
            self._breaker.probed(self._clock())
            log.info("probe", why="both endpoints answer")

    def _drain(self, seconds: float) -> None:
        now = self._clock()
        self._state = advance(self._state, Move.DRAIN)
        reserve = min(10.0, seconds / 5)
        self._cancel_at = min(self._cancel_at, now + seconds - reserve)
        self._abandon_at = min(self._abandon_at, now + seconds - reserve / 2)
        log.info("draining", transfer=self._id, seconds=seconds, tasks=len(self._deliveries))
        for delivery in self._deliveries:
            delivery.withdrawn.set()
        self._give_back_denied()

    # Settling.

    def _settle_if_finished(self, delivery: Delivery) -> None:
        if not delivery.finished or delivery not in self._deliveries:
            return
        if delivery.settlement is None:
            assert delivery.task
            hold_back = 0 if self._breaker.state is BreakerState.CLOSED else int(self._breaker.pause)
            self._decide(
                delivery,
                settle.settle(
                    delivery.task,
                    delivery.results,
                    self._random,
                    sends=delivery.sends,
                    hold_back=hold_back,
                ),
            )
        self._settle(delivery)

    def _decide(self, delivery: Delivery, settlement: settle.Settlement) -> None:
        """How the delivery is to be settled, and so what must be taken before its message is deleted."""
        delivery.settlement = settlement
        dead = (Entry(letter.body, attributes=letter.attributes) for letter in settlement.dead_letters)
        sends = (Entry(send.body, send.delay) for send in settlement.sends)
        delivery.outbox = [(self._dead_letters, batch) for batch in batches(dead)]
        delivery.outbox += [(self._tasks, batch) for batch in batches(sends)]

    def _settle(self, delivery: Delivery) -> None:
        """Send what must be sent, then delete; after a failure of SQS, again later, under the same lease."""
        try:
            self._send_and_delete(delivery)
        except FleetcopyError as error:
            now = self._clock()
            delivery.retry_at = now + _RETRY_SECONDS
            self._settling_failed_since = self._settling_failed_since or now
            log.error("settling failed", transfer=self._id, why=str(error))
            return
        self._settling_failed_since = None
        self._deliveries.remove(delivery)
        self._report(delivery)

    def _send_and_delete(self, delivery: Delivery) -> None:
        if delivery.lost and not delivery.done:
            return  # the message is visible again: what is left belongs to its next receiver
        while delivery.outbox:
            taker, batch = delivery.outbox[0]
            # One try: the next is this thread's too, which has heartbeats to send in between.
            send_batch(taker, batch, self._random, delivery.cancel.wait, tries=1)
            delivery.outbox.pop(0)
        self._tasks.delete(delivery.message.receipt)

    def _report(self, delivery: Delivery) -> None:
        tally = delivery.tally()
        self.totals.update(tally.counts)
        self._size_settled += tally.size
        if delivery.settlement and not delivery.lost:
            self.totals["dead_letters"] += len(delivery.settlement.dead_letters)
        if delivery.task:
            log.info(
                "task",
                transfer=self._id,
                task=delivery.task.objects[0].key,
                attempt=delivery.task.attempt,
                received=delivery.message.receive_count,
                ms=round((self._clock() - delivery.received) * 1000),
                **tally.counts,
            )
        self._report_at = 0.0

    def _whole_report(self, now: float) -> Report:
        """What is settled, and what of the tasks in hand is done."""
        self._report_at = now + _REPORT_SECONDS
        in_hand = sum((delivery.tally() for delivery in self._deliveries), Tally())
        return Report(Tally(dict(self.totals), self._size_settled), in_hand)

    # Time.

    def _patience(self) -> float:
        """Seconds until something is due."""
        due = [self._beat_at, self._cancel_at, self._abandon_at]
        due += [delivery.retry_at for delivery in self._deliveries if delivery.finished]
        if self._wants_probe():
            due.append(self._breaker.probe_at)
        if self._wants_message():
            due.append(self._poll_at)
        return max(0.0, min(due) - self._clock())

    @property
    def _takes_work(self) -> bool:
        return self._state is State.RUNNING and self._breaker.state is not BreakerState.OPEN

    @property
    def _in_hand(self) -> int:
        """Objects that wait or are under way, those that wait for a verdict on their denial left out."""
        return sum(delivery.unfinished for delivery in self._deliveries) - len(self._denials)

    def _wants_message(self) -> bool:
        unsettled = any(delivery.finished for delivery in self._deliveries)
        return (
            self._takes_work and not self._polling and not unsettled and self._in_hand < self._streams.count
        )

    def _wants_probe(self) -> bool:
        return self._breaker.state is BreakerState.OPEN and not self._probing

    def _keep_time(self, now: float) -> None:
        """Do what is due."""
        if now >= self._beat_at:
            self._beat(now)
        if now >= self._cancel_at:
            self._cancel_at = float("inf")
            for delivery in self._deliveries:
                delivery.cancel.set()
        if now >= self._abandon_at:
            for delivery in list(self._deliveries):
                delivery.abandon()
                self._settle_if_finished(delivery)
        self._decide_last_denials()
        for delivery in self._deliveries:
            if delivery.finished and now >= delivery.retry_at:
                self._settle_if_finished(delivery)
                break  # one a turn: SQS may be slow, and a heartbeat due
        if self._wants_probe() and now >= self._breaker.probe_at:
            self._probing = True
            self._streams.probe()
        if self._wants_message() and now >= self._poll_at:
            self._polling = True
            self._streams.poll()
        self._give_up(now)

    def _beat(self, now: float) -> None:
        """Renew the leases; let go of a task before SQS ends its lease for good."""
        self._beat_at = now + self._visibility / 3
        held = {delivery.message.receipt: delivery for delivery in self._deliveries}
        for delivery in list(held.values()):
            self._let_go_if_old(delivery, now - delivery.received)
        try:
            lost = self._tasks.extend(list(held), self._visibility)
        except FleetcopyError as error:
            log.error("heartbeat failed", transfer=self._id, why=str(error))
            return
        for receipt in lost:
            held[receipt].lost = True
            held[receipt].withdrawn.set()
            log.warning("lease lost", transfer=self._id)

    def _let_go_if_old(self, delivery: Delivery, age: float) -> None:
        if age > LONGEST_LEASE - _LEASE_RESERVE:
            delivery.withdrawn.set()
            delivery.cancel.set()
            self._give_back_denied()
        if age > LONGEST_LEASE - _LEASE_RESERVE / 2:
            delivery.abandon()
            self._settle_if_finished(delivery)

    def _decide_last_denials(self) -> None:
        """With nothing else left to try, what is denied is denied by itself."""
        if len(self._denials) and self._queue_is_dry and not self._in_hand:
            for delivery, ref, outcome in self._denials.take_all():
                self._conclude(delivery, ref, outcome)

    def _give_up(self, now: float) -> None:
        if self._breaker.failing_for(now) > self._give_up_seconds:
            raise ConfigurationError(
                "an endpoint has been out of order for too long; see the log before this"
            )
        failures = (self._receiving_failed_since, self._settling_failed_since)
        if any(since is not None and now - since > self._give_up_seconds for since in failures):
            raise ConfigurationError("the queue has been out of order for too long; see the log before this")

    def _is_over(self) -> bool:
        if self._state is not State.DRAINING:
            return False
        return (not self._deliveries and not self._polling) or self._clock() >= self._abandon_at
