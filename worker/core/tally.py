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
from worker.core.large import parts_a_hint
from worker.core.model import ARCHIVES, ObjectRef
from worker.core.parts import FAN_OUT_ABOVE, count, is_large, part_size, parts_in
from worker.core.plan import Action, Step
from worker.core.prefixes import Prefixes

_MD5_LENGTH = 32

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
            elif storage_class in ARCHIVES:
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
        fans_out, own = is_large(ref), parts_in(ref.etag)
        if fans_out or own:
            kind, size = self.fanned_out if fans_out else self.in_one, part_size(ref.size)
            parts = own or count(ref.size, size)
            hints = -(-parts // parts_a_hint(parts, -(-ref.size // own) if own else size)) if fans_out else 0
            kind[ref.storage_class] = kind.get(ref.storage_class, Parts()) + Parts(1, parts, hints)
