"""The way between two regions."""

from __future__ import annotations

import msgspec
import pytest

from tests.core import transfer
from tests.core.planning import ABROAD, HERE, THERE
from worker.core.model import Endpoint
from worker.core.options import Options, Strategy
from worker.core.route import ROUND_TRIPS, Move, Region, Route, route


@pytest.mark.parametrize(
    ("source", "destination", "move"),
    [
        (HERE, HERE, "within a region"),
        (HERE, THERE, "between regions"),
        (THERE, HERE, "between regions"),
        (HERE, ABROAD, "over the internet"),
        (ABROAD, HERE, "over the internet"),
        (ABROAD, Region("cn-northwest-1", "aws-cn"), "between regions"),
    ],
)
def test_regions_tell_the_way(source: Region, destination: Region, move: str) -> None:
    found = route(transfer(), source, destination)
    assert found == Route(source.name, destination.name, Move(move), move != "over the internet")


@pytest.mark.parametrize(
    ("source", "destination", "move"),
    [
        (None, "https://ceph.example", "over the internet"),
        ("https://ceph.example", None, "into AWS"),
        ("https://ceph.example", "https://minio.example", "into AWS"),
        ("https://ceph.example", "https://ceph.example", "within a region"),
    ],
)
def test_another_service_is_not_in_a_region_of_aws(
    source: str | None, destination: str | None, move: str
) -> None:
    of = msgspec.structs.replace(
        transfer(),
        source=Endpoint(bucket="source", endpoint_url=source),
        destination=Endpoint(bucket="destination", endpoint_url=destination),
    )
    found = route(of, HERE, HERE)
    assert found.move == move
    assert found.server_side is (source == destination)


@pytest.mark.parametrize(
    ("strategy", "identity", "destination", "server_side"),
    [
        ("auto", "default", THERE, True),
        ("auto", "secret:x", THERE, False),
        ("auto", "default", ABROAD, False),
        ("server-side", "secret:x", THERE, True),
        ("stream", "default", HERE, False),
    ],
)
def test_s3_copies_where_one_identity_reaches_both(
    strategy: Strategy, identity: str, destination: Region, *, server_side: bool
) -> None:
    of = msgspec.structs.replace(
        transfer(),
        destination=Endpoint(bucket="destination", credentials=identity),
        options=Options(strategy=strategy),
    )
    assert route(of, HERE, destination).server_side is server_side


def test_every_way_has_a_round_trip() -> None:
    assert ROUND_TRIPS.keys() == set(Move)
