"""Buckets that hold millions of objects and take no memory: every key is computed from its number.

| name | keys |
|---|---|
| flat | one prefix, twelve digits |
| dated | year/month/day/station/time |
| hashed | 32 hexadecimal digits |
| unicode | four of 64 characters from Latin to emoji, with spaces, `+` and `%` |

`flat-5000` is a bucket of the first shape with 5,000 objects. `answer` gives ListObjectsV2's pages of it as
S3 really sends them. `LIES` are buckets whose page from the 2,001st object on is not what it says, and
`damaged-flat-100000` one that lacks an object, holds another altered, and one more: `DAMAGE`.

`python -m tests.listings` serves them all over HTTP on a loopback port, which it prints, until its standard
input ends.
"""

from __future__ import annotations

import hashlib
import sys
import threading
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import overload
from urllib.parse import quote_plus

from tests.cloud.web import Request, Response, Server

PAGE = 1000
LAST = "\U0010ffff"
LIE_AT = 2000

DAMAGE = {"missing": 2_000, "altered": 50_000, "added": 70_000}
"""Numbers of the objects that are missing, altered, and followed by one that is added, its key one longer."""

_CHARACTERS = sorted("0123456789abcdefghijklmnopqrs +%&<éßøжщюяאבגدذر日本中文字漢語한국조ñö\ue000\uffe5\U0001f600\U0001f680\U0001f9ea\U0002070e")[:64]  # fmt: skip  # noqa: E501
_STATIONS = ("KABR", "KBUF", "KCRP", "KDTX", "KEWX", "KFTG", "KGRK", "KTLX")
_PER_DAY = 100


def _flat(number: int, _count: int) -> str:
    return f"data/{number:012}.bin"


def _dated(number: int, _count: int) -> str:
    number, scan = divmod(number, _PER_DAY)
    number, station = divmod(number, len(_STATIONS))
    number, day = divmod(number, 28)
    year, month = divmod(number, 12)
    name = _STATIONS[station]
    return f"{1991 + year}/{month + 1:02}/{day + 1:02}/{name}/{name}_{scan * 864:06}.gz"


def _hashed(number: int, count: int) -> str:
    step = (1 << 128) // count
    jitter = (number * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF) * step >> 64
    return f"{number * step + jitter:032x}"


def _unicode(number: int, _count: int) -> str:
    digits = [number >> shift & 63 for shift in (18, 12, 6, 0)]
    one, two, three, four = (_CHARACTERS[digit] for digit in digits)
    return f"日誌/{one}{two}+ {three}{four}%2F.txt"


SHAPES: dict[str, Callable[[int, int], str]] = {
    "flat": _flat,
    "dated": _dated,
    "hashed": _hashed,
    "unicode": _unicode,
}


class Keys(Sequence[str]):
    """The keys of a bucket, in order, by its name."""

    def __init__(self, bucket: str) -> None:
        shape, _, count = bucket.rpartition("-")
        self._shape = SHAPES[shape.rpartition("-")[2]]
        self._count = int(count)

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, number: int) -> str: ...
    @overload
    def __getitem__(self, number: slice) -> list[str]: ...
    def __getitem__(self, number: int | slice) -> str | list[str]:
        if isinstance(number, slice):
            return [self._shape(one, self._count) for one in range(*number.indices(self._count))]
        return self._shape(number, self._count)


def digest(bucket: str) -> str:
    """SHA-256 of the listing that `fleetcopy list` is to make of it."""
    found, known = hashlib.sha256(), Keys(bucket)
    for start in range(0, len(known), PAGE):
        lines = [
            f'{{"Key":"{key}","Size":{number},"ETag":"{number:032x}",'
            f'"LastModified":"2026-11-25T21:47:{number % 60:02}.000Z","StorageClass":"STANDARD"}}\n'
            for number, key in enumerate(known[start : start + PAGE], start)
        ]
        found.update("".join(lines).encode())
    return found.hexdigest()


def answer(bucket: str, query: Mapping[str, str]) -> bytes:
    """A page of a bucket's listing."""
    known, prefix = Keys(bucket), query.get("prefix", "")
    start = bisect_left(known, prefix)
    if token := query.get("continuation-token"):
        start = int(token.removeprefix("1ueGcxLPRx1Tr/XYExHnhbYLgveDs2J/wm36Hy4vbOwM="))
    elif after := query.get("start-after"):
        start = max(start, bisect_right(known, after))
    most = min(PAGE, int(query.get("max-keys", PAGE)))
    end = bisect_right(known, prefix + LAST) if prefix else len(known)
    lie = LIES.get(bucket.partition("-")[0]) if start <= LIE_AT < start + most else None
    page = _Page(bucket, start, min(start + most, end), end)
    return (lie or _render)(page)


class _Page:
    def __init__(self, bucket: str, start: int, stop: int, end: int) -> None:
        self.bucket, self.start = bucket, start
        self.rows = [*enumerate(Keys(bucket)[start:stop], start)]
        if bucket.startswith("damaged-"):
            self.rows = [*_damaged(self.rows)]
        self.more = stop < end
        self.token = f"<NextContinuationToken>1ueGcxLPRx1Tr/XYExHnhbYLgveDs2J/wm36Hy4vbOwM={stop}</NextContinuationToken>"  # fmt: skip  # noqa: E501
        self.count = len(self.rows)
        if not self.more:
            self.token = ""


def _damaged(rows: Sequence[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """The rows as damage leaves them; an altered object has the ETag of another of its size."""
    for number, key in rows:
        if number != DAMAGE["missing"]:
            yield (-number if number == DAMAGE["altered"] else number), key
        if number == DAMAGE["added"]:
            yield number, f"{key}+"


def _render(page: _Page) -> bytes:
    spell = str if page.bucket.rpartition("-")[0] in {"flat", "dated", "hashed"} else quote_plus
    rows = [
        f"<Contents><Key>{spell(key)}</Key>"
        f"<LastModified>2026-11-25T21:47:{abs(number) % 60:02}.000Z</LastModified>"
        f"<ETag>&quot;{number % 2**128:032x}&quot;</ETag><ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm>"
        f"<ChecksumType>FULL_OBJECT</ChecksumType><Size>{abs(number)}</Size>"
        "<StorageClass>STANDARD</StorageClass>"
        "</Contents>"
        for number, key in page.rows
    ]
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Name>{page.bucket}</Name><Prefix></Prefix>{page.token}<KeyCount>{page.count}</KeyCount>"
        f"<MaxKeys>1000</MaxKeys><EncodingType>url</EncodingType><IsTruncated>{str(page.more).lower()}"
        f"</IsTruncated>{''.join(rows)}</ListBucketResult>"
    ).encode()


def _repeats(page: _Page) -> bytes:
    return _render(
        _Page(page.bucket, page.start - 1, page.start + len(page.rows) - 1, len(Keys(page.bucket)))
    )


def _disorders(page: _Page) -> bytes:
    page.rows[10], page.rows[11] = page.rows[11], page.rows[10]
    return _render(page)


def _loses(page: _Page) -> bytes:
    del page.rows[10]
    return _render(page)


def _stops(page: _Page) -> bytes:
    page.token = ""
    return _render(page)


def _contradicts(page: _Page) -> bytes:
    page.more = False
    return _render(page)


def _breaks(page: _Page) -> bytes:
    return _render(page)[:-100]


LIES: dict[str, Callable[[_Page], bytes]] = {
    "repeats": _repeats,
    "disorders": _disorders,
    "loses": _loses,
    "stops": _stops,
    "contradicts": _contradicts,
    "breaks": _breaks,
}
"""What a page does, by the first word of the bucket's name: `repeats-flat-5000`."""


class Lister:
    """Answers requests; all but listings do nothing, and no bucket tells how it is encrypted.

    Attributes:
        pages: pages asked for, by bucket.
        ask: told the bucket and the query of each page before it is answered.
    """

    def __init__(
        self, ask: Callable[[str, Mapping[str, str]], object] = lambda _bucket, _query: None
    ) -> None:
        self.pages: Counter[str] = Counter()
        self.ask = ask

    def handle(self, request: Request) -> Response:
        """Answer a request."""
        bucket, query = request.bucket_and_key()[0], request.parameters()
        if "encryption" in query:
            return Response(404)
        if request.method != "GET" or "list-type" not in query:
            return Response(200)
        self.pages[bucket] += 1
        self.ask(bucket, query)
        return Response(200, {"Content-Type": "application/xml"}, answer(bucket, query))

    def serve(self) -> int:
        """Serve from threads of this process; the port."""
        server = Server(self.handle)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server.port


if __name__ == "__main__":
    print(Lister().serve(), flush=True)
    sys.stdin.read()
