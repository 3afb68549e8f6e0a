"""The README's table of permissions is enough, on an embedded AWS that enforces policies.

Each row's actions become the policy of a user. Of `submit` and `verify` none is idle either: with any one
taken away, the command fails with exit status 3.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from tests.cloud import ROOT, Cloud, Queues
from tests.conftest import Command


def row(who: str) -> list[str]:
    """The actions that a row of the README's table names; what follows its last semicolon apart."""
    line = next(
        line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith(f"| {who} |")
    )
    return [" ".join(re.findall(r"\w+:\w+", part)) for part in line.split(";")]


def allow(actions: str, *resources: str) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": actions.split(), "Resource": list(resources)}


def bucket_arns(name: str) -> tuple[str, str]:
    return f"arn:aws:s3:::{name}", f"arn:aws:s3:::{name}/*"


def queue_arn(url: str) -> str:
    account, name = url.split("/")[-2:]
    return f"arn:aws:sqs:us-east-1:{account}:{name}"


class Setting:
    """Two buckets with one tagged object to copy, a queue, and a log group."""

    def __init__(self, cloud: Cloud) -> None:
        name = uuid4().hex
        self.cloud = cloud
        self.source = cloud.bucket(f"source-{name}")
        self.destination = cloud.bucket(f"destination-{name}")
        self.queue: Queues = cloud.queue(f"tasks-{name}")
        self.group = f"/fleetcopy/{name}"
        cloud.client("logs").create_log_group(logGroupName=self.group)
        cloud.client("s3").put_object(Bucket=self.source, Key="in/a", Body=b"a", Tagging="colour=red")

    def locked(self) -> tuple[str, str]:
        """Two more buckets, with Object Lock, and an object with all that takes a permission."""
        s3, names = self.cloud.client("s3"), (f"locked-{uuid4().hex}", f"to-{uuid4().hex}")
        for name in names:
            s3.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
        s3.put_object(
            Bucket=names[0],
            Key="in/a",
            Body=b"a",
            ContentMD5=base64.b64encode(hashlib.md5(b"a", usedforsecurity=False).digest()).decode(),
            Tagging="colour=red",
            ObjectLockMode="GOVERNANCE",
            ObjectLockRetainUntilDate=datetime(2099, 1, 1, tzinfo=UTC),
            ObjectLockLegalHoldStatus="ON",
        )
        return names

    def statements(self, who: str) -> list[dict[str, Any]]:
        """The policy that the README gives to `submit`, `work` or `verify`."""
        source, destination = bucket_arns(self.source), bucket_arns(self.destination)
        tasks, dead = queue_arn(self.queue.url), queue_arn(self.queue.dead_letter_url)
        if who == "work":
            on_tasks, on_dead = row("`work`, queues")
            return [
                allow(row("`work`, source")[0], *source),
                allow(row("`work`, destination")[0], *destination),
                allow(on_tasks, tasks),
                allow(on_dead, dead),
                allow(row("`work`, logs")[0], "*"),
            ]
        actions = row(f"`{who}`")[0].split()
        on_buckets = " ".join(action for action in actions if action.startswith("s3:"))
        on_queue = " ".join(action for action in actions if action.startswith("sqs:"))
        both = allow(on_buckets, *source, *destination)
        return [both, allow(on_queue, tasks)] if on_queue else [both]

    def run(self, who: str, statements: list[dict[str, Any]]) -> int:
        """Run a command as a user with this policy; its exit status."""
        policy = {"Version": "2012-10-17", "Statement": statements}
        keys = self.cloud.user(f"user-{uuid4().hex}", policy)
        ends = [f"s3://{self.source}/in/", f"s3://{self.destination}/out/"]
        queue = ["--queue", self.queue.url]
        once = ["--until-empty", "--empty-seconds", "1", "--processes", "1", "--log-group", self.group]
        options = {"submit": queue, "work": [*queue, *once], "verify": []}
        done = Command(self.cloud.environment(keys))(who, *ends, *options[who])
        print(who, done.stderr)
        return done.returncode


@pytest.fixture(scope="module")
def setting() -> Iterator[Setting]:
    """On an embedded AWS that enforces policies."""
    with Cloud(auth=True) as cloud:
        yield Setting(cloud)


def test_the_permissions_of_the_readme_are_enough(setting: Setting) -> None:
    for who in ("submit", "work", "verify"):
        assert setting.run(who, setting.statements(who)) == 0, who
    tags = setting.cloud.client("s3").get_object_tagging(Bucket=setting.destination, Key="out/a")["TagSet"]
    assert tags == [{"Key": "colour", "Value": "red"}]


@pytest.mark.parametrize(("strategy", "proof"), [("stream", "md5"), ("server-side", "server-side")])
def test_what_carries_each_attribute_is_in_the_readme(setting: Setting, strategy: str, proof: str) -> None:
    source, destination = setting.locked()
    within = " ".join(row("`work`, copies within S3")) if strategy == "server-side" else ""
    read, write = " ".join(row("`work`, source")), " ".join(row("`work`, destination"))
    ends = [f"s3://{source}/in/", f"s3://{destination}/out/", f"--strategy={strategy}"]

    def copied(*denied: str) -> tuple[int, str]:
        """Exit status and output of a copy by a user who has all of these permissions but those denied."""
        actions = [(f"{read} {within}", source), (f"{write} s3:GetEncryptionConfiguration", destination)]
        allowed = [
            allow(" ".join(set(names.split()) - set(denied)), *bucket_arns(bucket))
            for names, bucket in actions
        ]
        keys = setting.cloud.user(f"user-{uuid4().hex}", {"Version": "2012-10-17", "Statement": allowed})
        done = Command(setting.cloud.environment(keys))("copy", *ends)
        print(denied, done.stderr)
        return done.returncode, done.stdout

    for action in (
        "s3:GetObjectTagging",
        "s3:PutObjectTagging",
        "s3:PutObjectRetention",
        "s3:PutObjectLegalHold",
    ):
        assert copied(action)[0] in {1, 3}, action
    status, told = copied()
    assert (status, told.split("proofs: ")[1]) == (0, f"1 {proof}\n")
    s3 = setting.cloud.client("s3")
    heads = [s3.head_object(Bucket=source, Key="in/a"), s3.head_object(Bucket=destination, Key="out/a")]
    for name in ("ObjectLockMode", "ObjectLockRetainUntilDate", "ObjectLockLegalHoldStatus", "TagCount"):
        assert heads[0][name] == heads[1][name], name


@pytest.mark.parametrize("who", ["submit", "verify"])
def test_none_of_them_is_idle(setting: Setting, who: str) -> None:
    whole = setting.statements(who)
    setting.cloud.client("s3").delete_object(Bucket=setting.destination, Key="out/a")
    for statement in whole:
        for action in statement["Action"]:
            rest = [name for name in statement["Action"] if name != action] or ["s3:ListAllMyBuckets"]
            less = [{**other, "Action": rest} if other is statement else other for other in whole]
            assert setting.run(who, less) == 3, action
