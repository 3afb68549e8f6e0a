"""The `fleetcopy` command: reads options, wires objects together, and turns errors into exit codes."""

from __future__ import annotations

import argparse
import gc
import importlib.metadata
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from worker import config, screen
from worker.aws.releases import Shelf
from worker.aws.s3 import Bucket
from worker.aws.sqs import Queue
from worker.core import errors
from worker.core.model import Kind, Transfer
from worker.core.plan import Action, Step
from worker.core.release import Place
from worker.core.verdict import Finding
from worker.flow import child, listing_files, log, release, supervise
from worker.flow.local import LocalTransfer
from worker.flow.local_queue import Hub
from worker.flow.submit import submit
from worker.flow.systemd import Systemd
from worker.flow.verify import verify

# What only some commands and settings need is imported where they begin: these take longer than a small copy.
if TYPE_CHECKING:
    from tqdm import tqdm

    from worker.aws.metadata import Metadata

_EPILOG = """exit status:
  0    done; a drained worker too
  1    differences, or objects that were not copied
  2    usage: an option, a setting or a listing file
  3    permission or configuration
  4    a service is unavailable
  130  interrupted: a copy before all was there, any other command by a second signal
"""

_LOG_CLOSE_SECONDS = 5

_GIVE_UP_SECONDS = 900.0
"""For which a fleet's worker bears an endpoint or a queue out of order: somebody may be mending it."""

_COPY_GIVE_UP_SECONDS = 60.0
"""The same of a copy, which somebody waits for and can start again."""

_FAILURES_SHOWN = 20

_WHY = {
    Action.TOO_LARGE: "over 5 GiB, the most that one PUT takes; it is left alone",
    Action.UNNAMEABLE: "its destination key would be empty or over 1,024 bytes; choose another prefix",
}


def exit_code(error: BaseException) -> int:
    """The one place that turns errors into exit codes."""
    match error:
        case errors.UsageError():
            return 2
        case errors.ConfigurationError():
            return 3
        case errors.ServiceUnavailableError() | errors.WorkerCrashedError():
            return 4
        case supervise.Interrupted() | KeyboardInterrupt():
            return 130
        case _:
            return 1


def main() -> None:
    """Run the command line; never returns."""
    try:
        options = _parser().parse_args()
        sys.exit(options.run(options))
    except (errors.FleetcopyError, supervise.Interrupted, KeyboardInterrupt) as error:
        print(f"fleetcopy: {error or 'interrupted'}", file=sys.stderr)
        sys.exit(exit_code(error))
    except BrokenPipeError:
        sys.exit(1)  # the reader of our output is gone, and there is nobody to tell
    finally:
        # At its end the interpreter looks through all that botocore loaded for garbage: a tenth of a second.
        gc.freeze()


class _Command(argparse.ArgumentParser):
    """Takes SOURCE and DESTINATION wherever they stand among the options, though both may be left out."""

    _intermixed = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:  # noqa: ANN401 - overloaded
        """See argparse: it gives up on an optional positional at the first option that follows."""
        if self._intermixed or self._subparsers is not None:
            return super().parse_known_args(args, namespace)
        self._intermixed = True
        return self.parse_known_intermixed_args(args, namespace)


_Commands: TypeAlias = "argparse._SubParsersAction[_Command]"  # noqa: SLF001 - it has no other name


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fleetcopy",
        description="Moves S3 buckets that are too big, too far or too fenced-off for aws s3 sync.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    version = importlib.metadata.version("fleetcopy")
    parser.add_argument("--version", action="version", version=f"fleetcopy {version}")
    commands = parser.add_subparsers(
        title="commands", required=True, metavar="COMMAND", parser_class=_Command
    )
    for offer in (_offer_copy, _offer_submit, _offer_work, _offer_verify, _offer_release, _offer_config):
        offer(commands)
    return parser


def _offer_copy(commands: _Commands) -> None:
    command = _command(commands, "copy", _copy, "copy on this machine what differs, without a queue")
    config.add_endpoints(command)
    for name in ("processes", "streams", "drain-seconds", "log-level"):
        config.add_option(command, name)


def _offer_submit(commands: _Commands) -> None:
    command = _command(commands, "submit", _submit, "list both sides and queue a task for what differs")
    config.add_endpoints(command)
    config.add_option(command, "queue")
    command.add_argument(
        "--from",
        dest="listings",
        metavar="PATH",
        type=Path,
        action="append",
        help="list the source from a saved file, not from its bucket: what `aws s3api list-objects-v2` "
        "printed as JSON, plain or .gz; or from a folder of such files; may be given again",
    )


def _offer_work(commands: _Commands) -> None:
    command = _command(commands, "work", _work, "copy what the queue's tasks name")
    config.add_endpoints(command)
    for name in ("queue", "processes", "streams", "visibility-seconds", "drain-seconds"):
        config.add_option(command, name)
    command.add_argument(
        "--until-empty",
        action="store_true",
        help="stop once the queue has held nothing, in flight neither, for --empty-seconds; "
        "without this, work until told to stop",
    )
    for name in ("empty-seconds", "spot-notices", "log-level", "log-group"):
        config.add_option(command, name)


def _offer_verify(commands: _Commands) -> None:
    config.add_endpoints(_command(commands, "verify", _verify, "compare the two sides, object by object"))


def _offer_release(commands: _Commands) -> None:
    command = commands.add_parser("release", help="build and publish what an instance installs")
    command.description = "Build and publish what an instance of the Spot Fleet installs."
    releases = command.add_subparsers(title="commands", required=True, metavar="COMMAND")

    build = _command(
        releases, "build", _release_build, "make the release of a checkout, and print its folder"
    )
    build.add_argument(
        "--checkout",
        metavar="DIR",
        type=Path,
        default=Path(),
        help="of fleetcopy's repository; default: here",
    )
    build.add_argument(
        "--output", metavar="DIR", type=Path, help="where releases go; default: dist, in the checkout"
    )

    summary = "upload a release, and print the stack's parameters that name it"
    publish = _command(releases, "publish", _release_publish, summary)
    publish.add_argument("place", metavar="URI", help="where releases are, s3://bucket or s3://bucket/prefix")
    publish.add_argument(
        "release", metavar="RELEASE", type=Path, nargs="?", help="its folder; default: the newest in dist"
    )


def _offer_config(commands: _Commands) -> None:
    command = _command(commands, "config", _config, "show the settings, and where each comes from")
    config.add_endpoints(command)
    for setting in config.SETTINGS_OF_WORK:
        config.add_option(command, setting.name)


def _command(
    commands: _Commands,
    name: str,
    run: Callable[[argparse.Namespace], int],
    summary: str,
) -> argparse.ArgumentParser:
    command = commands.add_parser(
        name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.", allow_abbrev=False
    )
    command.set_defaults(run=run)
    return command


def _bar(text: str) -> tqdm[NoReturn]:
    """A progress bar on a terminal; silent elsewhere."""
    from tqdm import tqdm  # noqa: PLC0415

    return tqdm(desc=text, unit=" objects", unit_scale=True, disable=None, leave=False, mininterval=0.2)


def _digests(*buckets: Bucket) -> bool:
    return all(bucket.has_digest_etags() for bucket in buckets)


def _submit(options: argparse.Namespace) -> int:
    transfer, queue = config.transfer(options), Queue(config.queue_url(options))
    files = listing_files.find(options.listings) if options.listings else []
    source = Bucket(transfer.source, "source")
    destination = Bucket(transfer.destination, "destination")
    queue.depth()
    destination.probe()
    with _bar("submitting") as bar:

        def report(step: Step) -> None:
            bar.write(_left_alone(step), file=sys.stderr)

        counts = submit(
            transfer,
            queue,
            source=listing_files.merged(files, transfer.source.prefix) if files else source.list(),
            destination=destination.list(),
            digests=_digests(destination) if files else _digests(source, destination),
            random=Random(),  # noqa: S311 - an order of tasks, no secret
            on_progress=bar.update,
            on_step=report,
        )
    listed = sum(counts[action] for action in Action)
    parts = ", ".join(f"{counts[action]:,} {action}" for action in Action)
    print(f"listed {listed:,} objects: {parts}")
    print(f"sent {counts['tasks']:,} tasks for {counts['bytes']:,} bytes; transfer {transfer.id}")
    return 1 if any(counts[action] for action in _WHY) else 0


def _copy(options: argparse.Namespace) -> int:
    transfer, hub, began = config.transfer(options), Hub(), time.monotonic()
    config.refuse_proxies(transfer)
    settings = child.ChildSettings(
        transfer=transfer,
        queue_url=None,
        streams=config.integer(options, "streams"),
        visibility=config.integer(options, "visibility-seconds"),
        drain=0,
        give_up=_COPY_GIVE_UP_SECONDS,
        log_level=config.text(options, "log-level") or "warning",
        ca_bundle=config.ca_bundle(),
    )
    supervisor = supervise.Supervisor(
        settings,
        processes=config.processes(options),
        drain_seconds=config.integer(options, "drain-seconds"),
        until_empty=None,
        depth=hub.depth,
        connect=hub.connect,
        systemd=Systemd(None, None),
    )

    def plan(counts: Counter[str]) -> None:
        source = Bucket(transfer.source, "source")
        destination = Bucket(transfer.destination, "destination")
        submit(
            transfer,
            hub,
            source=source.list(),
            destination=destination.list(),
            digests=_digests(source, destination),
            random=Random(),  # noqa: S311 - an order of tasks, no secret
            counts=counts,
            on_step=lambda step: shown.say(_left_alone(step)),
        )

    local = LocalTransfer(hub, supervisor, plan)
    shown = screen.Screen(sys.stderr, local.progress, time.monotonic)
    log.to_person(shown.say, settings.log_level)
    supervisor.mind_signals()
    with shown:
        local.run()
    return _conclude(local, hub, time.monotonic() - began)


def _conclude(local: LocalTransfer, hub: Hub, seconds: float) -> int:
    """Say how a copy ended; its exit code."""
    progress = local.progress()
    for failure in hub.failures[:_FAILURES_SHOWN]:
        text = f"failed  {log.printable(failure.key)}  ({failure.reason}: {log.printable(failure.detail)})"
        print(text, file=sys.stderr)
    if hub.failed > _FAILURES_SHOWN:
        print(f"failed  and {hub.failed - _FAILURES_SHOWN:,} more", file=sys.stderr)
    print(screen.summary(progress, seconds))
    if not local.complete:
        print("stopped before all was copied; the same command copies the rest", file=sys.stderr)
        return 130
    archived = progress.tally.counts.get(Kind.ARCHIVED, 0)
    return 1 if hub.failed or archived or any(progress.planned.get(action) for action in _WHY) else 0


def _left_alone(step: Step) -> str:
    return f"{step.action}  {log.printable(step.ref.key)}  ({_WHY[step.action]})"


def _work(options: argparse.Namespace) -> int:
    transfer, queue = config.transfer(options), Queue(config.queue_url(options))
    config.refuse_proxies(transfer)
    settings = child.ChildSettings(
        transfer=transfer,
        queue_url=queue.url,
        streams=config.integer(options, "streams"),
        visibility=config.integer(options, "visibility-seconds"),
        drain=config.integer(options, "drain-seconds"),
        give_up=_GIVE_UP_SECONDS,
        log_level=config.text(options, "log-level") or "info",
        ca_bundle=config.ca_bundle(),
    )
    log.to_stream(sys.stderr, settings.log_level)
    systemd = Systemd(config.notify_socket(), config.watchdog())
    supervisor = supervise.Supervisor(
        settings,
        processes=config.processes(options),
        drain_seconds=settings.drain,
        until_empty=config.integer(options, "empty-seconds") if options.until_empty else None,
        depth=queue.depth,
        systemd=systemd,
    )
    supervisor.mind_signals()
    systemd.status("starting")
    url, group = config.metadata_url(options), config.text(options, "log-group")
    instance = _watch(url, supervisor) if url else None
    with _cloudwatch(group, config.log_stream(instance) if group else ""):
        _check_reach(transfer, queue)
        return 0 if supervisor.run() else 1


def _watch(url: str, supervisor: supervise.Supervisor) -> str | None:
    """Watch for interruption notices; the id of this EC2 instance, None where the service does not tell."""
    from worker.aws.metadata import Metadata  # noqa: PLC0415
    from worker.flow.watch import Watch  # noqa: PLC0415

    metadata = Metadata(url, time.monotonic)
    instance = _instance_id(metadata)
    Watch(metadata, supervisor.notice).start()
    return instance


def _instance_id(metadata: Metadata) -> str | None:
    from worker.aws.metadata import INSTANCE_ID  # noqa: PLC0415

    try:
        answer = metadata.get(INSTANCE_ID) or ""
    except errors.FleetcopyError as error:
        log.warning("metadata", why=str(error))
        return None
    return answer if re.fullmatch(r"i-[0-9a-z]{1,40}", answer) else None


@contextmanager
def _cloudwatch(group: str | None, stream: str) -> Iterator[None]:
    """Log to CloudWatch as well, within: at the end what did not arrive there, or the fault that ended it."""
    if group is None:
        yield
        return
    from worker.aws.logs import CloudWatchHandler  # noqa: PLC0415

    handler = CloudWatchHandler(group, stream, close_seconds=_LOG_CLOSE_SECONDS)
    log.also_to(handler)
    try:
        yield
    except errors.FleetcopyError as error:
        log.error("ended by a fault", reason=error.reason, why=str(error))
        raise
    finally:
        log.no_longer_to(handler)
        if handler.lost:
            log.warning("log lines lost", group=group, lines=handler.lost)


def _check_reach(transfer: Transfer, queue: Queue) -> None:
    """Fail before any task is touched where nothing could succeed."""
    queue.dead_letters().depth()
    Bucket(transfer.source, "source").probe()
    Bucket(transfer.destination, "destination").probe()


def _verify(options: argparse.Namespace) -> int:
    transfer = config.transfer(options)
    source, destination = Bucket(transfer.source, "source"), Bucket(transfer.destination, "destination")
    with _bar("verifying") as bar:

        def report(finding: Finding) -> None:
            bar.write(f"{finding.match:9}  {log.printable(finding.key)}  ({finding.why})")

        verdict = verify(
            transfer,
            source=source.list(),
            destination=destination.list(),
            digests=_digests(source, destination),
            on_finding=report,
            on_progress=bar.update,
        )
    print(verdict)
    return 0 if verdict.proven else 1


def _release_build(options: argparse.Namespace) -> int:
    print(release.build(options.checkout, options.output or options.checkout / "dist"))
    return 0


def _release_publish(options: argparse.Namespace) -> int:
    place = Place.parse(options.place)
    folder = options.release or release.latest(Path("dist"))
    published = release.publish(folder, place, Shelf(config.endpoint_of(place.bucket)))
    print(
        f"published {published.version}: {published.sent} of {published.files} files were new",
        file=sys.stderr,
    )
    print("\n".join(published.parameters))
    return 0


def _config(options: argparse.Namespace) -> int:
    found = [(setting, config.resolve(options, setting.name)) for setting in config.SETTINGS]
    for setting, value in found:
        print(f"{setting.name:25} {config.shown(value.value):8} {value.origin:8} {setting.variable}")
    return 0


if __name__ == "__main__":
    main()
