"""Names of credentials say whose they are; what is none is refused and not repeated."""

from __future__ import annotations

import pytest

from worker.core.credentials import Default, Name, Profile, Role, Secret, parse
from worker.core.errors import UsageError

ROLE = "arn:aws-cn:iam::123456789012:role/team/copier"
KEPT = "arn:aws-us-gov:secretsmanager:us-gov-west-1:123456789012:secret:radar/keys-AbCdEf"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("default", Default()),
        ("profile:other", Profile("other")),
        ("profile:a:b c", Profile("a:b c")),
        (f"role:{ROLE}", Role(ROLE, "aws-cn")),
        (f"secret:{KEPT}", Secret(KEPT, "us-gov-west-1")),
    ],
)
def test_names(text: str, name: Name) -> None:
    assert parse(text) == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Default",
        "default:",
        "profile",
        "profile:",
        "role:copier",
        "role:arn:aws:iam::123456789012:user/copier",
        "role:arn:aws:iam::1234:role/copier",
        f"role:{ROLE}\n",
        f"role:{KEPT}",
        "secret:radar/keys",
        f"secret:{ROLE}",
        f"secret:{KEPT} ",
        ROLE,
        "AKIAIOSFODNN7EXAMPLE:wJalrXUtnFEMI",
    ],
)
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(UsageError, match="write default, profile:NAME, role:ARN or secret:ARN") as raised:
        parse(text)
    assert "wJalrXUtnFEMI" not in str(raised.value)
