"""Never an older version over a newer one, whoever is late."""

from __future__ import annotations

import threading

import msgspec

from tests.wire import KEY, between, bring, listed
from tests.wire.peer import Exchange, Peer
from worker.core.model import Kind, Outcome


def test_a_late_writer_of_an_older_version_is_refused(source: Peer, destination: Peer) -> None:
    """A has read version 1 and stalls; B copies version 2; then A's write arrives."""
    stalled, go_on = threading.Event(), threading.Event()

    def stall(exchange: Exchange) -> None:
        stalled.set()
        go_on.wait(20)
        destination.serve(exchange)

    source.put(b"version 1", KEY)
    old = listed(source)
    destination.next("PUT", stall)
    outcomes: list[Outcome] = []
    patient = between(source.url, destination.url)
    a = threading.Thread(target=lambda: outcomes.append(bring(patient, old)))
    a.start()
    assert stalled.wait(10)
    source.put(b"version 2", KEY)
    assert bring(between(source.url, destination.url), listed(source)).kind is Kind.COPIED
    go_on.set()
    a.join(20)
    assert [outcome.kind for outcome in outcomes] == [Kind.SKIPPED]
    assert destination.objects["destination", KEY].body == b"version 2"
    assert [head.headers["if-none-match"] for head in destination.heads if head.method == "PUT"] == ["*", "*"]


def test_a_source_overwritten_since_the_plan_is_copied_as_it_is_now(source: Peer, destination: Peer) -> None:
    source.put(b"version 1", KEY, content_type="text/plain")
    planned = listed(source)
    source.put(b"the second version", KEY, content_type="text/csv")
    assert bring(between(source.url, destination.url), planned).bytes == len(b"the second version")
    written = destination.objects["destination", KEY]
    assert (written.body, written.headers["content-type"]) == (b"the second version", "text/csv")
    assert [head.headers.get("if-match") is None for head in source.heads] == [False, True]


def test_a_destination_that_the_plan_saw_is_replaced_only_as_it_was_seen(
    source: Peer, destination: Peer
) -> None:
    source.put(b"version 2", KEY)
    destination.objects["destination", KEY] = seen = destination.put(b"version 1", "any")

    def overtaken(exchange: Exchange) -> None:
        destination.objects["destination", KEY] = destination.put(b"another's", "any")
        destination.serve(exchange)

    destination.next("PUT", overtaken)
    planned = msgspec.structs.replace(listed(source), destination_etag=seen.etag)
    outcome = bring(between(source.url, destination.url), planned)
    assert outcome.kind is Kind.COPIED
    conditions = [head.headers.get("if-match") for head in destination.heads if head.method == "PUT"]
    assert conditions[0] == f'"{seen.etag}"'
    assert conditions[1] not in {None, conditions[0]}
    assert destination.objects["destination", KEY].body == b"version 2"
