"""The codec: what is written is read again, as ASCII, and whatever else comes is refused by a typed error."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core import objects, properly, ref, several, transfer
from worker.core.compare import Criterion
from worker.core.errors import MessageError
from worker.core.filters import Filters
from worker.core.message import (
    CopyTask,
    LargeTask,
    ListTask,
    PartTask,
    Stage,
    Task,
    Upload,
    common_prefix,
    decode,
    encode,
    to_ascii_json,
)
from worker.core.model import ObjectRef

TRANSFER = transfer()

# DESIGN's example of version 1, but for the transfer's id.
EXAMPLE = """{"v":1,"kind":"copy","transfer":"TRANSFER","attempt":0,"common_prefix":"1991/",
 "objects":[["06/05/KTLX/KTLX19910605_162126.gz",1027979,"174e902285547a333a8bc348cf62f88f",1446069400,"STANDARD",null,""]]}"""
EXAMPLE_TASK = CopyTask(
    TRANSFER.id,
    (
        ObjectRef(
            "1991/06/05/KTLX/KTLX19910605_162126.gz",
            1_027_979,
            "174e902285547a333a8bc348cf62f88f",
            1_446_069_400,
            "STANDARD",
            None,
            "",
        ),
    ),
)


def message(**json_of_fields: str) -> str:
    """A good message in which these fields have these JSON texts."""
    fields = {
        "v": "1",
        "kind": '"copy"',
        "transfer": f'"{TRANSFER.id}"',
        "attempt": "0",
        "common_prefix": '"a/"',
        "objects": '[["1",10,"e",1446069400,"STANDARD",null,""]]',
    } | json_of_fields
    return "{" + ",".join(f'"{name}":{text}' for name, text in fields.items()) + "}"


def refusal(body: str, prefix: str = "") -> str:
    with pytest.raises(MessageError) as caught:
        decode(body, transfer(prefix) if prefix else TRANSFER)
    assert caught.value.code == caught.value.reason
    return caught.value.reason


def test_designs_example_decodes() -> None:
    assert decode(EXAMPLE.replace("TRANSFER", TRANSFER.id), TRANSFER) == EXAMPLE_TASK


def test_the_wire_format_is_this_text() -> None:
    two = CopyTask(TRANSFER.id, (ref("1991/a", 5, "e1", seen=""), ref("1991/b", 6, "e2-3")), attempt=2)
    assert encode(two) == (
        f'{{"v":1,"kind":"copy","transfer":"{TRANSFER.id}","attempt":2,"common_prefix":"1991/",'
        '"objects":[["a",5,"e1",1446069400,"STANDARD",null,""],["b",6,"e2-3",1446069400,"STANDARD",null,null]]}'
    )


@properly
@given(several(5), st.integers(0, 2**31))
def test_what_is_encoded_decodes_to_itself(refs: list[ObjectRef], attempt: int) -> None:
    task = CopyTask(TRANSFER.id, tuple(refs), attempt)
    assert decode(encode(task), TRANSFER) == task


@properly
@given(st.lists(objects(), min_size=1, max_size=5))
def test_a_message_is_ascii_without_control_characters(refs: list[ObjectRef]) -> None:
    body = encode(CopyTask(TRANSFER.id, tuple(refs)))
    assert body.isascii()
    assert min(body) >= " "


@properly
@given(st.text(max_size=50))
def test_ascii_json_is_read_by_any_json_reader(text: str) -> None:
    assert json.loads(to_ascii_json([text])) == [text]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("\u00e9", r'"\u00e9"'),
        ("\uffff", r'"\uffff"'),
        ("\U0001f600", r'"\ud83d\ude00"'),
        ("\x00", r'"\u0000"'),
        ('"\\', r'"\"\\"'),
    ],
)
def test_characters_are_escaped_as_json_says(value: str, text: str) -> None:
    assert to_ascii_json(value) == text


@pytest.mark.parametrize(
    ("keys", "prefix"),
    [
        ([], ""),
        (["a/b"], "a/b"),
        (["a/b", "a/c"], "a/"),
        (["a/b", "a/bc"], "a/b"),
        (["a", "b"], ""),
        (["x\U0001f600", "x\U0001f601"], "x"),  # one UTF-16 unit in common, but no character
        (["\u00e9", "\u00ea"], ""),  # one byte in common, but no character
    ],
)
def test_the_common_prefix_is_cut_between_characters(keys: list[str], prefix: str) -> None:
    assert common_prefix(keys) == prefix


def test_unknown_fields_and_further_columns_are_ignored() -> None:
    body = message(
        objects='[["1",10,"e",1446069400,"STANDARD",null,"",{"new":1},2]]', later='{"any":["thing"]}'
    )
    assert decode(body, TRANSFER) == decode(message(), TRANSFER)


def test_a_rows_last_columns_may_be_left_out() -> None:
    task = decode(message(objects='[["1",10,"e",1446069400]]'), TRANSFER)
    assert task.objects == (ObjectRef("a/1", 10, "e", 1_446_069_400, "STANDARD", None, None),)


def test_a_key_named_twice_is_one_object() -> None:
    task = decode(message(objects='[["1",10,"e",1],["1",10,"e",1]]'), TRANSFER)
    assert [one.key for one in task.objects] == ["a/1"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        pytest.param("", "NotJSON", id="empty"),
        pytest.param("hello", "NotJSON", id="text"),
        pytest.param("[]", "NotJSON", id="array"),
        pytest.param("null", "NotJSON", id="null"),
        pytest.param('"{}"', "NotJSON", id="string"),
        pytest.param(message()[:-1], "NotJSON", id="cut short"),
        pytest.param(message() + "x", "NotJSON", id="more behind"),
        pytest.param("\ufeff" + message(), "NotJSON", id="byte order mark"),
        pytest.param("\ud800", "NotJSON", id="no Unicode text"),
        pytest.param(message(common_prefix=r'"\ud800"'), "NotJSON", id="half a surrogate pair"),
        pytest.param(message(common_prefix='"\n"'), "NotJSON", id="raw control character"),
        pytest.param(message(v="1" * 5_000), "NotJSON", id="endless number"),
        pytest.param("{}", "UnknownVersion", id="no fields"),
        pytest.param(message(v="2"), "UnknownVersion", id="version 2"),
        pytest.param(message(v="0"), "UnknownVersion", id="version 0"),
        pytest.param(message(v="true"), "UnknownVersion", id="version true"),
        pytest.param(message(v='"1"'), "UnknownVersion", id="version text"),
        pytest.param(message(v="1.5"), "UnknownVersion", id="version 1.5"),
        pytest.param(message(v="null"), "UnknownVersion", id="version null"),
        pytest.param(message(v="[1]"), "UnknownVersion", id="version array"),
        pytest.param(message(v="1.0"), "Malformed", id="version float"),
        pytest.param(message()[:-1] + ',"v":2}', "UnknownVersion", id="two versions, the last counts"),
        pytest.param(message(v="2", objects="7"), "UnknownVersion", id="a later version's other shape"),
        pytest.param(message(kind='"move"'), "UnknownKind", id="kind move"),
        pytest.param(message(kind='["copy"]'), "UnknownKind", id="kind array"),
        pytest.param(message(kind="null"), "UnknownKind", id="kind null"),
        pytest.param(message(kind='"Copy"'), "UnknownKind", id="kind in another case"),
        pytest.param(message(transfer='"0123456789abcdef"'), "UnknownTransfer", id="another transfer"),
        pytest.param(message(transfer="null"), "UnknownTransfer", id="transfer null"),
        pytest.param(message(attempt="-1"), "Malformed", id="negative attempt"),
        pytest.param(message(attempt='"0"'), "Malformed", id="attempt text"),
        pytest.param(message(attempt="true"), "Malformed", id="attempt true"),
        pytest.param(message(attempt="0.5"), "Malformed", id="attempt fraction"),
        pytest.param(message(attempt="1e999"), "Malformed", id="attempt beyond numbers"),
        pytest.param(message(common_prefix="null"), "Malformed", id="prefix null"),
        pytest.param(message(objects="[]"), "Malformed", id="no objects"),
        pytest.param(message(objects="{}"), "Malformed", id="objects no array"),
        pytest.param(message(objects='["1"]'), "Malformed", id="row no array"),
        pytest.param(message(objects='[["1",10]]'), "Malformed", id="row too short"),
        pytest.param(message(objects='[["1","10","e",1]]'), "Malformed", id="size text"),
        pytest.param(message(objects='[["1",true,"e",1]]'), "Malformed", id="size true"),
        pytest.param(message(objects='[["1",-1,"e",1]]'), "Malformed", id="negative size"),
        pytest.param(message(objects='[["1",10,null,1]]'), "Malformed", id="no ETag"),
        pytest.param(message(objects='[[null,10,"e",1]]'), "Malformed", id="key null"),
        pytest.param(
            message(common_prefix='""', objects='[["",10,"e",1]]'), "Malformed", id="object without key"
        ),
    ],
)
def test_what_is_no_task_of_ours_is_refused_with_its_reason(body: str, reason: str) -> None:
    assert refusal(body) == reason


@pytest.mark.parametrize("missing", ["attempt", "common_prefix", "objects"])
def test_a_missing_field_is_malformed(missing: str) -> None:
    fields = json.loads(message())
    del fields[missing]
    assert refusal(json.dumps(fields)) == "Malformed"


@pytest.mark.parametrize(
    ("prefix", "rows"),
    [
        pytest.param("b/", '[["1",10,"e",1]]', id="other prefix"),
        pytest.param("a", '[["1",10,"e",1]]', id="prefix without its slash"),
        pytest.param("", '[["a/1",10,"e",1],["A/1",10,"e",1]]', id="one of several, by case"),
        pytest.param("../a/", '[["1",10,"e",1]]', id="dots before"),
        pytest.param("/a/", '[["1",10,"e",1]]', id="slash before"),
    ],
)
def test_a_key_outside_the_source_prefix_is_refused(prefix: str, rows: str) -> None:
    ours = transfer("a/")
    body = message(transfer=f'"{ours.id}"', common_prefix=json.dumps(prefix), objects=rows)
    assert refusal(body, "a/") == "ForeignKey"


def test_a_key_may_spread_over_prefix_and_row_as_it_likes() -> None:
    ours = transfer("a/b/")
    body = message(transfer=f'"{ours.id}"', common_prefix='"a"', objects='[["/b/1",10,"e",1]]')
    assert decode(body, ours).objects[0].key == "a/b/1"


def test_a_refusal_says_what_to_do() -> None:
    with pytest.raises(MessageError, match=r"version 7, this worker reads 1: work with the release that"):
        decode(message(v="7"), TRANSFER)
    with pytest.raises(
        MessageError, match=r"s3://source/ to s3://destination/\): give each transfer a queue"
    ):
        decode(message(transfer='"x"'), TRANSFER)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize("field", ["other", "objects"])
def test_nesting_beyond_the_parsers_depth_is_a_message_error(field: str) -> None:
    with pytest.raises(MessageError):
        decode(message(**{field: "[" * 10_000 + "]" * 10_000}), TRANSFER)


UPLOAD = Upload("u1", 100, "CRC64NVME", hinted=20, arrived=12, looks=2, stalls=1)
OTHER_KINDS: list[Task] = [
    LargeTask(TRANSFER.id, ref("a/1", 1 << 40, seen="")),
    LargeTask(TRANSFER.id, ref("a/1", 1 << 40), 2, Stage.UPLOAD, UPLOAD, late=5, refusals=3),
    LargeTask(TRANSFER.id, ref("a/1", 1 << 40), 2, Stage.ABORT, UPLOAD, late=100),
    LargeTask(TRANSFER.id, ref("a/\u00e9\uffff", 1 << 40), 0, Stage.CLEAN, late=100),
    PartTask(TRANSFER.id, ref("a/\x00", 1 << 40), UPLOAD, 1, 10_000, attempt=1),
    ListTask(TRANSFER.id),
    ListTask(TRANSFER.id, "a/\U0001f600", "b\uffff", attempt=4),
    ListTask(TRANSFER.id, filters=Filters(include=("*.gz",), max_size=7), by=Criterion.SIZE),
]


@pytest.mark.parametrize("task", OTHER_KINDS, ids=lambda task: type(task).__name__)
def test_tasks_of_other_kinds_decode_to_themselves(task: Task) -> None:
    body = encode(task)
    assert body.isascii()
    assert min(body) >= " "
    assert decode(body, TRANSFER) == task


def test_the_wire_format_of_other_kinds_is_this_text() -> None:
    start = f'{{"v":1,"kind":"KIND","transfer":"{TRANSFER.id}","attempt":0,'
    row = '["k",250,"e",1446069400,"STANDARD",null,null]'
    upload = (
        '{"id":"u1","part_size":100,"checksum":"","own":false,"hinted":0,"arrived":0,"looks":0,"stalls":0}'
    )
    big = ref("k", 250, "e")
    assert encode(LargeTask(TRANSFER.id, big)) == (
        start.replace("KIND", "large")
        + f'"object":{row},"stage":"start","upload":null,"late":0,"refusals":0}}'
    )
    assert encode(PartTask(TRANSFER.id, big, Upload("u1", 100), 1, 3)) == (
        start.replace("KIND", "part") + f'"object":{row},"upload":{upload},"first":1,"last":3}}'
    )
    assert encode(ListTask(TRANSFER.id, "a", "b")) == (
        start.replace("KIND", "list")
        + '"start_after":"a","end_at":"b","filters":{"include":[],"exclude":[],"min_size":0,"max_size":null,'
        '"modified_after":null,"modified_before":null,"storage_classes":[]},"by":"etag"}'
    )


def test_each_kind_names_what_its_delivery_waits_for() -> None:
    assert [[one.key for one in task.objects] for task in OTHER_KINDS] == [
        ["a/1"],
        ["a/1"],
        ["a/1"],
        ["a/\u00e9\uffff"],
        ["a/\x00"],
        [""],
        ["a/\U0001f600"],
        [""],
    ]


def test_a_list_message_may_leave_the_transfer_out() -> None:
    """As a stack writes it."""
    assert decode('{"v":1,"kind":"list"}', TRANSFER) == ListTask(TRANSFER.id)
    for kind in ("copy", "large", "part"):
        with pytest.raises(MessageError, match="belongs to transfer None"):
            decode(f'{{"v":1,"kind":"{kind}"}}', TRANSFER)
    with pytest.raises(MessageError, match="belongs to transfer 'x'"):
        decode('{"v":1,"kind":"list","transfer":"x"}', TRANSFER)


def altered(task: Task, **fields: object) -> str:
    """A good message of a task, with these fields instead."""
    return json.dumps(json.loads(encode(task)) | fields)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (altered(OTHER_KINDS[0], attempt=-1), "Malformed"),
        (altered(OTHER_KINDS[0], stage="upload"), "Malformed"),
        (altered(OTHER_KINDS[0], stage="x"), "Malformed"),
        (altered(OTHER_KINDS[0], late=-1), "Malformed"),
        (altered(OTHER_KINDS[0], refusals=-1), "Malformed"),
        (altered(OTHER_KINDS[0], object=["", 1, "e", 1]), "Malformed"),
        (altered(OTHER_KINDS[0], object=["k", -1, "e", 1]), "Malformed"),
        (altered(OTHER_KINDS[0], object=[]), "Malformed"),
        (altered(OTHER_KINDS[1], upload=None), "Malformed"),
        (altered(OTHER_KINDS[1], stage="clean"), "Malformed"),
        (altered(OTHER_KINDS[1], upload={"id": "", "part_size": 1}), "Malformed"),
        (altered(OTHER_KINDS[1], upload={"id": "u", "part_size": 0}), "Malformed"),
        (altered(OTHER_KINDS[1], upload={"id": "u"}), "Malformed"),
        (altered(OTHER_KINDS[4], first=0), "Malformed"),
        (altered(OTHER_KINDS[4], first=3, last=2), "Malformed"),
        (altered(OTHER_KINDS[4], last=10_001), "Malformed"),
        (altered(OTHER_KINDS[4], upload=None), "Malformed"),
        (altered(OTHER_KINDS[4], upload={"id": "u", "part_size": 0}), "Malformed"),
        (altered(OTHER_KINDS[5], attempt=-1), "Malformed"),
        (altered(OTHER_KINDS[5], start_after=None), "Malformed"),
        (altered(OTHER_KINDS[5], transfer="x"), "UnknownTransfer"),
    ],
)
def test_what_is_no_task_of_another_kind_is_refused(body: str, reason: str) -> None:
    assert refusal(body) == reason


@pytest.mark.parametrize("task", [OTHER_KINDS[0], OTHER_KINDS[4]])
def test_a_large_object_outside_the_source_prefix_is_refused(task: Task) -> None:
    assert refusal(altered(task, transfer=transfer("b/").id), "b/") == "ForeignKey"


FIELDS = st.sampled_from(["v", "kind", "transfer", "attempt", "common_prefix", "objects", "other"])


@properly
@given(st.dictionaries(FIELDS, JSON, max_size=3), st.integers(0, 5_000))
def test_any_json_decodes_or_is_refused(fields: dict[str, object], depth: int) -> None:
    nested = {"other": "[" * depth + "]" * depth}
    body = message(**nested, **{name: json.dumps(value) for name, value in fields.items() if name != "other"})
    try:
        task = decode(body, TRANSFER)
    except MessageError:
        return
    assert all(one.key and one.size >= 0 for one in task.objects)


@properly
@given(st.integers(0, len(EXAMPLE)), st.integers(0, 20), st.text(max_size=5))
def test_a_damaged_message_decodes_or_is_refused(start: int, length: int, damage: str) -> None:
    good = EXAMPLE.replace("TRANSFER", TRANSFER.id)
    with contextlib.suppress(MessageError):
        decode(good[:start] + damage + good[start + length :], TRANSFER)


@properly
@given(st.text() | st.text('{}[]",:\\ue0123456789trufalsn '))
def test_text_decodes_or_is_refused(body: str) -> None:
    assert refusal(body)
