"""EventBridge, as far as CloudFormation's own events go: a stack that is complete is announced to the rules.

moto's CloudFormation announces nothing, and its rules send the event itself whatever a target's `Input` says.
Rules that are matched send to queues; another kind of target is an error.
"""

# ruff: noqa: ANN401 - moto's objects are taken as they come

from __future__ import annotations

import json
from typing import Any

from moto.events.models import events_backends
from moto.sqs.models import sqs_backends


def announce(stack: Any) -> None:
    """Send what the rules of the stack's region send on its status.

    Source: CloudFormation User Guide, "Stack Status Change event detail".
    """
    event: Any = {
        "version": "0",
        "source": "aws.cloudformation",
        "detail-type": "CloudFormation Stack Status Change",
        "account": stack.account_id,
        "region": stack.region_name,
        "resources": [stack.stack_id],
        "detail": {"stack-id": stack.stack_id, "status-details": {"status": stack.status}},
    }
    for bus in events_backends[stack.account_id][stack.region_name].event_buses.values():
        for rule in bus.rules.values():
            if rule.state == "ENABLED" and rule.event_pattern.matches_event(event):
                for target in rule.targets:
                    _send(stack, target, event)


def _send(stack: Any, target: dict[str, Any], event: dict[str, Any]) -> None:
    service, region, _, name = target["Arn"].split(":")[2:6]
    assert service == "sqs", f"the embedded AWS sends no events to {target['Arn']}"
    body = target.get("Input") or json.dumps(event)
    sqs_backends[stack.account_id][region].send_message(name, body)
