"""The demo, `python -m tests.demo`: a Spot Fleet moves a bucket to a region that only a secret's keys reach.

All but AWS is real: the AWS CLI creates the stack from the template, each instance is a machine of processes
that boots from its user data and installs the release just published, the commands are run as they are shown,
and the verdict is `fleetcopy verify`'s. The embedded AWS enforces signatures and policies. On the way the
fleet is scaled, one instance is interrupted with notice, another vanishes. `DEMO_OBJECTS` sets how many
objects there are. Exit status 0 means that all of them were proven, that nothing was given up, and that
nothing is left of the stack; 1 that this is not so, and why; 128 and the signal's number that a signal ended
it. However it ends, no process is left, and no file but the release, which stays in `.cache`. Needs Linux's
/proc, no root, and no network but loopback once the wheels of the release are there.

The story is told by a thread, so that the main thread is free for signals at any moment.
"""

# ruff: noqa: E402 - signals are minded before the imports

from __future__ import annotations

import os
import signal
from types import FrameType


def end_at_once(number: int, _frame: FrameType | None) -> None:
    """Mind a signal while there is nothing yet to be ended but this process."""
    os.write(1, ended_by(number).encode())
    os._exit(128 + number)


def ended_by(number: int) -> str:
    """Return the last line that is seen of a demo which a signal ends; it takes a terminal's ^C away."""
    start = "\r\x1b[K" if os.isatty(1) else ""
    return f"{start}The demo is ended by {signal.Signals(number).name}; nothing of it is left.\n"


SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
if __name__ == "__main__":
    # Before the imports below, which take most of a second.
    for _number in SIGNALS:
        signal.signal(_number, end_at_once)

import contextlib
import json
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import traceback
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tests import archive, guard
from tests.cloud import ROOT, Cloud
from tests.cloud.fleet import Fleet
from tests.processes import alive, children, end_tree
from tests.screen import Screen
from tests.secrets import Search
from tests.story import LEASE_SECONDS, NOTICE_SECONDS, DemoError, Story, depth
from worker import prices

BIN = Path(sys.executable).parent
RELEASES = ROOT / ".cache" / "releases"
TEMPLATE = "cloudformation/spot-fleet.yaml"
SEED = 1991
OBJECTS = 2500
FEWEST_OBJECTS = 500
FILLERS = 4

STACK = "radar"
SOURCE, SOURCE_REGION = "radar-archive", "us-east-1"
DESTINATION, DESTINATION_REGION = "radar-copy", "eu-west-1"
SHELF = "releases"
SECRET_NAME = "radar-writer"  # noqa: S105 - a name
AMI = "ami-0123456789abcdef0"

OCEAN_SECONDS = 0.08
"""By how much each write to the other region is delayed, since loopback knows no distance."""

FIRST_CAPACITY, FULL_CAPACITY = 2, 4
STREAMS = 2
INSTANCE_ENVIRONMENT = {
    "FLEETCOPY_PROCESSES": "1",
    "FLEETCOPY_VISIBILITY_SECONDS": str(LEASE_SECONDS),
    "FLEETCOPY_PAUSE": "1",
}
"""The machines of the demo have a core each, and short leases; else it would take minutes."""

BOOT_SECONDS = 90


class Processes:
    """The commands that the demo runs; none is started once it is closed, and none survives that."""

    def __init__(self, screen: Screen) -> None:
        self.environment: dict[str, str] = {}
        self._screen = screen
        self._lock = threading.Lock()
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether the demo is being ended."""
        return self._closed

    def _start(self, arguments: Sequence[str]) -> subprocess.Popen[str]:
        with self._lock:
            if self._closed:
                raise DemoError("it is being ended")
            return subprocess.Popen(
                [BIN / arguments[0], *arguments[1:]],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                # A terminal's Ctrl-C is for the demo alone.
                process_group=0,
            )

    def run(self, *arguments: str, show: bool = True) -> str:
        """Show a command, run it to its end, show its output; return that.

        Raises:
            DemoError: its exit status is not 0.
        """
        self._screen.command(arguments)
        process = self._start(arguments)
        out, err = process.communicate()
        if (show or process.returncode) and (out + err):
            self._screen.show((out + err).rstrip("\n"))
        if process.returncode:
            raise DemoError(f"{arguments[0]} {arguments[1]} ended with status {process.returncode}")
        return out

    def close(self) -> None:
        """End all processes below this one, the embedded AWS and the machines included."""
        with self._lock:
            self._closed = True
        for pid in children(os.getpid()):
            end_tree(pid)


@dataclass(frozen=True, slots=True)
class Stage:
    """What the demo plays on.

    Attributes:
        sides: what the commands are told of source and destination.
        outputs: the stack's.
    """

    screen: Screen
    processes: Processes
    cloud: Cloud
    fleet: Fleet
    search: Search
    total: int
    sides: list[str] = field(default_factory=list)
    outputs: dict[str, str] = field(default_factory=dict)


def tell(screen: Screen, processes: Processes, total: int, root: Path) -> None:
    """Tell the whole story.

    Raises:
        DemoError: it did not come to its good end.
    """
    screen.say("The embedded AWS starts; it enforces signatures and policies.")
    with (
        Cloud(auth=True) as cloud,
        Fleet(
            cloud, root / "machines", notice_seconds=NOTICE_SECONDS, environment=INSTANCE_ENVIRONMENT
        ) as fleet,
    ):
        screen.say(f"It answers at {cloud.url}, as {SOURCE_REGION} and as {DESTINATION_REGION}.")
        processes.environment = environment(cloud)
        key = prepare(screen, cloud, total)
        search = Search({"the destination's key": key, "the user's key": cloud.keys.secret_access_key})
        stage = Stage(screen, processes, cloud, fleet, search, total)
        create(stage, publish(stage))
        story = Story(screen, cloud, fleet, stage.outputs["QueueUrl"])
        work(stage, story)
        finish(stage, story.looks)
        search_what_is_left(stage)
        delete(stage)
        story.check()


def environment(cloud: Cloud) -> dict[str, str]:
    """Return what the commands shall know: this AWS, and no setting of the user's own."""
    return {
        name: value
        for name, value in cloud.environment(region=SOURCE_REGION).items()
        if not name.startswith("FLEETCOPY_") or name == guard.LOG
    }


def prepare(screen: Screen, cloud: Cloud, total: int) -> str:
    """Make buckets and fill the source; the secret key with which alone the destination may be written."""
    screen.say(
        f"Bucket {SOURCE} in {SOURCE_REGION} gets {total:,} objects shaped like the NEXRAD radar archive of "
        f"{SEED}, sizes 1/{archive.SCALE} of the real ones (seed {SEED})."
    )
    cloud.bucket(SOURCE, SOURCE_REGION)
    cloud.bucket(DESTINATION, DESTINATION_REGION)
    cloud.bucket(SHELF, SOURCE_REGION)
    fill(screen, cloud, list(archive.generate(total, SEED)))
    bucket = f"arn:aws:s3:::{DESTINATION}"
    actions = ["s3:ListBucket", "s3:GetObject", "s3:PutObject", "s3:PutObjectTagging"]
    statement = {"Effect": "Allow", "Action": actions, "Resource": [bucket, f"{bucket}/*"]}
    keys = cloud.user("writer", {"Version": "2012-10-17", "Statement": [statement]})
    secret = {
        "aws_access_key_id": keys.access_key_id,
        "aws_secret_access_key": keys.secret_access_key,
    }
    cloud.client("secretsmanager", SOURCE_REGION).create_secret(
        Name=SECRET_NAME, SecretString=json.dumps(secret)
    )
    screen.say(
        f"Bucket {DESTINATION} in {DESTINATION_REGION} may be written with an access key alone, which is in "
        f"Secrets Manager. Each write takes {OCEAN_SECONDS * 1000:.0f} ms more, for the ocean."
    )
    cloud.fault("s3:PutObject", "delay", bucket=DESTINATION, times=None, seconds=OCEAN_SECONDS)
    return keys.secret_access_key


def fill(screen: Screen, cloud: Cloud, objects: Sequence[archive.ArchivedObject]) -> None:
    """Put the objects, a few at a time."""
    s3 = cloud.client("s3", SOURCE_REGION)

    def put(found: archive.ArchivedObject) -> None:
        kind = {"ContentType": found.content_type} if found.content_type else {}
        s3.put_object(Bucket=SOURCE, Key=found.key, Body=found.body(), Metadata=dict(found.metadata), **kind)

    pool = ThreadPoolExecutor(FILLERS)
    try:
        with screen.bar("filled", len(objects)):
            for done, _ in enumerate(pool.map(put, objects), start=1):
                screen.progress(done)
    finally:
        pool.shutdown(cancel_futures=True)


def publish(stage: Stage) -> list[str]:
    """Build and publish a release; the stack's parameters that name it."""
    stage.screen.say("A release is built from this checkout, and published for the instances to fetch.")
    run = stage.processes.run
    folder = run("fleetcopy", "release", "build", "--output", str(RELEASES.relative_to(ROOT))).strip()
    place = [f"s3://{SHELF}/fleetcopy", str(Path(folder).relative_to(ROOT))]
    out = run("fleetcopy", "release", "publish", *place)
    return [line for line in out.split() if line.startswith("ParameterKey=")]


def create(stage: Stage, release: Sequence[str]) -> None:
    """Create the stack."""
    stage.screen.say(f"The stack: queues, roles, and a Spot Fleet of {FIRST_CAPACITY} instances.")
    secret = stage.cloud.client("secretsmanager").describe_secret(SecretId=SECRET_NAME)["ARN"]
    given = {
        "SourceBucket": SOURCE,
        "DestinationBucket": DESTINATION,
        "DestinationRegion": DESTINATION_REGION,
        "DestinationSecretArn": secret,
        "TargetCapacity": str(FIRST_CAPACITY),
        "AmiId": AMI,
        "Streams": str(STREAMS),
    }
    parameters = [f"ParameterKey={name},ParameterValue={value}" for name, value in given.items()]
    stage.cloud.clear_journal()
    stage.processes.run(
        *["aws", "cloudformation", "create-stack", "--stack-name", STACK, "--template-body"],
        *[f"file://{TEMPLATE}", "--capabilities", "CAPABILITY_IAM", "--parameters", *parameters, *release],
        show=False,
    )
    stage.processes.run("aws", "cloudformation", "wait", "stack-create-complete", "--stack-name", STACK)
    described = stage.cloud.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"][0]
    stage.outputs.update((output["OutputKey"], output["OutputValue"]) for output in described["Outputs"])
    for name in ("QueueUrl", "FleetId", "LogGroup"):
        stage.screen.show(f"{name:8} {stage.outputs[name]}")
    stage.sides.extend([f"s3://{SOURCE}", f"s3://{DESTINATION}"])
    stage.sides.extend(["--destination-region", DESTINATION_REGION])
    stage.sides.extend(["--destination-credentials", f"secret:{secret}"])


def work(stage: Stage, story: Story) -> None:
    """Let the fleet do it, through all that happens to a fleet."""
    screen, total = stage.screen, stage.total
    story.until(lambda: story.running(FIRST_CAPACITY), BOOT_SECONDS, f"{FIRST_CAPACITY} instances work")
    screen.say("Submit: both sides are listed, and a task is queued for whatever the destination lacks.")
    stage.processes.run("fleetcopy", "submit", *stage.sides, "--queue", stage.outputs["QueueUrl"])
    with screen.bar("copied", total):
        story.until(lambda: story.copied >= total / 25, 60, "the first objects are copied")
        scale(stage, FULL_CAPACITY)
        story.until(lambda: story.running(FULL_CAPACITY), BOOT_SECONDS, f"{FULL_CAPACITY} instances work")
        search_machines(stage)
        story.interrupt()
        story.until(lambda: story.draining, NOTICE_SECONDS, "the interrupted instance drains")
        story.kill()
        story.until(lambda: story.copied >= total and story.is_empty(), 120, "the queue is empty")
    screen.say("The queue is empty, and no instance is needed any more.")
    scale(stage, 0)
    story.until(lambda: story.running(0), NOTICE_SECONDS + 20, "all instances have ended")


def scale(stage: Stage, capacity: int) -> None:
    """Set the fleet's target capacity."""
    stage.screen.say(f"The fleet is scaled to {capacity} instances.")
    fleet = ["--spot-fleet-request-id", stage.outputs["FleetId"], "--target-capacity", str(capacity)]
    stage.processes.run("aws", "ec2", "modify-spot-fleet-request", *fleet, show=False)


def finish(stage: Stage, looks: int) -> None:
    """Read the logs back, verify, and tell what it cost, the demo's own `looks` at the queue left out.

    Raises:
        DemoError: not every object is proven, or something was given up.
    """
    screen, run = stage.screen, stage.processes.run
    screen.say("What the workers logged is in CloudWatch, a stream for each boot of an instance.")
    group = ["--log-group-name", stage.outputs["LogGroup"]]
    run("aws", "logs", "filter-log-events", *group, "--query", "length(events)")
    screen.say("Verify: both sides are listed again, and compared object by object.")
    out = run("fleetcopy", "verify", *stage.sides)
    counts = Counter(stage.cloud.counts())
    counts["sqs:GetQueueAttributes"] -= looks
    tell_bill(screen, +counts, stage.total)
    dead = depth(stage.cloud, stage.outputs["DeadLetterQueueUrl"])
    screen.say(f"The dead-letter queue holds {dead} messages.")
    if out.splitlines()[-1:] != [
        f"verdict: equal {stage.total}, different 0, missing 0, extra 0, unproven 0"
    ]:
        raise DemoError("verify has not proven every object")
    if dead:
        raise DemoError(f"{dead} messages are in the dead-letter queue")


def tell_bill(screen: Screen, counts: Counter[str], total: int) -> None:
    """Show what AWS would bill for the requests, all since the stack."""
    table = prices.load()
    screen.say(f"The bill of all requests to S3 and SQS since then, at the prices of {table.as_of}:")
    billed = {kind: count for kind, count in counts.items() if kind.startswith(("s3:", "sqs:"))}
    width = max(map(len, billed))
    for kind in sorted(billed, key=lambda kind: (-table.requests({kind: billed[kind]}), kind)):
        screen.show(f"{kind:{width}} {billed[kind]:7,}   ${table.requests({kind: billed[kind]}):.7f}")
    dollars = table.requests(billed)
    screen.show(f"{'together':{width}} {sum(billed.values()):7,}   ${dollars:.7f}")
    screen.show(f"which would be ${dollars / total * 1_000_000:.2f} for a million objects")


def search_machines(stage: Stage) -> None:
    """Look for secrets in what each machine holds beside its release, and in its processes."""
    for instance in stage.fleet.instances():
        if instance.state == "running":
            for name in ("etc", "run", "tmp", "var"):
                stage.search.folder(instance.root / name)
            stage.search.processes(below(instance.pid))


def below(pid: int) -> list[int]:
    """A process and all below it."""
    return [pid, *(found for child in children(pid) for found in below(child))]


def search_what_is_left(stage: Stage) -> None:
    """Look for secrets in logs, messages, and what the stack shows of itself.

    Raises:
        DemoError: one is where none may be.
    """
    search, cloud = stage.search, stage.cloud
    for instance in stage.fleet.instances():
        for name in ("console.log", "journal.log"):
            search.text("file", f"{instance.id}/{name}", instance.log(name))
    search.log_events(cloud)
    search.messages(cloud)
    described = cloud.client("cloudformation").describe_stacks(StackName=STACK)
    search.text("stack", STACK, json.dumps(described, default=str))
    for name in ("release", "settings"):
        value = cloud.client("ssm").get_parameter(Name=f"/fleetcopy/{STACK}/{name}")["Parameter"]["Value"]
        search.text("parameter", name, value)
    if search.found:
        raise DemoError(f"a secret is where none may be: {'; '.join(search.found)}")
    looked = search.looked
    stage.screen.say(
        f"The secret keys are in none of {looked['log event']:,} log events, {looked['file']:,} files and "
        f"{looked['cmdline']} processes of the instances, nor in what the stack shows."
    )


def delete(stage: Stage) -> None:
    """Delete the stack.

    Raises:
        DemoError: something of it is left.
    """
    stage.screen.say("The stack is deleted.")
    for action in (["delete-stack"], ["wait", "stack-delete-complete"]):
        stage.processes.run("aws", "cloudformation", *action, "--stack-name", STACK)
    queues = stage.cloud.client("sqs").list_queues().get("QueueUrls", [])
    left = [one.id for one in stage.fleet.instances() if one.state != "ended" or alive(one.pid)]
    if queues or left:
        raise DemoError(f"these are left: {' '.join(queues + left)}")
    stage.screen.say("No queue, no instance and no process of it is left.")


def objects_wanted() -> int:
    """Read `DEMO_OBJECTS`.

    Raises:
        DemoError: it is no such number.
    """
    text = os.environ.get("DEMO_OBJECTS") or str(OBJECTS)
    if not text.isdecimal() or int(text) < FEWEST_OBJECTS:
        raise DemoError(f"DEMO_OBJECTS={text} is not a number of objects: give {FEWEST_OBJECTS} or more")
    return int(text)


def perform(screen: Screen, processes: Processes, root: Path, ends: queue.SimpleQueue[int]) -> None:
    """Tell the story, and tell the main thread its exit status."""
    status = 1
    try:
        tell(screen, processes, objects_wanted(), root)
    except DemoError as error:
        if not processes.closed:
            screen.say(f"FAILED: {error}.")
    except BrokenPipeError:
        pass  # the reader of our output is gone, and there is nobody to tell
    except Exception:  # noqa: BLE001 - a bug must end the demo too
        if not processes.closed:
            screen.say(f"FAILED: a bug.\n{traceback.format_exc()}")
    else:
        screen.say("Done: two instances lost, no object lost.")
        status = 0
    ends.put(status)


def isolate() -> None:
    """Know nothing of the user's AWS, and speak to loopback only."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
    guard.install()


def main() -> int:
    """Run the demo to its end or to a signal; the exit status."""
    # By whoever is first to know: a signal's handler, which does no more than that, or the story's thread.
    ends: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in SIGNALS:
        signal.signal(number, lambda number, _frame: ends.put(128 + number))
    isolate()
    screen = Screen()
    processes = Processes(screen)
    root = Path(tempfile.mkdtemp(prefix="fleetcopy-demo-"))
    story = threading.Thread(target=perform, args=(screen, processes, root, ends), daemon=True)
    story.start()
    status = ends.get()
    # What any other thread meets from now on is the end of what it talks to.
    threading.excepthook = lambda _: None
    screen.close()
    processes.close()
    # What the story waited for is gone now, so that it ends too; it may just have started the embedded AWS.
    story.join(2)
    processes.close()
    shutil.rmtree(root, ignore_errors=True)
    with contextlib.suppress(OSError):  # the reader of our output is gone
        if status > 128:
            sys.stdout.write(ended_by(status - 128))
        sys.stdout.flush()
    return status


if __name__ == "__main__":
    # Threads of a story that was cut short may hang in a socket, and Python would wait for them.
    os._exit(main())
