"""Our signatures against botocore's, for as many requests as it takes to believe them."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from random import Random
from typing import Any
from urllib.parse import quote

import pytest
from botocore import auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from worker.core.sigv4 import EMPTY, TRAILED, UNSIGNED, Keys, Signer, spell, spell_query

SEED = int(os.environ.get("FLEETCOPY_TEST_SEED", "20261125"))
ALPHABETS = (
    "".join(chr(number) for number in range(1, 128)),
    "abcXYZ019-._~",
    "/./..//+%2F%20&=?#",
    "\u00e9e\u0301\u20ac\ud7ff\ue000\uffff\U0001d54f\U0010ffff\u202e\x85\xa0\u2028",
)
VALUES = "".join(chr(number) for number in range(32, 127)) + "\t"
REGIONS = ("us-east-1", "eu-central-2", "cn-north-1", "us-gov-west-1", "us-iso-east-1", "x")
HEADERS = (
    "content-md5",
    "content-type",
    "if-match",
    "if-none-match",
    "x-amz-checksum-mode",
    "x-amz-copy-source",
    "x-amz-meta-a",
    "x-amz-meta-a-b",
    "x-amz-tagging",
    "x-amz-trailer",
)


def signed(signer: Signer, method: str, path: str, query: str, headers: dict[str, str]) -> str:
    """The Authorization header of a request with these headers."""
    lines = "".join(f"{name}:{value}\n" for name, value in sorted(headers.items()))
    payload, date = headers["x-amz-content-sha256"], headers["x-amz-date"]
    return signer.authorization(method, path, query, lines, ";".join(sorted(headers)), payload, date)


def words(random: Random, longest: int) -> str:
    """Any text of an alphabet."""
    alphabet = random.choice(ALPHABETS)
    return "".join(random.choice(alphabet) for _ in range(random.randint(1, longest)))


def botocores(request: AWSRequest, keys: Keys, region: str, date: str) -> str:
    """The Authorization header that botocore makes of a request."""
    request.context["timestamp"] = date
    secret = Credentials(keys.access_key_id, keys.secret_access_key, keys.session_token)
    # mypy knows only the two methods that sign a request as of now.
    signer: Any = auth.S3SigV4Auth(secret, "s3", region)
    canonical = signer.canonical_request(request)
    signature = signer.signature(signer.string_to_sign(request, canonical), request)
    names = signer.signed_headers(signer.headers_to_sign(request))
    return (
        f"AWS4-HMAC-SHA256 Credential={signer.scope(request)}, SignedHeaders={names}, Signature={signature}"
    )


@pytest.mark.parametrize("requests", [500, pytest.param(10_000, marks=pytest.mark.slow)])
def test_signatures_equal_botocores(requests: int) -> None:
    random = Random(SEED)
    print(f"seed {SEED}")
    for _ in range(requests):
        keys = Keys(
            f"AKIA{random.randint(0, 9**9)}",
            words(random, 40),
            random.choice([None, quote(words(random, 300))]),
        )
        region, method = random.choice(REGIONS), random.choice(["GET", "PUT"])
        date = datetime.fromtimestamp(random.randint(0, 2**32), UTC).strftime("%Y%m%dT%H%M%SZ")
        path = spell(f"/{random.choice(['bucket/', ''])}{words(random, 60)}")
        query = spell_query((words(random, 8), words(random, 8)) for _ in range(random.choice([0, 0, 1, 3])))
        payload = random.choice([EMPTY, UNSIGNED, TRAILED])
        host = random.choice(["s3.amazonaws.com", "bucket.s3.eu-west-1.amazonaws.com", "[::1]:9000"])
        headers = {"host": host, "x-amz-date": date, "x-amz-content-sha256": payload}
        for name in random.sample(HEADERS, random.randint(0, 5)):
            headers[name] = "".join(random.choice(VALUES) for _ in range(random.randint(0, 20)))
        if keys.session_token:
            headers["x-amz-security-token"] = keys.session_token
        url = f"https://{host}{path}{'?' if query else ''}{query}"
        ours = signed(Signer(keys, region), method, path, query, headers)
        request = AWSRequest(method, url, headers=headers)
        assert ours == botocores(request, keys, region, date), (url, headers)


def test_a_signer_goes_with_the_day_and_keeps_nothing_of_a_request() -> None:
    signer = Signer(Keys("AKIA", "secret"), "us-east-1")
    for date in ("20260101T235958Z", "20260101T235959Z", "20260102T000000Z", "20260101T235959Z"):
        headers = {"host": "h", "x-amz-date": date, "x-amz-content-sha256": EMPTY}
        fresh = Signer(signer.keys, "us-east-1")
        assert signed(signer, "GET", "/", "", headers) == signed(fresh, "GET", "/", "", headers)


@pytest.mark.parametrize(
    ("key", "spelt"),
    [
        ("a/b", "a/b"),
        ("a//b/./../c", "a//b/./../c"),
        ("a+b c", "a%2Bb%20c"),
        ("a%2Fb", "a%252Fb"),
        ("-._~", "-._~"),
        ("!*'()", "%21%2A%27%28%29"),
        ("\u00e9", "%C3%A9"),
        ("e\u0301", "e%CC%81"),
        ("\U0001d54f", "%F0%9D%95%8F"),
        ("\x01\x7f", "%01%7F"),
    ],
)
def test_keys_are_spelt_and_never_normalised(key: str, spelt: str) -> None:
    assert spell(key) == spelt


def test_what_is_secret_does_not_show() -> None:
    keys = Keys("AKIA", "not-this", "nor-this")
    assert repr(keys) == str(keys) == "Keys('AKIA')"
