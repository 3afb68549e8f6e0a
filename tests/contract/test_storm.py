"""`fleetcopy copy` through proxies that reset, close, stall, refuse and flip, on every server.

The destination keeps versions, so that what was ever visible there can be looked at afterwards. Set
FLEETCOPY_TEST_SEED to repeat a run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random

import pytest

from tests import tls
from tests.conftest import Command
from tests.contract import SEED, Place, new_place
from tests.contract.proxied import behind, body_of
from tests.secrets import Search
from tests.servers import Can, Server
from tests.wire.proxy import Fault, Proxy, Way

OBJECTS = 160
SIZES = (0, 1, 100, 5_000, 40_000, 300_000)
HEAD, ROW, PLAN = 150, 500, 8_000
"""Bytes of any head at least, of a listing's row at most, and of all else that a plan sends or receives.

The plan, which nothing of the storm meets, is one client's: a storm that each of its tries meets ends it.
"""


def storm(random: Random, *, bodies_go_up: bool, size: int) -> list[Fault]:
    """Faults for one side, at random bytes of those that pass in any case; `size` of them are objects'."""
    up = (PLAN, PLAN + OBJECTS * HEAD + size * bodies_go_up)
    listing = 0 if bodies_go_up else OBJECTS * ROW
    down = (PLAN + listing, PLAN + listing + OBJECTS * HEAD + size * (not bodies_go_up))
    faults = [Fault(True, random.randrange(*up), way) for way in (Way.RESET, Way.CLOSE) * 4]
    faults += [Fault(False, random.randrange(*down), way) for way in (Way.RESET, Way.CLOSE) * 4]
    faults += [
        Fault(True, random.randrange(*up), Way.STALL),
        Fault(False, random.randrange(*down), Way.STALL),
    ]
    faults += [Fault(bodies_go_up, random.randrange(size), Way.SPOIL) for _ in range(12)]
    for _ in range(2):
        begin = random.randrange(PLAN, PLAN + OBJECTS * HEAD // 2)
        faults += [Fault(True, begin + number * HEAD, Way.BUSY) for number in range(20)]
    return faults


@dataclass
class Line:
    """Two buckets of a server, and the ways to them through a proxy each."""

    source: Place
    destination: Place
    near: tuple[Server, Proxy]
    far: tuple[Server, Proxy]

    def ends(self, source: Server, destination: Server) -> list[str]:
        """SOURCE, DESTINATION and their options, as the commands take them."""
        return [
            *("--source-endpoint-url", source.url, "--destination-endpoint-url", destination.url),
            *(f"s3://{self.source.bucket}/in/", f"s3://{self.destination.bucket}/out/"),
        ]

    def versions(self) -> list[tuple[str, bytes]]:
        """Name and bytes of each object that was ever visible at the destination."""
        at = self.destination
        pages = at.s3.get_paginator("list_object_versions").paginate(Bucket=at.bucket)
        return [
            (row["Key"].removeprefix("out/"), self._read(row["Key"], row["VersionId"]))
            for page in pages
            for row in page.get("Versions", [])
        ]

    def _read(self, key: str, version: str) -> bytes:
        answer = self.destination.s3.get_object(Bucket=self.destination.bucket, Key=key, VersionId=version)
        return bytes(answer["Body"].read())


@pytest.fixture
def line(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    """The buckets empty, the proxies calm."""
    authority = tls.authority(tmp_path_factory.mktemp("authority"))
    source, destination = new_place(server), new_place(server)
    destination.s3.put_bucket_versioning(
        Bucket=destination.bucket, VersioningConfiguration={"Status": "Enabled"}
    )
    with behind(server, authority) as near, behind(server, authority) as far:
        yield Line(source, destination, near, far)


@pytest.mark.slow
def test_a_transfer_through_a_storm(server: Server, line: Line) -> None:
    print(f"seed {SEED}")
    random = Random(SEED)
    # The others take any.
    keys = server.keys if server.can(Can.REFUSE) else replace(server.keys, secret_access_key="x" * 20)
    bodies = {f"{number:03}": body_of(random, random.choice(SIZES)) for number in range(OBJECTS)}
    older = (
        dict.fromkeys(random.sample(sorted(bodies), 10), b"older")
        if server.can(Can.KEEP, Can.REPLACE)
        else {}
    )
    for place, prefix, objects in ((line.source, "in/", bodies), (line.destination, "out/", older)):
        for key, body in objects.items():
            place.s3.put_object(Bucket=place.bucket, Key=prefix + key, Body=body)
    size = sum(map(len, bodies.values()))
    line.near[1].begin(*storm(random, bodies_go_up=False, size=size))
    line.far[1].begin(*storm(random, bodies_go_up=True, size=size))
    done = Command(line.near[0].environment(keys))(
        "copy", *line.ends(line.near[0], line.far[0]), "--processes", "2", "--log-level", "debug"
    )
    assert done.returncode == 0, done.stderr
    assert line.near[1].struck
    assert line.far[1].struck
    assert done.stdout.startswith(f"listed {OBJECTS} objects: ")
    assert ", 0 failed" in done.stdout
    shown = line.versions()
    assert {key for key, body in shown if body == bodies[key]} == set(bodies)
    assert [key for key, body in shown if body not in {bodies[key], older.get(key)}] == []
    verified = Command(server.environment())("verify", *line.ends(server, server))
    assert f"equal {OBJECTS}, different 0" in verified.stdout
    assert verified.returncode == 0, verified.stdout
    search = Search({"the secret key": keys.secret_access_key})
    search.text("output", "of copy", done.stdout + done.stderr)
    assert search.found == []
