"""What the environment says of the network, and what `config` makes of it."""

from __future__ import annotations

import msgspec
import pytest

from tests.conftest import Command
from worker import config
from worker.core.errors import UsageError
from worker.core.model import Endpoint, Transfer


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment without proxies."""
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def transfer(url: str | None = None, region: str | None = None) -> Transfer:
    """Between two buckets at one place."""
    source = Endpoint(bucket="a-bucket", endpoint_url=url, region=region)
    return Transfer(source, msgspec.structs.replace(source, bucket="b-bucket"))


@pytest.mark.parametrize(
    ("variables", "url", "region", "refused"),
    [
        ({}, None, None, ""),
        ({"HTTPS_PROXY": "http://p.test:1"}, None, None, "HTTPS_PROXY.*s3.us-east-1.amazonaws.com"),
        ({"https_proxy": "http://p.test:1"}, None, "eu-west-1", "s3.eu-west-1.amazonaws.com"),
        ({"https_proxy": "http://p.test:1"}, None, "cn-north-1", "s3.cn-north-1.amazonaws.com.cn"),
        ({"http_proxy": "http://p.test:1"}, None, None, ""),
        ({"http_proxy": "http://p.test:1"}, "http://s3.test", None, "HTTP_PROXY.*s3.test"),
        ({"https_proxy": "http://p.test:1", "no_proxy": ".amazonaws.com"}, None, None, ""),
        ({"https_proxy": "http://p.test:1", "NO_PROXY": "*"}, None, None, ""),
        ({"http_proxy": "http://p.test:1", "no_proxy": "s3.test"}, "http://s3.test:9000", None, ""),
    ],
)
def test_proxies_are_refused_where_they_would_be_needed(
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    url: str | None,
    region: str | None,
    refused: str,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    if not refused:
        config.refuse_proxies(transfer(url, region))
        return
    with pytest.raises(UsageError, match=refused) as raised:
        config.refuse_proxies(transfer(url, region))
    assert "NO_PROXY" in str(raised.value)


@pytest.mark.parametrize("command", ["work", "copy"])
def test_commands_that_move_objects_refuse_a_proxy(fleetcopy: Command, command: str) -> None:
    queue = ["--queue", "http://127.0.0.1:9/queue"] if command == "work" else []
    done = fleetcopy(
        command, "s3://a-bucket", "s3://b-bucket", *queue, http_proxy="http://user:hidden@127.0.0.1:9"
    )
    assert done.returncode == 2
    assert "proxies" in done.stderr
    assert "hidden" not in done.stderr


@pytest.mark.parametrize(("value", "bundle"), [(None, None), ("", None), ("/a.pem", "/a.pem")])
def test_the_bundle_of_certificates(
    monkeypatch: pytest.MonkeyPatch, value: str | None, bundle: str | None
) -> None:
    monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)
    if value is not None:
        monkeypatch.setenv("AWS_CA_BUNDLE", value)
    assert config.ca_bundle() == bundle
