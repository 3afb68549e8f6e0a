"""The way from source to destination: as AWS bills it, and whether bytes come through workers."""

from __future__ import annotations

import enum

import msgspec

from worker.core.model import Transfer


class Move(enum.StrEnum):
    """What kind of data transfer a copy is."""

    SAME_REGION = "within a region"
    BETWEEN_REGIONS = "between regions"
    INTERNET = "over the internet"
    """To another partition, too."""
    INTO_AWS = "into AWS"


ROUND_TRIPS = {
    Move.SAME_REGION: 0.002,
    Move.BETWEEN_REGIONS: 0.1,
    Move.INTERNET: 0.25,
    Move.INTO_AWS: 0.1,
}
"""Seconds to the farther side and back, where nobody knows better."""


class Region(msgspec.Struct, frozen=True):
    """A region's name, and the partition that it is in."""

    name: str
    partition: str


class Route(msgspec.Struct, frozen=True):
    """The regions of both sides and the way between them; `server_side`: S3 copies, and workers only ask."""

    source_region: str
    destination_region: str
    move: Move
    server_side: bool


def route(transfer: Transfer, source: Region, destination: Region) -> Route:
    """The way between two regions. Where both sides are of one service, whichever, that is taken for AWS.

    Whether S3 may copy by itself, workers learn when they try. Here it is taken to, with the strategy `auto`,
    where both sides are in one partition and of one identity.
    """
    move = _move(transfer, source, destination)
    strategy, near = transfer.options.strategy, move in {Move.SAME_REGION, Move.BETWEEN_REGIONS}
    one_identity = transfer.source.credentials == transfer.destination.credentials
    server_side = strategy == "server-side" or (strategy == "auto" and near and one_identity)
    return Route(source.name, destination.name, move, server_side)


def _move(transfer: Transfer, source: Region, destination: Region) -> Move:
    if transfer.source.endpoint_url != transfer.destination.endpoint_url:
        return Move.INTERNET if transfer.source.endpoint_url is None else Move.INTO_AWS
    if source.partition != destination.partition:
        return Move.INTERNET
    return Move.SAME_REGION if source.name == destination.name else Move.BETWEEN_REGIONS
