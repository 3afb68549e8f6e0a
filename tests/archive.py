"""A radar archive in small: objects shaped like those of the public bucket `noaa-nexrad-level2`.

Pure and seeded: the same count and seed give the same keys, sizes, attributes and bytes, in key order, on any
machine. Keys are the real ones' pattern; sizes follow the real percentiles, divided by `scale`. Putting the
objects anywhere is the caller's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from itertools import count as count_up
from itertools import islice, pairwise
from random import Random

SCALE = 64

# Of the 5,271,040 objects of the years 1991 to 1998, as listed in November 2017: percentile, bytes.
PERCENTILES = (
    (0, 0),
    (5, 199_503),
    (25, 410_462),
    (50, 645_334),
    (75, 928_733),
    (95, 1_468_698),
    (99, 1_929_500),
    (100, 65_601_024),
)

STATIONS = ("KDDC", "KFDR", "KHGX", "KICT", "KLSX", "KLWX", "KMLB", "KTLX")
"""All that sent anything in 1991 and 1992."""

FIRST_FOLDER = date(1991, 1, 1)
MOST_FOLDERS = 59
FIRST_SCAN = date(1991, 6, 5)


@dataclass(frozen=True, slots=True)
class ArchivedObject:
    """One object of the archive; `body` makes its bytes anew at each call."""

    key: str
    size: int
    seed: int
    content_type: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)

    def body(self) -> bytes:
        """Return the object's bytes."""
        return Random(f"{self.seed} {self.key}").randbytes(self.size)


def generate(count: int, seed: int, scale: int = SCALE) -> Iterator[ArchivedObject]:
    """Yield `count` objects in key order: first the empty "folders", one in fifty, then the scans."""
    folders = min(MOST_FOLDERS, max(2, count // 50), count)
    for day in range(folders):
        yield ArchivedObject(f"{FIRST_FOLDER + timedelta(day):%Y/%m/%d}/", 0, seed)
    random = Random(seed)
    for station, begun in islice(_scans(random), count - folders):
        size = size_at(random.uniform(0, 100)) // scale
        yield _scan(station, begun, size, seed, random)


def size_at(percentile: float) -> int:
    """Return the real archive's size at a percentile, on a straight line between those that are known."""
    for (low, smaller), (high, larger) in pairwise(PERCENTILES):
        if percentile <= high:
            return round(smaller + (larger - smaller) * (percentile - low) / (high - low))
    raise ValueError(percentile)


def _scans(random: Random) -> Iterator[tuple[str, datetime]]:
    """Yield station and time of scan after scan, without end, in key order."""
    for day in count_up():
        date_ = FIRST_SCAN + timedelta(day)
        for station in sorted(random.sample(STATIONS, random.randint(1, 3))):
            begun = datetime.combine(date_, time()) + timedelta(seconds=random.randrange(12 * 3600))
            for _ in range(random.randint(15, 60)):
                yield station, begun
                begun += timedelta(seconds=random.randint(350, 370))


def _scan(station: str, begun: datetime, size: int, seed: int, random: Random) -> ArchivedObject:
    return ArchivedObject(
        key=f"{begun:%Y/%m/%d}/{station}/{station}{begun:%Y%m%d_%H%M%S}.gz",
        size=size,
        seed=seed,
        content_type="application/gzip" if random.random() < 0.5 else None,
        metadata={"station": station} if random.random() < 0.2 else {},
    )
