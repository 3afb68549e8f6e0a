"""Which proof a whole-object PUT can carry, from what the source's GET shows.

| source shows | PUT sends | proof |
|---|---|---|
| ETag that is an MD5 digest (no `-N`, no KMS, no SSE-C) | `Content-MD5` from the ETag | md5 |
| stored full-object checksum | that checksum | checksum |
| neither | nothing | transport |

In the first two rows S3 refuses wrong bytes before it publishes them, and nothing was hashed here. Of an
endpoint that is not known to check the second, `aws.bodies` does.
"""

from __future__ import annotations

import base64

import msgspec

from worker.core.compare import Seen
from worker.core.model import Proof, is_md5


class Digest(msgspec.Struct, frozen=True):
    """What the PUT declares of its bytes.

    Attributes:
        proof: the kind.
        algorithm: `MD5` or the name of an S3 checksum; empty for transport.
        value: base64.
    """

    proof: Proof
    algorithm: str = ""
    value: str = ""


def choose(source: Seen) -> Digest:
    """The strongest proof that costs no reading of the bytes."""
    if source.digest and is_md5(source.etag):
        return Digest(Proof.MD5, "MD5", base64.b64encode(bytes.fromhex(source.etag)).decode())
    for algorithm, value in sorted(source.checksums.items()):
        return Digest(Proof.CHECKSUM, algorithm, value)
    return Digest(Proof.TRANSPORT)
