"""What the tests of estimates share: tallies, prices and estimates in short."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from tests.core import transfer
from worker.core.bill import Submission
from worker.core.compare import Criterion
from worker.core.cost import Prices, parse
from worker.core.estimate import Estimate, Fleet, estimate
from worker.core.options import Options
from worker.core.plan import Step
from worker.core.route import Region, route
from worker.core.tally import Tally

HERE, THERE, ABROAD = Region("us-east-1", "aws"), Region("eu-west-1", "aws"), Region("cn-north-1", "aws-cn")

ROUND = """
as_of = "2026-11"
s3.STANDARD = {write = 5, read = 1}
s3.STANDARD_IA = {write = 50, read = 10, retrieval_per_gb = 2}
s3.GLACIER = {write = 500, read = 1}
sqs = {requests = 1_000_000}
between_regions = {default = 0.5}
internet = {default = [[0, 0.25]]}
instance = {type = "x1.large", vcpus = 2, network_gbps = 8, spot_per_hour = 3}
"""
"""Prices that are easy to add."""


def prices() -> Prices:
    return parse(ROUND)


def tallied(steps: Iterable[Step]) -> Tally:
    """The tally of steps."""
    tally = Tally("")
    list(tally.through(steps))
    return tally


def estimated(
    *steps: Step,
    options: Options | None = None,
    source: Region = HERE,
    destination: Region = THERE,
    fleet: Fleet | None = None,
    submission: Submission | None = None,
    by: Criterion = Criterion.ETAG,
) -> Estimate:
    """What steps in key order take, streamed between two regions by one instance if nothing else is said."""
    of = msgspec.structs.replace(transfer(), options=options or Options(strategy="stream"))
    return estimate(
        of,
        tallied(steps),
        submission or Submission(len(steps), 0, 1),
        by=by,
        route=route(of, source, destination),
        fleet=fleet or Fleet(1, 16, 8, 0.05),
        prices=prices(),
    )
