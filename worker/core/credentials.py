"""Names of credentials: what stands in a setting and in an endpoint, never the credentials themselves.

| name | whose |
|---|---|
| `default` | boto3's own chain: the environment, the configuration files, the instance's role |
| `profile:NAME` | a profile of the AWS configuration files |
| `role:ARN` | an IAM role that `default` may assume |
| `secret:ARN` | keys in a Secrets Manager secret that `default` may read; reaches across partitions |
"""

from __future__ import annotations

import re

import msgspec

from worker.core.errors import UsageError

_ROLE = re.compile(r"arn:(?P<partition>aws[a-z-]*):iam::\d{12}:role/[\w+=,.@/-]+")
_SECRET = re.compile(
    r"arn:(?P<partition>aws[a-z-]*):secretsmanager:(?P<region>[a-z0-9-]+):\d{12}:secret:[\w/+=.@-]+"
)


class Default(msgspec.Struct, frozen=True):
    """boto3's own chain."""


class Profile(msgspec.Struct, frozen=True):
    """A profile of the AWS configuration files."""

    name: str


class Role(msgspec.Struct, frozen=True):
    """An IAM role to assume. It lies in a partition, in no region."""

    arn: str
    partition: str


class Secret(msgspec.Struct, frozen=True):
    """A Secrets Manager secret that holds keys, and the region that it is kept in."""

    arn: str
    region: str


Name = Default | Profile | Role | Secret


def parse(text: str) -> Name:
    """What a name says.

    Raises:
        UsageError: it is none. The text is not repeated, since it may be a secret in the wrong place.
    """
    scheme, _, rest = text.partition(":")
    if text == "default":
        return Default()
    if scheme == "profile" and rest:
        return Profile(rest)
    if scheme == "role" and (found := _ROLE.fullmatch(rest)):
        return Role(rest, found["partition"])
    if scheme == "secret" and (found := _SECRET.fullmatch(rest)):
        return Secret(rest, found["region"])
    raise UsageError("no name of credentials: write default, profile:NAME, role:ARN or secret:ARN")
