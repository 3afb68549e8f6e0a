"""What a user reads when something is not as it must be: one line that says what to do, and the exit code."""

from __future__ import annotations

import gzip
import importlib.metadata
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from tests.cloud import Cloud, Keys, Queues
from tests.conftest import Command
from tests.transfers import wait_for

COMMANDS = ("submit", "work", "verify", "config")
REACHING = ("submit", "work", "verify")
NOTHING = {"Statement": [{"Effect": "Allow", "Action": "iam:GetUser", "Resource": "*"}]}
Done = subprocess.CompletedProcess[str]


@dataclass
class Ground:
    """Two buckets and a queue, where all is well."""

    source: str
    destination: str
    queue: Queues

    @property
    def ends(self) -> list[str]:
        """SOURCE and DESTINATION."""
        return [self.source, self.destination]

    @property
    def queued(self) -> list[str]:
        """SOURCE, DESTINATION and the queue."""
        return [*self.ends, "--queue", self.queue.url]


def made(cloud: Cloud) -> Ground:
    name = uuid4().hex
    buckets = [cloud.bucket(f"{side}-{name}") for side in ("source", "destination")]
    cloud.client("s3").put_object(Bucket=buckets[0], Key="in/a", Body=b"x")
    return Ground(f"s3://{buckets[0]}/in/", f"s3://{buckets[1]}/out/", cloud.queue(f"tasks-{name}"))


@pytest.fixture(scope="module")
def ground(cloud: Cloud) -> Ground:
    """One for all tests: none of them gets far enough to change it."""
    return made(cloud)


def assert_told(done: Done, code: int, *words: str) -> None:
    """One line on standard error, with these words, and nothing of Python's."""
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("fleetcopy: ")
    for word in words:
        assert word in line


def test_output_that_cannot_be_written_is_told(ground: Ground, fleetcopy: Command) -> None:
    for words in (["list", ground.source], ["config"], ["verify", *ground.ends]):
        command: list[str | Path] = [Path(sys.executable).with_name("fleetcopy"), *words]
        with Path("/dev/full").open("w") as full:
            done = subprocess.run(
                command,
                env=fleetcopy.environment | {"PYTHONUNBUFFERED": ""},
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
            )
        assert done.returncode == 2
        assert done.stderr.splitlines()[-1] == "fleetcopy: [Errno 28] No space left on device"
        assert "Traceback" not in done.stderr


@pytest.fixture
def _heard() -> Iterator[None]:
    """What is started here hears SIGINT, even if the tests run in the background of a shell."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_heard")
def test_an_interruption_is_told(ground: Ground, cloud: Cloud, fleetcopy: Command) -> None:
    cloud.clear_journal()
    cloud.fault("s3:ListObjectsV2", "delay", times=None, seconds=2)
    process = fleetcopy.start("verify", *ground.ends)
    wait_for(lambda: cloud.counts().get("s3:ListObjectsV2", 0) > 0, 30, "a listing")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    cloud.clear_faults()
    assert (process.returncode, out, err) == (130, "", "fleetcopy: interrupted\n")


def test_a_stream_is_a_thread(ground: Ground, fleetcopy: Command) -> None:
    assert_told(fleetcopy("copy", *ground.ends, "--streams", "100000"), 2, "over 1,024")


def assert_usage(done: Done, *words: str) -> None:
    """As argparse says it: the usage, then one line."""
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("usage: fleetcopy")
    line = done.stderr.splitlines()[-1]
    for word in words:
        assert word in line


def each_command(ground: Ground) -> dict[str, list[str]]:
    """Every command that reaches AWS, complete."""
    return {
        "submit": ["submit", *ground.queued],
        "work": ["work", *ground.queued],
        "verify": ["verify", *ground.ends],
    }


# --- the command line


def test_version(fleetcopy: Command) -> None:
    done = fleetcopy("--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"fleetcopy {importlib.metadata.version('fleetcopy')}\n"


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help(fleetcopy: Command, command: str) -> None:
    done = fleetcopy(*command.split(), "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: fleetcopy")
    if not command:
        assert all(name in done.stdout for name in COMMANDS)
        assert "exit status" in done.stdout


def test_no_command(fleetcopy: Command) -> None:
    assert_usage(fleetcopy(), "COMMAND")


def test_an_unknown_command(fleetcopy: Command) -> None:
    assert_usage(fleetcopy("mirror"), "mirror", "submit", "verify")


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_option(fleetcopy: Command, ground: Ground, command: str) -> None:
    arguments = {**each_command(ground), "config": ["config"]}[command]
    assert_usage(fleetcopy(*arguments, "--no-such-option"), "--no-such-option")


def test_an_option_is_not_guessed_from_its_beginning(fleetcopy: Command, ground: Ground) -> None:
    assert_usage(fleetcopy("work", *ground.queued, "--stream", "3"), "--stream")


@pytest.mark.parametrize("command", REACHING)
def test_a_side_that_is_not_named(fleetcopy: Command, ground: Ground, command: str) -> None:
    queue = each_command(ground)[command][3:]
    assert_told(fleetcopy(command, "s3://source", *queue), 2, "DESTINATION", "FLEETCOPY_DESTINATION")
    assert_told(fleetcopy(command, *queue, FLEETCOPY_SOURCE=""), 2, "SOURCE", "FLEETCOPY_SOURCE")


def test_a_third_location(fleetcopy: Command) -> None:
    assert_usage(fleetcopy("verify", "s3://source", "s3://destination", "s3://third"), "s3://third")


@pytest.mark.parametrize(
    "arguments",
    [
        ["{source}", "--source-region", "us-east-1", "{destination}"],
        ["--source-region", "us-east-1", "{source}", "--destination-region", "us-east-1", "{destination}"],
        ["{source}", "{destination}", "--destination-region", "us-east-1"],
    ],
    ids=["between", "before-each", "behind"],
)
def test_options_stand_anywhere(fleetcopy: Command, ground: Ground, arguments: list[str]) -> None:
    words = [word.format(source=ground.source, destination=ground.destination) for word in arguments]
    done = fleetcopy("verify", *words)
    assert (done.returncode, done.stderr) == (1, "")
    assert "missing 1" in done.stdout


@pytest.mark.parametrize(
    ("command", "uri"),
    [
        ("submit", "bucket"),
        ("work", "s3:/bucket/x"),
        ("verify", ""),
        ("verify", "/local/folder"),
        ("verify", "s3://"),
        ("verify", "s3://a b/"),
        ("verify", "https://bucket/x"),
    ],
)
def test_a_malformed_location(fleetcopy: Command, ground: Ground, command: str, uri: str) -> None:
    arguments = each_command(ground)[command]
    arguments[1] = uri
    assert_told(fleetcopy(*arguments), 2, repr(uri), "s3://bucket/prefix")


@pytest.mark.parametrize(
    ("command", "source", "destination"),
    [
        ("submit", "s3://bucket", "s3://bucket"),
        ("submit", "s3://bucket/a/", "s3://bucket/a/b/"),
        ("work", "s3://bucket/ab", "s3://bucket/a"),
        ("verify", "s3://bucket/", "s3://bucket/copy/"),
    ],
)
def test_source_and_destination_overlap(
    fleetcopy: Command, ground: Ground, command: str, source: str, destination: str
) -> None:
    arguments = each_command(ground)[command]
    arguments[1:3] = [source, destination]
    assert_told(fleetcopy(*arguments), 2, source, destination, "overlap")


# --- settings


def test_config_shows_where_each_setting_comes_from(fleetcopy: Command) -> None:
    done = fleetcopy("config", FLEETCOPY_STREAMS="7", FLEETCOPY_QUEUE_URL="http://127.0.0.1/1/q")
    assert (done.returncode, done.stderr) == (0, "")
    rows = {line.split()[0]: line.split() for line in done.stdout.splitlines()}
    assert rows["streams"] == ["streams", "7", "variable", "FLEETCOPY_STREAMS"]
    assert rows["queue"][1:3] == ["http://127.0.0.1/1/q", "variable"]
    assert rows["visibility-seconds"] == [
        "visibility-seconds", "120", "default", "FLEETCOPY_VISIBILITY_SECONDS"
    ]  # fmt: skip
    assert rows["log-group"][1:3] == ["-", "default"]


def test_config_shows_both_sides(fleetcopy: Command) -> None:
    role = "role:arn:aws-cn:iam::123456789012:role/copier"
    environment = {
        "FLEETCOPY_SOURCE": "s3://radar/1991/",
        "FLEETCOPY_SOURCE_REGION": "us-west-2",
        "FLEETCOPY_SOURCE_ENDPOINT_URL": "http://127.0.0.1:9000",
        "FLEETCOPY_DESTINATION": "s3://kopie",
        "FLEETCOPY_DESTINATION_CREDENTIALS": role,
        "FLEETCOPY_STREAMS": "",
    }
    done = fleetcopy("config", "s3://other", **environment)
    assert (done.returncode, done.stderr) == (0, "")
    rows = {line.split()[0]: line.split()[1:3] for line in done.stdout.splitlines()}
    assert rows["source"] == ["s3://other", "option"]
    assert rows["source-region"] == ["us-west-2", "variable"]
    assert rows["source-endpoint-url"] == ["http://127.0.0.1:9000", "variable"]
    assert rows["source-credentials"] == ["default", "default"]
    assert rows["destination"] == ["s3://kopie", "variable"]
    assert rows["destination-credentials"] == [role, "variable"]
    assert rows["streams"] == ["16", "default"]


@pytest.mark.parametrize("name", ["log-group", "queue", "source-region", "source-credentials"])
def test_an_empty_option_is_a_mistake(fleetcopy: Command, name: str) -> None:
    assert_told(fleetcopy("config", f"--{name}="), 2, f"--{name}")


def test_config_shows_what_an_option_says(fleetcopy: Command) -> None:
    done = fleetcopy("config", "--streams", "9", FLEETCOPY_STREAMS="7")
    assert done.returncode == 0, done.stderr
    rows = {line.split()[0]: line.split() for line in done.stdout.splitlines()}
    assert rows["streams"][1:3] == ["9", "option"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("streams", "many"), ("processes", "0"), ("visibility-seconds", "-1"), ("drain-seconds", "1.5")],
)
def test_a_setting_that_is_no_number(fleetcopy: Command, ground: Ground, name: str, value: str) -> None:
    assert_told(fleetcopy("work", *ground.queued, f"--{name}={value}"), 2, f"--{name}", repr(value))
    variable = f"FLEETCOPY_{name.upper().replace('-', '_')}"
    done = fleetcopy("work", *ground.queued, **{variable: value})
    assert_told(done, 2, f"${variable}", repr(value))


def test_config_stops_at_what_cannot_be_read(fleetcopy: Command) -> None:
    done = fleetcopy("config", FLEETCOPY_STREAMS="many")
    assert done.returncode == 2
    assert done.stderr.startswith("fleetcopy: $FLEETCOPY_STREAMS: 'many' is no value")


def test_an_unknown_log_level(fleetcopy: Command, ground: Ground) -> None:
    done = fleetcopy("work", *ground.queued, "--log-level", "loud")
    assert_told(done, 2, "--log-level", "'loud'", "debug, info, warning")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("strategy", "fast", "auto, server-side, stream"),
        ("tags", "yes", "copy, ignore"),
        ("storage-class", "standard", "STANDARD, STANDARD_IA"),
        ("acl", "mine", "bucket-owner-full-control"),
        ("sse", "kms", "AES256, aws:kms, aws:kms:dsse"),
        ("object-lock", "on", "copy, ignore"),
        ("request-payer", "requester", "pay for the requests"),
    ],
)
def test_how_to_copy_is_spelt_in_one_way(fleetcopy: Command, name: str, value: str, words: str) -> None:
    assert_told(fleetcopy("copy", "s3://a1a", "s3://b1b", f"--{name}={value}"), 2, f"--{name}", words)
    variable = f"FLEETCOPY_{name.upper().replace('-', '_')}"
    done = fleetcopy("work", "s3://a1a", "s3://b1b", "--queue=http://127.0.0.1/1/q", **{variable: value})
    assert_told(done, 2, f"${variable}", repr(value), words)


def test_a_key_without_encryption(fleetcopy: Command) -> None:
    done = fleetcopy("copy", "s3://a1a", "s3://b1b", "--sse-kms-key-id=k", "--sse=AES256")
    assert_told(done, 2, "--sse aws:kms")


def test_a_visibility_that_sqs_does_not_take(fleetcopy: Command, ground: Ground) -> None:
    """SQS leases last 12 hours at most."""
    process = fleetcopy.start("work", *ground.queued, "--processes=1", "--visibility-seconds=100000")
    try:
        out, err = process.communicate(timeout=3)
    finally:
        process.kill()
        process.wait()
    done = Done(process.args, process.returncode, out, err)
    assert_told(done, 2, "--visibility-seconds", "100000")


# --- the queue


@pytest.mark.parametrize("command", ["submit", "work"])
def test_no_queue_is_named(fleetcopy: Command, ground: Ground, command: str) -> None:
    assert_told(fleetcopy(command, *ground.ends), 2, "--queue", "FLEETCOPY_QUEUE_URL")


@pytest.mark.parametrize(
    ("command", "url"),
    [
        ("submit", "tasks"),
        ("submit", "http://"),
        ("work", "arn:aws:sqs:us-east-1:1:tasks"),
        ("work", "s3://bucket/tasks"),
        ("work", "https://[::1/tasks"),
    ],
)
def test_a_malformed_queue_url(fleetcopy: Command, ground: Ground, command: str, url: str) -> None:
    assert_told(fleetcopy(command, *ground.ends, "--queue", url), 2, repr(url), "URL")


@pytest.mark.parametrize("command", ["submit", "work"])
def test_a_queue_that_does_not_exist(fleetcopy: Command, ground: Ground, command: str) -> None:
    done = fleetcopy(command, *ground.ends, "--queue", f"{ground.queue.url}-no-such")
    assert_told(done, 3, "-no-such", "NonExistentQueue", "Check its name")


def test_a_queue_without_dead_letter_queue(cloud: Cloud, fleetcopy: Command, ground: Ground) -> None:
    url = cloud.client("sqs").create_queue(QueueName=f"alone-{uuid4().hex}")["QueueUrl"]
    done = fleetcopy("work", *ground.ends, "--queue", url)
    assert_told(done, 3, url, "dead-letter queue", "RedrivePolicy")


def test_a_dead_letter_queue_that_was_deleted(cloud: Cloud, fleetcopy: Command, ground: Ground) -> None:
    queues = cloud.queue(f"tasks-{uuid4().hex}")
    cloud.client("sqs").delete_queue(QueueUrl=queues.dead_letter_url)
    assert_told(fleetcopy("work", *ground.ends, "--queue", queues.url), 3, "NonExistentQueue")


# --- buckets


@pytest.mark.parametrize("command", REACHING)
@pytest.mark.parametrize("side", ["source", "destination"])
def test_a_missing_bucket(fleetcopy: Command, ground: Ground, command: str, side: str) -> None:
    arguments = each_command(ground)[command]
    bucket = f"missing-{uuid4().hex}"
    arguments[1 if side == "source" else 2] = f"s3://{bucket}/prefix/"
    assert_told(fleetcopy(*arguments), 3, side, bucket, "NoSuchBucket", "Check its name")


def test_a_missing_bucket_submits_nothing(cloud: Cloud, fleetcopy: Command, ground: Ground) -> None:
    done = fleetcopy("submit", ground.source, "s3://missing-destination", "--queue", ground.queue.url)
    assert done.returncode == 3
    assert "Messages" not in cloud.client("sqs").receive_message(QueueUrl=ground.queue.url)


@pytest.mark.parametrize(
    ("command", "side"),
    [
        ("submit", "source"),
        pytest.param("work", "destination", marks=pytest.mark.slow),
        pytest.param("verify", "source", marks=pytest.mark.slow),
    ],
)
def test_nobody_listens(fleetcopy: Command, ground: Ground, command: str, side: str) -> None:
    with socket.socket() as unused:
        # Bound and not listening: nobody else can take the port meanwhile.
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        done = fleetcopy(*each_command(ground)[command], f"--{side}-endpoint-url", url)
    assert_told(done, 4, side, url, "Check the endpoint URL")


@pytest.mark.slow
@pytest.mark.parametrize("command", ["submit", "work"])
def test_nobody_listens_at_the_queue(fleetcopy: Command, ground: Ground, command: str) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/123456789012/tasks"
        done = fleetcopy(command, *ground.ends, "--queue", url)
    assert_told(done, 4, url, "Check the endpoint URL")


@pytest.mark.parametrize("url", ["nonsense", "ftp://127.0.0.1"])
def test_a_malformed_endpoint_url(fleetcopy: Command, ground: Ground, url: str) -> None:
    done = fleetcopy("verify", *ground.ends, "--source-endpoint-url", url)
    assert done.returncode in {2, 3}, done.stderr
    assert_told(done, done.returncode, url)


# --- credentials


@pytest.mark.parametrize("command", REACHING)
def test_wrong_credentials(strict: Cloud, command: str) -> None:
    ground = made(strict)
    forged = Keys(strict.keys.access_key_id, "forged-secret-0123456789")
    done = Command(strict.environment(forged))(*each_command(ground)[command])
    assert_told(done, 3, "SignatureDoesNotMatch", "Check which credentials are used")
    assert forged.secret_access_key not in done.stderr


@pytest.mark.parametrize("command", ["submit", "verify"])
def test_credentials_without_permission(strict: Cloud, command: str) -> None:
    ground = made(strict)
    nobody = strict.user(f"nobody-{uuid4().hex}", NOTHING)
    done = Command(strict.environment(nobody))(*each_command(ground)[command])
    assert_told(done, 3, "AccessDenied", "permissions")


@pytest.mark.parametrize("command", ["work", "verify"])
def test_no_credentials(cloud: Cloud, ground: Ground, command: str, tmp_path: Path) -> None:
    environment = cloud.environment()
    del environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"]
    done = Command(environment | {"HOME": str(tmp_path)})(*each_command(ground)[command])
    assert_told(done, 3, "credentials", "as for the AWS CLI")


@pytest.mark.parametrize(
    ("command", "side"), [("submit", "source"), ("work", "destination"), ("verify", "destination")]
)
def test_an_unknown_profile(fleetcopy: Command, ground: Ground, command: str, side: str) -> None:
    name = "profile:no-such-profile"
    done = fleetcopy(*each_command(ground)[command], f"--{side}-credentials", name)
    assert_told(done, 3, "no-such-profile", "name a profile")


@pytest.mark.parametrize("side", ["source", "destination"])
def test_an_unknown_profile_by_environment(fleetcopy: Command, ground: Ground, side: str) -> None:
    variable = f"FLEETCOPY_{side.upper()}_CREDENTIALS"
    done = fleetcopy("verify", *ground.ends, **{variable: "profile:no-such-profile"})
    assert_told(done, 3, "no-such-profile", "name a profile")


@pytest.mark.parametrize("value", ["AKIAIOSFODNN7EXAMPLE:wJalrXUtnFEMI", "secret:wJalrXUtnFEMI"])
def test_credentials_that_are_no_name_are_not_repeated(
    fleetcopy: Command, ground: Ground, value: str
) -> None:
    done = fleetcopy("verify", *ground.ends, FLEETCOPY_SOURCE_CREDENTIALS=value)
    assert_told(done, 2, "$FLEETCOPY_SOURCE_CREDENTIALS", "default, profile:NAME, role:ARN or secret:ARN")
    assert "wJalrXUtnFEMI" not in done.stderr
    done = fleetcopy("config", "--source-credentials", value)
    assert_told(done, 2, "--source-credentials", "default, profile:NAME, role:ARN or secret:ARN")
    assert "wJalrXUtnFEMI" not in done.stderr


def test_a_profile_serves_the_side_that_names_it(strict: Cloud, tmp_path: Path) -> None:
    ground = made(strict)
    files = tmp_path / "credentials"
    reader = strict.user(
        f"reader-{uuid4().hex}",
        {"Statement": [{"Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": "*"}]},
    )
    files.write_text(
        f"[reader]\naws_access_key_id={reader.access_key_id}\n"
        f"aws_secret_access_key={reader.secret_access_key}\n"
    )
    nobody = strict.user(f"nobody-{uuid4().hex}", NOTHING)
    environment = strict.environment(nobody) | {"AWS_SHARED_CREDENTIALS_FILE": str(files)}
    verify = Command(environment)
    source = ["--source-credentials", "profile:reader"]
    assert_told(verify("verify", *ground.ends, *source), 3, "destination", "AccessDenied")
    done = verify("verify", *ground.ends, *source, "--destination-credentials", "profile:reader")
    assert (done.returncode, done.stderr) == (1, "")
    assert "missing 1" in done.stdout


# --- listing files

ROW = {
    "Key": "in/a",
    "LastModified": "2026-11-22T16:27:01+00:00",
    "ETag": '"9dd4e461268c8034f5c8564e155c67a6"',
    "Size": 1,
    "StorageClass": "STANDARD",
}
WHOLE = json.dumps({"Contents": [ROW]}).encode()


BAD_FILES = {
    "truncated.json": WHOLE[: len(WHOLE) // 2],
    "no-time.json": json.dumps({"Contents": [ROW | {"LastModified": "yesterday"}]}).encode(),
    "truncated.json.gz": gzip.compress(WHOLE)[:-12],
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_one_bad_listing_among_good_ones_submits_nothing(
    cloud: Cloud, fleetcopy: Command, ground: Ground, tmp_path: Path, name: str
) -> None:
    good, bad = tmp_path / "0-good.json", tmp_path / name
    good.write_bytes(WHOLE)
    bad.write_bytes(BAD_FILES[name])
    done = fleetcopy("submit", *ground.queued, "--from", str(tmp_path))
    assert_told(done, 2, str(bad), "again")
    assert "Messages" not in cloud.client("sqs").receive_message(QueueUrl=ground.queue.url)


def test_a_listing_that_is_not_there(fleetcopy: Command, ground: Ground, tmp_path: Path) -> None:
    missing = str(tmp_path / "missing.json")
    assert_told(fleetcopy("submit", *ground.queued, "--from", missing), 2, missing, "no such file")


def test_a_folder_without_listings(fleetcopy: Command, ground: Ground, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    done = fleetcopy("submit", *ground.queued, "--from", str(tmp_path))
    assert_told(done, 2, str(tmp_path), "*.json")


def test_a_listing_that_reading_fails_on(fleetcopy: Command, ground: Ground) -> None:
    """Readable for nobody, root included: reading this file's first page is an I/O error."""
    done = fleetcopy("submit", *ground.queued, "--from", "/proc/self/mem")
    assert_told(done, 2, "/proc/self/mem", "cannot be read")


# --- a reader that goes away


def test_a_closed_pipe_is_no_crash(cloud: Cloud, ground: Ground) -> None:
    process = Command(cloud.environment()).start("verify", *ground.ends)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    err = process.stderr.read()
    process.stderr.close()
    assert process.wait(30) == 1
    assert "Traceback" not in err
