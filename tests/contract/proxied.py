"""A server of the contract behind a proxy that spoils what TLS guards, as a load balancer's fault would."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from random import Random
from urllib.parse import urlsplit

from tests import tls
from tests.servers import Server
from tests.wire.proxy import Proxy

_HIGH = bytes(number | 0x80 for number in range(256))


def body_of(random: Random, size: int) -> bytes:
    """Bytes of which none is ASCII, as no other that passes here: what `Way.SPOIL` strikes is an object's."""
    return random.randbytes(size).translate(_HIGH)


@contextmanager
def behind(server: Server, authority: tls.Authority) -> Iterator[tuple[Server, Proxy]]:
    """The server as it is reached over TLS through a proxy, and the proxy."""
    shows = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    shows.load_cert_chain(authority.certificate, authority.key)
    trusts = ssl.create_default_context(cafile=server.certificate) if server.certificate else None
    port = urlsplit(server.url).port
    assert port
    with Proxy(port, shows=shows, trusts=trusts) as proxy:
        url = f"https://127.0.0.1:{proxy.port}"
        yield replace(server, url=url, certificate=authority.certificate), proxy
