"""What `copy` and `submit` share: how objects are compared, and what is said of those left alone."""

from __future__ import annotations

from worker.aws.s3 import Bucket
from worker.core.options import Options
from worker.core.plan import Action, Step
from worker.flow import log

WHY = {
    Action.TOO_LARGE: "over 48.8 TiB, the most that S3 takes; it is left alone",
    Action.UNNAMEABLE: "its destination key would be empty or over 1,024 bytes; choose another prefix",
}
"""Why the plan leaves an object alone."""


def has_digest_etags(*buckets: Bucket) -> bool:
    """Whether plain ETags are MD5 digests in all of these."""
    return all(bucket.has_digest_etags() for bucket in buckets)


def check_tags(source: Bucket, options: Options) -> None:
    """Fail before anything is copied where tags would be lost unnoticed.

    Raises:
        ConfigurationError: they are to be kept, and may not be read.
    """
    if options.tags == "copy":
        source.probe_tags()


def left_alone(step: Step) -> str:
    """A line that names an object left alone, and why."""
    return f"{step.action}  {log.printable(step.ref.key)}  ({WHY[step.action]})"
