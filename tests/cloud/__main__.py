"""The embedded AWS by hand: `python -m tests.cloud` runs it until Ctrl-C and prints what to paste.

Its Spot Fleets have instances: what happens to them is told here.
"""

from __future__ import annotations

import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from uuid import uuid4

from tests.cloud import Cloud
from tests.cloud.fleet import Event, Fleet

SHOWN = (
    "AWS_ENDPOINT_URL",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_DEFAULT_REGION",
    "AWS_EC2_METADATA_DISABLED",
)
HINT = """
# In another shell, paste the lines above; it is empty, so for example:
#   aws s3 mb s3://source
#   aws s3 mb s3://destination --region eu-west-1
#   aws sqs create-queue --queue-name tasks
# What a Spot Fleet launches boots here, as processes; what happens to it is told below. To let an instance
# have an interruption notice (its two minutes are 12 seconds), or be gone without one:
#   curl $AWS_ENDPOINT_URL/_cloud/interrupt -d '{"instance": "i-..."}'
#   aws ec2 terminate-instances --instance-ids i-...
# Ctrl-C ends it, and all that is in it.
"""


def told(event: Event) -> str:
    """Return an event as a line."""
    instance = event.instance
    text = {
        "booted": f"boots{', ' if event.detail else ''}{event.detail}; its logs are in {instance.root}",
        "ready": f"is ready after {instance.ready - instance.launched:.1f} s",
        "noticed": f"has an interruption notice: {event.detail}",
        "rebalance": "has a rebalance recommendation",
        "ended": f"has ended: {event.detail}",
    }[event.kind]
    return f"{time.strftime('%H:%M:%S')} {instance.id} {text}\n"


def show(text: str) -> None:
    """Print at once."""
    sys.stdout.write(text)
    sys.stdout.flush()


def main() -> int:
    """Run until Ctrl-C or SIGTERM; return the exit code."""
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    root = Path(tempfile.gettempdir()) / f"fleetcopy-cloud-{uuid4().hex[:8]}"
    with Cloud() as cloud, Fleet(cloud, root, listener=lambda event: show(told(event))):
        environment = cloud.environment()
        show("".join(f"export {name}={environment[name]}\n" for name in SHOWN) + HINT)
        ended.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
