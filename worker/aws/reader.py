"""Reading objects of either side to sum their bytes, over our own wire; nothing is written."""

from __future__ import annotations

import base64
import ssl
import threading

from awscrt.checksums import crc64nvme

from worker.aws.exchange import Request
from worker.aws.http import Limits, ThreadBuffers, Watch
from worker.aws.transfer import WireTransferrer
from worker.aws.wire import Site
from worker.core.compare import Seen
from worker.core.errors import Side
from worker.core.model import ObjectRef, Transfer

_PIECE = 524_288


class WireReader:
    """Implements `flow.deep.Reader`; safe to use from many threads."""

    def __init__(self, transfer: Transfer, *, threads: int, context: ssl.SSLContext) -> None:
        self._transfer = transfer
        self._look = WireTransferrer(transfer, streams=threads, context=context).look
        self._limits = Limits()
        self._sites: dict[Side, Site] = {
            "source": Site(
                transfer.source,
                "source",
                context=context,
                limits=self._limits,
                payer=transfer.options.request_payer,
            ),
            "destination": Site(transfer.destination, "destination", context=context, limits=self._limits),
        }
        self._buffers = ThreadBuffers(_PIECE)

    def look(self, ref: ObjectRef) -> tuple[Seen | None, Seen | None]:
        """See `Reader.look`."""
        return self._look(ref)

    def crc64nvme(self, side: Side, ref: ObjectRef, etag: str) -> str:
        """See `Reader.crc64nvme`."""
        site = self._sites[side]
        key = ref.key if side == "source" else self._transfer.destination_key(ref.key)
        watch = Watch(threading.Event(), self._limits)
        answer = site.get(Request("GET", key, {"if-match": f'"{etag}"'}, self._buffers(), watch))
        try:
            crc = 0
            while piece := site.read(answer):
                crc = crc64nvme(piece, crc)
        finally:
            answer.close()
        return base64.b64encode(crc.to_bytes(8, "big")).decode()
