"""Two peers for each test, credentials, and a throw-away authority."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator

import pytest

from tests import tls
from tests.wire import KEYS
from tests.wire.peer import Peer
from worker.aws import session


def adopt(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    """Let this process know these variables, and nothing else of AWS's or of proxies."""
    for name in os.environ:
        if name.startswith("AWS_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    off = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    for name, value in (off | {"AWS_EC2_METADATA_DISABLED": "true"} | variables).items():
        monkeypatch.setenv(name, value)
    session._session.cache_clear()  # noqa: SLF001 - one process, many identities


@pytest.fixture(autouse=True, scope="package")
def credentials() -> Iterator[None]:
    """Static credentials from the environment; made once, for botocore's models take long to read."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        adopt(monkeypatch, **KEYS)
        yield
    session._session.cache_clear()  # noqa: SLF001 - one process, many identities


@pytest.fixture
def own_credentials(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """For a test that changes them."""
    adopt(monkeypatch, **KEYS)
    yield monkeypatch
    session._session.cache_clear()  # noqa: SLF001 - one process, many identities


@pytest.fixture
def source() -> Iterator[Peer]:
    """Where objects come from."""
    with Peer() as peer:
        yield peer


@pytest.fixture
def destination() -> Iterator[Peer]:
    """Where they go."""
    with Peer() as peer:
        yield peer


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tls.Authority:
    """A certificate for localhost and 127.0.0.1 that nothing but a test trusts."""
    return tls.authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def server_context(authority: tls.Authority) -> ssl.SSLContext:
    """What a server needs to show it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.certificate, authority.key)
    return context
