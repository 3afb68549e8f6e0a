"""The embedded AWS by hand: `python -m tests.cloud` runs it until Ctrl-C and prints what to paste."""

from __future__ import annotations

import signal
import sys
import threading

from tests.cloud import Cloud

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
# Ctrl-C ends it, and all that is in it.
"""


def main() -> int:
    """Run until Ctrl-C or SIGTERM; return the exit code."""
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with Cloud() as cloud:
        environment = cloud.environment()
        lines = [f"export {name}={environment[name]}\n" for name in SHOWN]
        sys.stdout.write("".join(lines) + HINT)
        sys.stdout.flush()
        ended.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
