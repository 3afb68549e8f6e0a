"""Listings as streams of object references in key order, and the join of two of them.

Key order is S3's: by the bytes of the UTF-8 text, which is also the order of its code points, and so of
Python's strings. A stream out of order is an error: a join over it would call present objects missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from worker.core.errors import ListingError
from worker.core.model import ObjectRef, Transfer


def in_order(refs: Iterable[ObjectRef], prefix: str, origin: str) -> Iterator[tuple[str, ObjectRef]]:
    """Pairs of key without `prefix`, and object.

    Args:
        refs: objects in key order.
        prefix: what every key must start with.
        origin: where the listing comes from, for the error's text.

    Raises:
        ListingError: a key repeats, stands out of order or lies outside the prefix.
    """
    cut = len(prefix)
    last: str | None = None
    for ref in refs:
        if not ref.key.startswith(prefix):
            raise ListingError(f"{origin}: key {ref.key!r} lies outside prefix {prefix!r}")
        if last is not None and ref.key <= last:
            raise ListingError(
                f"{origin}: key {ref.key!r} stands after {last!r}, out of order; "
                "directory buckets and some S3 look-alikes list so, and cannot be compared"
            )
        last = ref.key
        yield ref.key[cut:], ref


def just_below(key: str) -> str:
    """A text that sorts before `key`, and that hardly any other key comes between: for `StartAfter`."""
    before, last = key[:-1], ord(key[-1:] or "\0")
    if last == 0:
        return before
    # UTF-8 has no surrogates: below U+E000 comes U+D7FF.
    return before + chr(0xD7FF if last == 0xE000 else last - 1) + "\U0010ffff"  # noqa: PLR2004


def paired(
    transfer: Transfer, source: Iterable[ObjectRef], destination: Iterable[ObjectRef]
) -> Iterator[tuple[ObjectRef | None, ObjectRef | None]]:
    """The objects of both sides of a transfer, in pairs by their names; see `join`.

    Raises:
        ListingError: a side is out of order, or holds what is none of its prefix.
    """
    return join(
        in_order(source, transfer.source.prefix, transfer.source.uri),
        in_order(destination, transfer.destination.prefix, transfer.destination.uri),
    )


def join(
    source: Iterable[tuple[str, ObjectRef]], destination: Iterable[tuple[str, ObjectRef]]
) -> Iterator[tuple[ObjectRef | None, ObjectRef | None]]:
    """Merge two listings, each as `in_order` yields it: pairs of source and destination object, by key."""
    left, right = iter(source), iter(destination)
    one, two = next(left, None), next(right, None)
    while one is not None and two is not None:
        if one[0] < two[0]:
            yield one[1], None
            one = next(left, None)
        elif two[0] < one[0]:
            yield None, two[1]
            two = next(right, None)
        else:
            yield one[1], two[1]
            one, two = next(left, None), next(right, None)
    if one is not None:
        yield one[1], None
    if two is not None:
        yield None, two[1]
    for _, ref in left:
        yield ref, None
    for _, ref in right:
        yield None, ref
