"""The embedded AWS as a process: `python -m tests.cloud.server`.

Binds a free loopback port, prints it as the first line of its output, and ends when its standard input does,
so that a killed parent leaves no server behind. Every request goes: control endpoint, or classify, faults,
moto, journal.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import threading
import traceback
from typing import Any

from tests.cloud.faults import Faults, Rule, error_response
from tests.cloud.journal import Journal, classify
from tests.cloud.moto_bridge import Bridge
from tests.cloud.web import Request, Response, Server

# No bucket may begin with an underscore, and no other service has such a path.
CONTROL = "/_cloud/"


class Application:
    """Everything behind the socket."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self._journal = Journal()
        self._faults = Faults()

    def __call__(self, request: Request) -> Response:
        """Answer one request and record it."""
        if request.path.startswith(CONTROL):
            try:
                return self._control(request.path.removeprefix(CONTROL), request)
            except ValueError as error:
                return Response(400, {"Content-Type": "text/plain"}, f"{error}\n".encode())
        call = classify(request)
        received = len(request.body)
        try:
            response = self._faults.apply(call, request, lambda: self._bridge.perform(call, request))
        except Exception:  # noqa: BLE001 - a fault of moto's must be an answer, or the client waits for ever
            traceback.print_exc()
            response = error_response(call.service, 500, "InternalError", traceback.format_exc(limit=-1))
        self._journal.add(call, request.method, received, response)
        return response

    def _control(self, name: str, request: Request) -> Response:
        arguments: Any = json.loads(request.body) if request.body else {}
        result: object = None
        match request.method, name:
            case "GET", "journal":
                result = self._journal.rows()
            case "GET", "counts":
                result = self._journal.counts()
            case "DELETE", "journal":
                self._journal.clear()
            case "POST", "faults":
                self._faults.add(Rule(**arguments))
            case "DELETE", "faults":
                self._faults.clear()
            case "POST", "settings":
                self._bridge.set(**arguments)
            case "POST", "users":
                from tests.cloud.moto_bridge import make_user  # noqa: PLC0415 - as in main

                result = make_user(**arguments)
            case ("GET", "machines") | ("POST", "credentials" | "interrupt" | "rebalance"):
                from tests.cloud import moto_fleet  # noqa: PLC0415 - as in main

                result = getattr(moto_fleet, name)(**arguments)
            case "POST", "reset":
                self._bridge.reset()
                self._journal.clear()
                self._faults.clear()
            case _:
                return Response(404)
        return Response(200, {"Content-Type": "application/json"}, json.dumps(result).encode())


def main() -> None:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser(prog="python -m tests.cloud.server")
    parser.add_argument("--auth", action="store_true", help="enforce signatures and IAM policies")
    options = parser.parse_args()
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    # moto takes a second to import: not before the options are known to be right.
    from tests.cloud import moto_bridge, moto_fleet, moto_iam, moto_patches, moto_sqs  # noqa: PLC0415

    for patches in (moto_patches, moto_sqs, moto_iam, moto_fleet):
        patches.apply()
    holder: list[Application] = []
    server = Server(lambda request: holder[0](request))  # noqa: PLW0108 - it comes later
    bridge = moto_bridge.Bridge(server.port, auth=options.auth)
    holder.append(Application(bridge))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdout.write(f"{server.port}\n")
    sys.stdout.flush()
    sys.stdin.buffer.read()


if __name__ == "__main__":
    main()
