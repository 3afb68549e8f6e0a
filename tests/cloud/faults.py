"""Faults on demand: rules that match requests and say how the answer goes wrong.

A rule fires at most `times` times (None: always), and then only with its `probability`, drawn from its own
seeded generator, so that a run can be repeated. The first rule that fires decides; the rest of the server
does not know that it was meddled with.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

from tests.cloud import moto_sqs
from tests.cloud.journal import Call
from tests.cloud.web import Request, Response

ACTIONS = (
    "error",
    "reset",
    "lose",
    "truncate",
    "flip",
    "delay",
    "outlive",
    "duplicate",
    "twice",
    "fail_entries",
)
# What they carry comes in: a byte flips on its way here.
UPLOADS = ("s3:PutObject", "s3:UploadPart")
OUTLIVES_SECONDS = 30.0


@dataclass(slots=True)
class Rule:
    """One fault. None in `bucket`, `key` or `part` (a part's number) matches any.

    The actions: "error" answers `status` and `code` and does nothing, also with status 200, as S3 does to
    copies; "reset" closes the socket without an answer and does nothing; "lose" does what was asked and then
    resets; "truncate" sends half of the body; "flip" changes one byte of it, or of what is uploaded; "delay"
    waits `seconds` first; "outlive" lets a part that is uploaded land after its upload was aborted, for which
    it waits `seconds` at most; "duplicate" leaves received SQS messages visible, "twice" those that are
    received for the first time; "fail_entries" refuses the first entry of an SQS batch.
    """

    operation: str
    action: str
    bucket: str | None = None
    key: str | None = None
    part: int | None = None
    times: int | None = 1
    probability: float = 1.0
    seed: int | None = None
    status: int = 503
    code: str = "SlowDown"
    seconds: float = 0.0
    fired: int = 0
    _random: random.Random = field(default_factory=random.Random, repr=False)

    def __post_init__(self) -> None:
        if self.action not in ACTIONS:
            raise ValueError(self.action)
        self._random.seed(self.seed)

    def fires(self, call: Call) -> bool:
        """Return whether the rule strikes this call, and count it if so."""
        if self.operation != call.operation or (self.times is not None and self.fired >= self.times):
            return False
        if self.bucket not in (None, call.bucket) or self.key not in (None, call.key):
            return False
        if self.part not in (None, call.part):
            return False
        if self.probability < 1.0 and self._random.random() >= self.probability:
            return False
        self.fired += 1
        return True


class Faults:
    """The rules in force."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rules: list[Rule] = []

    def add(self, rule: Rule) -> None:
        """Put one more rule in force, after those that are."""
        with self._lock:
            self._rules.append(rule)

    def clear(self) -> None:
        """Put none in force."""
        with self._lock:
            self._rules.clear()

    def apply(self, call: Call, request: Request, perform: Callable[[], Response]) -> Response:
        """Answer a call, by `perform` where no rule says otherwise."""
        if not self._rules:
            return perform()
        with self._lock:
            rule = next((rule for rule in self._rules if rule.fires(call)), None)
        return perform() if rule is None else strike(rule, call, request, perform)


def strike(rule: Rule, call: Call, request: Request, perform: Callable[[], Response]) -> Response:
    """Answer a call the way the rule says."""
    match rule.action:
        case "error":
            return error_response(call.service, rule.status, rule.code)
        case "reset":
            return Response(0, reset=True)
        case "delay":
            time.sleep(rule.seconds)
        case "outlive":
            request.outlives = rule.seconds or OUTLIVES_SECONDS
        case "flip" if call.operation in UPLOADS:
            request.body = _flipped(request.body)
            return perform()
        case "duplicate" | "twice" | "fail_entries":
            # Nobody may receive or send between the call and what is done to it.
            with moto_sqs.CHANGED:
                response = perform()
                if rule.action == "fail_entries":
                    return _first_entry_failed(response)
                return _left_visible(response, first=rule.action == "twice")
    response = perform()
    return _spoilt(rule.action, response)


def _spoilt(action: str, response: Response) -> Response:
    if action == "lose":
        return Response(0, reset=True)
    if action == "truncate" and response.size:
        response.cut = response.size // 2
    if action == "flip" and response.size:
        pieces = [response.body] if response.content is None else response.content.pieces
        response.body, response.content = _flipped(b"".join(pieces)), None
    return response


def _flipped(body: bytes) -> bytes:
    middle = len(body) // 2
    return body[:middle] + bytes([body[middle] ^ 0x01]) + body[middle + 1 :] if body else body


def _left_visible(response: Response, *, first: bool) -> Response:
    for message in json.loads(response.body or b"{}").get("Messages", []):
        if not first or message["Attributes"]["ApproximateReceiveCount"] == "1":
            moto_sqs.make_visible(message["MessageId"])
    return response


def _first_entry_failed(response: Response) -> Response:
    answer = json.loads(response.body or b"{}")
    if not answer.get("Successful"):
        return response
    first = answer["Successful"].pop(0)
    moto_sqs.discard(first["MessageId"])
    failure = {"Id": first["Id"], "SenderFault": False, "Code": "InternalError", "Message": "injected"}
    answer["Failed"] = [failure, *answer.get("Failed", [])]
    response.body = json.dumps(answer).encode()
    return response


def error_response(
    service: str, status: int, code: str, message: str = "injected", **details: object
) -> Response:
    """Return an error the way the service writes it: XML for S3, with details, JSON for the others."""
    if service == "s3":
        body = (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            f"<Error><Code>{escape(code)}</Code><Message>{escape(message)}</Message>"
            f"{''.join(f'<{name}>{escape(str(value))}</{name}>' for name, value in details.items())}"
            "<RequestId>embedded</RequestId></Error>"
        )
        return Response(status, {"Content-Type": "application/xml"}, body.encode())
    headers = {
        "Content-Type": "application/x-amz-json-1.0",
        "x-amzn-query-error": f"{code};{'Sender' if status < 500 else 'Receiver'}",
    }
    body = json.dumps({"__type": f"com.amazonaws.{service}#{code}", "message": message})
    return Response(status, headers, body.encode())
