"""Where secrets must not be: looks through files, processes, logs and queues for given ones, in any spelling.

    search = Search({"destination's key": keys.secret_access_key})
    search.folder(root)
    search.log_events(cloud)
    assert search.found == []

What it has looked at is counted, so that a test can make sure that there was something to look at.
"""

from __future__ import annotations

import base64
import contextlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.cloud import REGION, Cloud

SHORTEST = 8
"""Characters: anything shorter stands in a text by chance."""


def spellings(secret: str) -> set[bytes]:
    """A secret as it is, in a URL, in JSON, in base64 and in hexadecimal."""
    raw = secret.encode()
    texts = {secret, quote(secret, safe=""), quote(secret), json.dumps(secret)[1:-1]}
    texts.add(secret.replace("/", r"\/"))
    return {text.encode() for text in texts} | {base64.b64encode(raw).rstrip(b"="), raw.hex().encode()}


class Search:
    """One search for some secrets, each under the name by which it is reported.

    Attributes:
        found: what was found, as `name in place`.
        looked: how many texts of each kind were looked at.
    """

    def __init__(self, secrets: Mapping[str, str]) -> None:
        if not secrets or any(len(secret) < SHORTEST for secret in secrets.values()):
            raise ValueError(f"give at least one secret, each of {SHORTEST} characters or more")
        self.found: list[str] = []
        self.looked: Counter[str] = Counter()
        self._spellings = {name: spellings(secret) for name, secret in secrets.items()}

    def text(self, kind: str, place: str, text: str | bytes) -> None:
        """Look through one text."""
        self.looked[kind] += 1
        raw = text.encode() if isinstance(text, str) else text
        for name, spelt in self._spellings.items():
            if any(spelling in raw for spelling in spelt):
                self.found.append(f"{name} in {kind} {place}")

    def folder(self, folder: Path) -> None:
        """Look through every file below a folder, and through their names."""
        for path in sorted(folder.rglob("*")):
            self.text("file name", f"in {path.parent}", path.name)
            if path.is_file() and not path.is_symlink():
                self.text("file", str(path), path.read_bytes())

    def processes(self, pids: Iterable[int], *, environment: bool = True) -> None:
        """Look through the command lines of processes, and through what they were started with."""
        for pid in pids:
            for name in ("cmdline", *(["environ"] if environment else [])):
                with contextlib.suppress(OSError):  # it has ended
                    self.text(name, str(pid), Path(f"/proc/{pid}/{name}").read_bytes())

    def log_events(self, cloud: Cloud, region: str = REGION) -> None:
        """Look through all that is in CloudWatch Logs."""
        logs = cloud.client("logs", region)
        for group in _pages(logs, "describe_log_groups", "logGroups"):
            name = group["logGroupName"]
            for event in _pages(logs, "filter_log_events", "events", logGroupName=name):
                self.text("log event", f"{name} {event['logStreamName']}", event["message"])

    def messages(self, cloud: Cloud, region: str = REGION) -> None:
        """Look through all messages that can be received, of all queues; they stay there."""
        sqs = cloud.client("sqs", region)
        for url in sqs.list_queues().get("QueueUrls", []):
            held: list[dict[str, Any]] = []
            while some := sqs.receive_message(
                QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"], VisibilityTimeout=60
            ).get("Messages"):
                held += some
            for message in held:
                self.text("message", url, json.dumps(message, ensure_ascii=False))
                sqs.change_message_visibility(
                    QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0
                )


def _pages(client: Any, operation: str, field: str, **arguments: object) -> Iterable[Any]:  # noqa: ANN401
    for page in client.get_paginator(operation).paginate(**arguments):
        yield from page[field]
