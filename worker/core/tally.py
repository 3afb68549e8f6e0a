"""What a plan amounts to: objects and bytes by what becomes of them, by size and by prefix, in little memory.

A plan's steps are counted as they pass on to the packer, at a fraction of what packing costs. Sizes are kept
by power of two, prefixes by `core.prefixes`.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterable, Iterator

import msgspec

from worker.core.compare import Comparison
from worker.core.model import LARGEST_PUT, ObjectRef, is_md5
from worker.core.pack import DEFAULT_LIMITS
from worker.core.plan import Action, Step
from worker.core.prefixes import Prefixes

ARCHIVED = frozenset({"GLACIER", "DEEP_ARCHIVE"})
"""Storage classes that cannot be read before a restore (S3 User Guide, "Working with archived objects")."""

FAN_OUT_ABOVE = 1024**3
"""Bytes above which a multipart object is copied by many workers at once."""

_MD5_LENGTH = 32
_MOST_PARTS = 10_000
_PART = 64 * 1024**2
_SPREAD = 16
"""Hints to an object at least, where it has so many parts."""

_BIT_LENGTHS = 66
"""More than the sizes of objects have."""


class Fate(enum.StrEnum):
    """What becomes of a source object, in the order in which it is told."""

    COPY = "copy"
    """The destination has none of that key."""
    REPLACE = "replace"
    """The destination has another."""
    UNPROVEN = "unproven"
    """The listings cannot tell: workers look, and copy it unless checksums say that it is there."""
    ARCHIVED = "archived"
    """Sent to the workers, who can read it only if it is restored by then."""
    EQUAL = "equal"
    UNNAMEABLE = "unnameable"
    TOO_LARGE = "too large"


MOVED = (Fate.COPY, Fate.REPLACE, Fate.UNPROVEN)
"""Fates whose bytes are moved, as far as the listings can tell."""


class Parts(msgspec.Struct):
    """Objects that are copied in parts, how many parts, and how many hints name parts to other workers."""

    objects: int = 0
    parts: int = 0
    hints: int = 0

    def __add__(self, other: Parts) -> Parts:
        return Parts(self.objects + other.objects, self.parts + other.parts, self.hints + other.hints)


class Sizes:
    """Objects and bytes by the bit length of the size: 0 for none, 1 for one byte, 2 for two or three, ..."""

    def __init__(self) -> None:
        self.objects = [0] * _BIT_LENGTHS
        self.bytes = [0] * _BIT_LENGTHS


class Tally:
    """Counts the steps of one plan.

    Args:
        prefix: the source's, below which prefixes are told.

    Attributes:
        fates: what becomes of objects, by storage class.
        in_one: those of them that one worker moves in parts, by storage class.
        fanned_out: those of them that many workers move in parts, by storage class.
        prefixes: where the moved bytes are.
    """

    def __init__(self, prefix: str) -> None:
        self.fates: dict[Fate, dict[str, Sizes]] = {fate: {} for fate in Fate}
        self.in_one: dict[str, Parts] = {}
        self.fanned_out: dict[str, Parts] = {}
        self.prefixes = Prefixes(prefix)

    def through(self, steps: Iterable[Step]) -> Iterator[ObjectRef]:
        """Count the steps, and yield the objects that tasks are made of, in their order."""
        # Every object of a bucket comes through here: all is at hand, and no enumeration is hashed.
        copy, replace, unproven, archived, equal, *refused = self.fates.values()
        folder, is_deepest, objects, moved = "", False, 0, 0
        for step in steps:
            ref, action = step.ref, step.action
            size, storage_class = ref.size, ref.storage_class
            if action is not Action.COPY:
                classes = equal if action is Action.EQUAL else refused[action is Action.TOO_LARGE]
            elif storage_class in ARCHIVED:
                classes = archived
            elif step.comparison is None:
                classes = copy
            else:
                classes = (replace, unproven)[step.comparison is Comparison.UNPROVEN]
            sizes = classes.get(storage_class)
            if sizes is None:
                sizes = classes[storage_class] = Sizes()
            length = size.bit_length()
            sizes.objects[length] += 1
            sizes.bytes[length] += size
            if action is not Action.COPY:
                continue
            if classes is not archived:
                key = ref.key
                if not (key.startswith(folder) and (is_deepest or key.find("/", len(folder)) < 0)):
                    folder, is_deepest = self.prefixes.enter(key, objects, moved)
                    objects = moved = 0
                objects += 1
                moved += size
                if len(ref.etag) != _MD5_LENGTH or size > FAN_OUT_ABOVE:
                    self._count_parts(ref)
            yield ref
        self.prefixes.close(objects, moved)

    def objects(self, *fates: Fate) -> dict[str, int]:
        """Objects that meet one of the fates, by storage class."""
        counts: Counter[str] = Counter()
        for fate in fates:
            counts.update({name: sum(sizes.objects) for name, sizes in self.fates[fate].items()})
        return dict(counts)

    def empty(self) -> dict[str, int]:
        """Objects without a byte that are to be moved, by storage class."""
        counts: Counter[str] = Counter()
        for fate in MOVED:
            counts.update({name: sizes.objects[0] for name, sizes in self.fates[fate].items()})
        return dict(counts)

    def bytes(self, *fates: Fate) -> dict[str, int]:
        """Bytes of objects that meet one of the fates, by storage class."""
        counts: Counter[str] = Counter()
        for fate in fates:
            counts.update({name: sum(sizes.bytes) for name, sizes in self.fates[fate].items()})
        return dict(counts)

    @property
    def parted(self) -> list[tuple[str, Parts]]:
        """All that is moved in parts, by storage class, which may come twice."""
        return [*self.in_one.items(), *self.fanned_out.items()]

    def _count_parts(self, ref: ObjectRef) -> None:
        """Count the object where it is copied in parts."""
        single = is_md5(ref.etag) and ref.size <= LARGEST_PUT
        fans_out = not single and ref.size > FAN_OUT_ABOVE
        if fans_out or part_count(ref.etag):
            kind, parts = self.fanned_out if fans_out else self.in_one, parts_of(ref)
            hints = hints_for(ref.size, parts) if fans_out else 0
            kind[ref.storage_class] = kind.get(ref.storage_class, Parts()) + Parts(1, parts, hints)


def part_count(etag: str) -> int:
    """Parts that an object was uploaded in, by its ETag (`...-N`); 0 where that does not tell."""
    mark, number = etag[_MD5_LENGTH : _MD5_LENGTH + 1], etag[_MD5_LENGTH + 1 :]
    if mark != "-" or not number.isdecimal() or len(number) > len(str(_MOST_PARTS)):
        return 0
    return int(number) if int(number) <= _MOST_PARTS else 0


def parts_of(ref: ObjectRef) -> int:
    """Parts that an object is copied in: as many as it was uploaded in, else as its size wants."""
    size = max(_PART, -(-ref.size // _MOST_PARTS))
    return part_count(ref.etag) or max(1, -(-ref.size // size))


def hints_for(size: int, parts: int) -> int:
    """Messages that name an object's parts to other workers, each about as much work as a pack."""
    work = int(DEFAULT_LIMITS.seconds * DEFAULT_LIMITS.bytes_per_second)
    step = min(work // -(-size // parts), -(-parts // _SPREAD))
    return -(-parts // max(1, step))
