"""What is copied: seeded objects, the same at every run, in key order.

| name | objects | bytes each |
|---|---|---|
| large | 16 | 256 MiB |
| medium | 1,024 | 4 MiB |
| small | 40,000 | 16 KiB |
| one | 1 | 16 KiB: what a tool's start and end cost |
| radar | 1,000 | as the NEXRAD archive's, 0 to 65 MB, median 645 KB |

Each takes many seconds, so that half a second of start, which a real transfer's hours hide, does not pass for
the cost of a GiB; it is in the figures none the less, and `one` tells how much of them it is. The server
holds 4 GiB, and while a tool copies as much again.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from tests import archive

SEED = 20261125
KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
PIECE = 16 * MIB
"""Bytes at once; `Random.randbytes` has an upper limit below the largest object."""

SHAPES = {
    "large": (16, 256 * MIB),
    "medium": (1_024, 4 * MIB),
    "small": (40_000, 16 * KIB),
    "one": (1, 16 * KIB),
}
RADAR_OBJECTS = 1000
NAMES = (*SHAPES, "radar")


def fill(name: str, scale: float) -> Iterator[tuple[str, bytes]]:
    """Key and bytes of each object of a workload; `scale` multiplies how many there are, except of `one`."""
    if name == "radar":
        for found in archive.generate(max(2, round(RADAR_OBJECTS * scale)), SEED, scale=1):
            # rclone takes a key that ends in a slash for a folder, and leaves it out.
            if not found.key.endswith("/"):
                yield found.key, found.body()
        return
    count, size = SHAPES[name]
    if name != "one":
        count = max(1, round(count * scale))
    random = Random(SEED)
    for number in range(count):
        yield (
            f"{name}/{number:06}",
            b"".join(random.randbytes(min(size, PIECE)) for _ in range(-(-size // PIECE))),
        )


def unit(name: str) -> tuple[str, float]:
    """What a workload's cost is told for, such as `GiB`, and how much of that one object is."""
    if name == "one":
        return "run", 1.0
    if name in ("small", "radar"):
        return "1,000 objects", 1 / 1000
    return "GiB", SHAPES[name][1] / GIB
