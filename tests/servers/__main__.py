"""One real server: prints where it is and whose keys it takes as one JSON line, ends with standard input."""

from __future__ import annotations

import argparse
import json
import sys

from tests.servers import localstack, radosgw
from tests.servers.keeper import Keeper

SERVERS = {localstack.NAME: localstack, radosgw.NAME: radosgw}


def main() -> None:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser(prog="python -m tests.servers")
    parser.add_argument("name", choices=SERVERS)
    server = SERVERS[parser.parse_args().name]
    if reason := server.missing():
        sys.exit(reason)
    with Keeper() as keeper:
        url, (keys, stranger) = server.start(keeper)
        told = {
            "url": url,
            "certificate": str(keeper.authority.certificate),
            "keys": keys,
            "stranger": stranger,
        }
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()
        sys.stdin.buffer.read()


if __name__ == "__main__":
    main()
