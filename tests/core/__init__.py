"""Tests of `worker.core`; here, what they share: objects in short, and strategies for keys and objects."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st

from worker.core.model import Endpoint, ObjectRef, Transfer

ONE_MD5 = "174e902285547a333a8bc348cf62f88f"
OTHER_MD5 = "d41d8cd98f00b204e9800998ecf8427e"

properly = settings(deadline=None)
"""How properties are run: as many examples as usual, no clock, for the machine may be busy."""


def transfer(source: str = "", destination: str = "") -> Transfer:
    """A transfer between two buckets, with these prefixes."""
    return Transfer(
        Endpoint(bucket="source", prefix=source), Endpoint(bucket="destination", prefix=destination)
    )


def ref(key: str, size: int = 1, etag: str = ONE_MD5, *, seen: str | None = None) -> ObjectRef:
    """An object as listed; `seen` is what the plan saw at the destination."""
    return ObjectRef(key, size, etag, 1_446_069_400, destination_etag=seen)


def keys() -> st.SearchStrategy[str]:
    """Any keys, and such as share prefixes, collide, and differ in length of UTF-8 and UTF-16."""
    near = st.text("ab/\x00\x7f\u00e9\ud7ff\ue000\uffff\U00010000\U0010ffff", max_size=4)
    return near | st.text(max_size=20)


def several(most: int, least: int = 1) -> st.SearchStrategy[list[ObjectRef]]:
    """Lists of objects that differ in key, as those of a task do."""
    return st.lists(objects(), min_size=least, max_size=most, unique_by=lambda one: one.key)


def objects() -> st.SearchStrategy[ObjectRef]:
    """Any objects that a listing may hold."""
    return st.builds(
        ObjectRef,
        keys().filter(bool),
        st.integers(0, 2**63),
        st.text(max_size=40),
        st.integers(-(2**40), 2**40),
        st.sampled_from(["STANDARD", "GLACIER", "\u00e9\n"]),
        st.none() | st.text(max_size=40),
        st.none() | st.text(max_size=40),
    )
