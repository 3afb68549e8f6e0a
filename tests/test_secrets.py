"""The search for secrets finds them wherever they are put, in each spelling, and nothing else."""

from __future__ import annotations

import base64
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.cloud import Cloud
from tests.secrets import Search

SECRET = "wJalr/XUt+nFEMI=K7MDENG"  # noqa: S105 - nobody's


@pytest.fixture
def search() -> Search:
    return Search({"the key": SECRET, "another": "not-to-be-found"})


@pytest.fixture
def own_cloud() -> Iterator[Cloud]:
    """An embedded AWS whose logs and queues are this test's alone."""
    with Cloud() as running:
        yield running


@pytest.mark.parametrize(
    "text",
    [
        SECRET,
        f"GET /?key={quote(SECRET, safe='')}",
        f"GET /?key={quote(SECRET)}",
        SECRET.replace("/", r"\/"),
        base64.b64encode(SECRET.encode()).decode(),
        SECRET.encode().hex(),
        b"\xff\x00" + SECRET.encode() + b"\xff",
    ],
)
def test_each_spelling_is_found(search: Search, text: str | bytes) -> None:
    search.text("text", "here", text)
    assert search.found == ["the key in text here"]


def test_what_is_not_there_is_not_found(search: Search) -> None:
    search.text("text", "here", SECRET[:-1] + SECRET.upper())
    assert search.found == []
    assert search.looked == {"text": 1}


def test_files_and_their_names(search: Search, tmp_path: Path) -> None:
    (tmp_path / "good").mkdir()
    (tmp_path / "good" / "file").write_text("nothing")
    (tmp_path / "bad").write_text(f"key={SECRET}\n")
    (tmp_path / quote(SECRET, safe="")).touch()
    search.folder(tmp_path)
    assert search.found == [
        f"the key in file {tmp_path / 'bad'}",
        f"the key in file name in {tmp_path}",
    ]
    assert search.looked == {"file": 3, "file name": 4}


@pytest.mark.parametrize(
    ("arguments", "environment", "kind"),
    [([SECRET], {}, "cmdline"), ([], {"KEY": SECRET}, "environ")],
)
def test_processes(search: Search, arguments: list[str], environment: dict[str, str], kind: str) -> None:
    command = [sys.executable, "-c", "import time; print(flush=True); time.sleep(60)", *arguments]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        search.processes([process.pid])
    finally:
        process.kill()
        process.communicate()
    assert search.found == [f"the key in {kind} {process.pid}"]


def test_log_events_and_messages(search: Search, own_cloud: Cloud) -> None:
    logs, sqs = own_cloud.client("logs"), own_cloud.client("sqs")
    logs.create_log_group(logGroupName="group")
    logs.create_log_stream(logGroupName="group", logStreamName="stream")
    queues = own_cloud.queue("tasks")
    now = int(time.time() * 1000)
    for word in ("harmless", SECRET):
        event = {"timestamp": now, "message": f"line {word}"}
        logs.put_log_events(logGroupName="group", logStreamName="stream", logEvents=[event])
        sqs.send_message(QueueUrl=queues.url, MessageBody=word)
    attribute = {"Detail": {"DataType": "String", "StringValue": f"a {SECRET}"}}
    sqs.send_message(QueueUrl=queues.dead_letter_url, MessageBody="task", MessageAttributes=attribute)
    search.log_events(own_cloud)
    search.messages(own_cloud)
    assert sorted(search.found) == sorted(
        [
            "the key in log event group stream",
            f"the key in message {queues.url}",
            f"the key in message {queues.dead_letter_url}",
        ]
    )
    assert search.looked == {"log event": 2, "message": 3}
    left = sqs.receive_message(QueueUrl=queues.url, MaxNumberOfMessages=10)["Messages"]
    assert len(left) == 2


@pytest.mark.parametrize("secrets", [{}, {"empty": ""}, {"short": "embedde"}])
def test_a_search_for_nothing_is_refused(secrets: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="at least one secret"):
        Search(secrets)
