"""Whose fault is a 403? One object's, or that of the credentials as a whole?

S3 answers `AccessDenied` alike for an object with an owner or a key of its own and for a role without the
permission. Taking the second for the first would send a whole bucket to the dead-letter queue. So a denial
waits for evidence:

| what came after the denial | verdict |
|---|---|
| an object copied whose copy began after it | the object's own |
| `MANY` denials and no such copy | the endpoint's |
| nothing else left to try: all in hand is denied, the queue gave nothing more | the object's own |

Each worker process counts for itself. That costs a few requests more before all have stopped, and no object:
what waits for a verdict when the endpoint is blamed is given back.
"""

from __future__ import annotations

from typing import Generic, TypeVar

_T = TypeVar("_T")

MANY = 20


class Denials(Generic[_T]):
    """Denials that wait for a verdict. Times are seconds of any one monotonic clock."""

    def __init__(self) -> None:
        self._waiting: list[tuple[_T, float]] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, item: _T, ended: float) -> None:
        """A denial, observed at `ended`."""
        self._waiting.append((item, ended))

    def copied(self, began: float) -> list[_T]:
        """An object was copied, its copy begun at `began`: the denials that are now the objects' own."""
        decided = [item for item, ended in self._waiting if ended <= began]
        self._waiting = [(item, ended) for item, ended in self._waiting if ended > began]
        return decided

    @property
    def blame_endpoint(self) -> bool:
        """Whether the denials are too many to be the objects' own."""
        return len(self._waiting) >= MANY

    def take_all(self) -> list[_T]:
        """All that wait, and forget them."""
        items = [item for item, _ in self._waiting]
        self._waiting = []
        return items
