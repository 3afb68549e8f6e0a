"""A checkpoint goes on from where it was, and from no other submission's."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given

from tests.core import keys, properly, transfer
from worker.core.checkpoint import Checkpoint, begin, encode, resume
from worker.core.errors import UsageError

HERE = transfer("in/", "out/")


@properly
@given(keys())
def test_what_was_kept_is_gone_on_from(key: str) -> None:
    fresh = begin(HERE, ["*", 1], 7.0)
    kept = msgspec.structs.replace(fresh, sent_through=key)
    assert resume(encode(kept), begin(HERE, ["*", 1], 8.0), "here") == kept


@pytest.mark.parametrize(
    ("kept", "complaint"),
    [
        (b"", "here is not a checkpoint"),
        (b"{}", "here is not a checkpoint"),
        (b"\xff", "here is not a checkpoint"),
        (encode(begin(HERE, "x", 7.0))[:-9], "here is not a checkpoint"),
        (encode(begin(HERE, "x", 7.0)).replace(b'"v":1', b'"v":2'), "here is not a checkpoint"),
        (encode(begin(transfer("in/", "elsewhere/"), "x", 7.0)), "another transfer"),
        (encode(begin(HERE, "y", 7.0)), "another queue, endpoint, filter, comparison or listing"),
    ],
)
def test_what_is_not_this_submission_s_is_refused(kept: bytes, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        resume(kept, begin(HERE, "x", 7.0), "here")


def test_a_checkpoint_names_no_bucket() -> None:
    assert set(msgspec.json.decode(encode(begin(HERE, "x", 7.0)))) == {
        f.name for f in msgspec.structs.fields(Checkpoint)
    }
    assert b"source" not in encode(begin(HERE, "x", 7.0))
