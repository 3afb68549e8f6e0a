"""`fleetcopy verify`: compare the two sides, object by object."""

from __future__ import annotations

import argparse

from worker import config
from worker.aws.s3 import sides
from worker.commands.parsing import Commands, add
from worker.commands.planned import has_digest_etags
from worker.core.verdict import Finding
from worker.flow import log
from worker.flow.verify import verify
from worker.screen import bar


def offer(commands: Commands) -> None:
    """Offer the command."""
    command = add(commands, "verify", _verify, "compare the two sides, object by object")
    config.add_endpoints(command)
    config.add_option(command, "request-payer")


def _verify(options: argparse.Namespace) -> int:
    transfer = config.transfer(options)
    source, destination = sides(transfer)
    with bar("verifying") as shown:

        def report(finding: Finding) -> None:
            shown.write(f"{finding.match:9}  {log.printable(finding.key)}  ({finding.why})")

        verdict = verify(
            transfer,
            source=source.list(),
            destination=destination.list(),
            digests=has_digest_etags(source, destination),
            on_finding=report,
            on_progress=shown.update,
        )
    print(verdict)
    return 0 if verdict.proven else 1
