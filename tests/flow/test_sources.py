"""Saved listings of every kind: whole and in key order, or refused by name before the first object comes."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import random
import resource
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from tests import inventories
from tests.core import keys, properly
from tests.inventories import CURRENT, SOURCE, deliver, record
from tests.keys import KEYS, fuzzed
from worker.core import lines
from worker.core.errors import ListingError, UsageError
from worker.core.listing import in_order
from worker.core.model import Endpoint, ObjectRef
from worker.flow import sort
from worker.flow.sources import open_listing

Row = dict[str, Any]
ETAG = "174e902285547a333a8bc348cf62f88f"


def row(key: str, **fields: object) -> Row:
    """A row as the AWS CLI prints it, with these fields changed."""
    return {
        "Key": key,
        "LastModified": "2015-10-28T22:23:24+00:00",
        "ETag": f'"{ETAG}"',
        "Size": 10,
        "StorageClass": "STANDARD",
    } | fields


def ref(key: str) -> ObjectRef:
    """What all kinds of listings tell of a key."""
    return ObjectRef(key, 10, ETAG, 1_446_071_004, "STANDARD")


def save(path: Path, *rows: Row, **others: object) -> Path:
    """A listing file, lines or document, gzipped, as its name says."""
    if ".jsonl" in path.name:
        content = b"".join(json.dumps(one).encode() + b"\n" for one in rows)
    else:
        content = json.dumps({"Contents": rows, "RequestCharged": None} | others, indent=4).encode()
    packers: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.compress, ".zst": zstandard.compress}
    path.write_bytes(packers.get(path.suffix, bytes)(content))
    return path


def nowhere(bucket: str) -> Endpoint:
    raise AssertionError(bucket)


def refs(*where: Path, prefix: str = "") -> list[ObjectRef]:
    """What saved listings tell of the bucket."""
    found = open_listing([str(one) for one in where], Endpoint(bucket=SOURCE, prefix=prefix), nowhere)
    return list(found)


def listed(*where: Path, prefix: str = "") -> list[str]:
    return [one.key for one in refs(*where, prefix=prefix)]


def refused(*where: Path, match: str, name: Path | None = None) -> str:
    """The complaint about a listing, which must name the file."""
    with pytest.raises(ListingError, match=match) as caught:
        refs(*where)
    assert str(caught.value).startswith(f"{name or where[0]}: ")
    return str(caught.value)


# --- documents and lines


@pytest.mark.parametrize(
    "name",
    [
        "a.json",
        "a.json.gz",
        "a.txt",
        "no suffix",
        "a.GZ.json",
        "a.jsonl",
        "a.jsonl.gz",
        "a.jsonl.zst",
        "x.jsonl.txt",
    ],
)
def test_a_listing_is_what_its_content_says(tmp_path: Path, name: str) -> None:
    assert refs(save(tmp_path / name, row("1991/k"), row("1991/l"))) == [ref("1991/k"), ref("1991/l")]


def test_compression_is_told_by_content_too(tmp_path: Path) -> None:
    packed, plain = save(tmp_path / "a.gz", row("a")), save(tmp_path / "b", row("b"))
    assert listed(packed.rename(tmp_path / "a.json"), plain.rename(tmp_path / "b.json.gz")) == ["a", "b"]


def test_our_own_lines_are_read(tmp_path: Path) -> None:
    wanted = [ref("a"), ref("b"), ObjectRef("c", 0, "e-2", 0, "GLACIER", "v1")]
    (tmp_path / "a.jsonl").write_bytes(b"".join(map(lines.encode, wanted)))
    assert refs(tmp_path / "a.jsonl") == wanted


def test_one_line_without_its_end_is_a_line(tmp_path: Path) -> None:
    (tmp_path / "a").write_text(json.dumps(row("a")))
    assert listed(tmp_path / "a") == ["a"]


def test_a_file_of_several_packed_members_is_read_to_its_end(tmp_path: Path) -> None:
    whole = save(tmp_path / "whole.json", row("a"), row("b")).read_bytes()
    file = tmp_path / "a.json.gz"
    for compress in (gzip.compress, zstandard.compress):
        file.write_bytes(compress(whole[:50]) + compress(whole[50:]))
        assert listed(file) == ["a", "b"]


WHOLE = json.dumps({"Contents": [row("k")]}).encode()
LINE = json.dumps(row("k")).encode() + b"\n"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        pytest.param(b"", "it is empty", id="empty"),
        pytest.param(gzip.compress(b""), "it is empty", id="empty gzip"),
        pytest.param(b"\n\n", "at byte 2", id="blank"),
        pytest.param(WHOLE[:-5], "it ends within a row", id="truncated"),
        pytest.param(WHOLE + b"{}", "something stands behind its end", id="more behind"),
        pytest.param(b"2015-10-28 22:23:24  10 k\n", "not what `aws s3api", id="aws s3 ls"),
        pytest.param(WHOLE.decode().encode("utf-16"), "not what `aws s3api", id="UTF-16"),
        pytest.param(LINE * 3 + LINE[:-9], "not JSON lines.*: line 4: .*truncated", id="line cut"),
        pytest.param(LINE + b"\n" + LINE + b"[]\n", "line 4: Expected `object`", id="line array"),
        pytest.param(LINE + LINE + WHOLE, "line 3: .*missing required field", id="document among lines"),
        pytest.param(LINE + LINE.replace(b": 10,", b": null,"), "line 2: Expected `int`", id="line null"),
        pytest.param(LINE + LINE.replace(b'"k"', b'"\xff"'), "line 2: 'utf-8' codec", id="line Latin-1"),
        pytest.param(LINE + b'{"Key":"' + b"k" * 2**21, "more than 1,048,576 bytes", id="line endless"),
        pytest.param(gzip.compress(WHOLE) + b"x", "cannot be read to its end", id="garbage behind gzip"),
        pytest.param(zstandard.compress(WHOLE) + b"x", "cannot be read to its end", id="garbage behind zstd"),
        pytest.param(gzip.compress(WHOLE)[:-8] + bytes(8), "CRC check failed", id="gzip CRC"),
    ],
)
def test_what_is_no_listing_is_refused_by_name_with_the_place(
    tmp_path: Path, content: bytes, complaint: str
) -> None:
    bad = tmp_path / "bad.json"
    bad.write_bytes(content)
    assert "again" in refused(bad, match=complaint)


def told_or_refused(file: Path) -> list[list[str]]:
    """The listing; none where it is refused, as it ought to be: by name, with what to do."""
    try:
        return [listed(file)]
    except ListingError as error:
        text = str(error)
    assert text.startswith(f"{file}: ")
    assert "again" in text
    return []


@pytest.mark.parametrize("name", ["a.json", "a.json.gz", "a.jsonl", "a.jsonl.gz", "a.jsonl.zst"])
def test_a_file_cut_anywhere_is_refused_or_whole_up_to_a_line(tmp_path: Path, name: str) -> None:
    file = save(tmp_path / name, row("a"), row("b"), row("c"))
    whole = file.read_bytes()
    told: list[list[str]] = []
    for length in range(len(whole)):
        file.write_bytes(whole[:length])
        told += told_or_refused(file)
    # Uncompressed lines alone cannot tell, where a line ends, whether more should follow.
    assert told == ([["a"], ["a"], ["a", "b"], ["a", "b"], ["a", "b", "c"]] if name == "a.jsonl" else [])


def test_a_damaged_gzip_file_is_refused_or_what_it_was(tmp_path: Path) -> None:
    """The header holds bytes that say nothing of the content, such as the time."""
    file = save(tmp_path / "a.json.gz", row("a"), row("b"))
    whole, seed = file.read_bytes(), random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= chance.randrange(1, 256)
        file.write_bytes(damaged)
        assert told_or_refused(file) in ([], [["a", "b"]])


def test_a_bad_file_is_an_error_before_the_first_object_comes(tmp_path: Path) -> None:
    good, bad = save(tmp_path / "a.json", row("a")), tmp_path / "b.json"
    bad.write_text("{")
    with pytest.raises(ListingError, match=r"b\.json"):
        next(open_listing([str(good), str(bad)], Endpoint(bucket=SOURCE), nowhere))


def test_a_bad_last_row_is_an_error_before_the_first_object_comes(tmp_path: Path) -> None:
    file = save(tmp_path / "a.jsonl", *[row(f"{number:06}") for number in range(5_000)], row("x", Size=-1))
    with pytest.raises(ListingError, match="line 5,001"):
        next(open_listing([str(file)], Endpoint(bucket=SOURCE), nowhere))


# --- which files


def test_a_missing_path_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ListingError, match=r"gone\.json: no such file or folder"):
        open_listing([str(tmp_path / "gone.json")], Endpoint(bucket=SOURCE), nowhere)


def test_a_folder_without_listings_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("")
    refused(tmp_path, match=r"holds no \*\.json or \*\.jsonl file, plain, \.gz or \.zst")


def test_a_folder_gives_its_listings_at_any_depth_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er.json").mkdir(parents=True)
    save(tmp_path / "b.json", row("b"))
    save(tmp_path / "deep" / "er.json" / "a.json.gz", row("a"))
    save(tmp_path / "deep" / "c.jsonl", row("c"))
    save(tmp_path / "deep" / "d.jsonl.gz", row("d"))
    for name in ("c.txt", "d.gz", "e.json.bak", "json"):
        (tmp_path / name).write_text("no listing")
    assert listed(tmp_path) == ["a", "b", "c", "d"]


def test_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    refused(tmp_path / "pipe", match="no file that can be read twice")


# --- order


def no_sorting(_pieces: object) -> Iterable[ObjectRef]:
    raise AssertionError


@pytest.fixture
def unsorted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing may be sorted."""
    monkeypatch.setattr(sort, "by_key", no_sorting)


@pytest.mark.usefixtures("unsorted")
def test_files_in_order_that_do_not_overlap_are_not_sorted(tmp_path: Path) -> None:
    files = [
        save(tmp_path / "1.json", row("c"), row("d")),
        save(tmp_path / "2.jsonl", row("a"), row("b")),
        save(tmp_path / "3.json.gz"),
        save(tmp_path / "4.json", row("\uffff"), row("\U00010000")),
    ]
    assert listed(*files) == ["a", "b", "c", "d", "\uffff", "\U00010000"]
    assert listed(*files, prefix="c") == ["c"]
    assert listed(*files, prefix="none") == []


@pytest.mark.parametrize(
    "files",
    [
        [["b", "a"]],
        [["a", "c"], ["b", "d"]],
        [["a", "b"], ["b", "c"]],
        [["a", "a"]],
        [["a", "d"], ["b", "c"]],
    ],
)
@pytest.mark.usefixtures("unsorted")
def test_all_other_files_are_sorted(tmp_path: Path, files: list[list[str]]) -> None:
    paths = [save(tmp_path / f"{n}.json", *map(row, names)) for n, names in enumerate(files)]
    with pytest.raises(AssertionError):
        refs(*paths)


def test_rows_of_all_files_come_sorted_by_the_bytes_of_their_keys(tmp_path: Path) -> None:
    one = save(tmp_path / "1.json", row("b"), row("\U00010000"), row("a/"), row("B"))
    two = save(tmp_path / "2.json.gz", row("\uffff"), row("a-"), row("\u00e9"), row("a"))
    assert listed(one, two) == ["B", "a", "a-", "a/", "b", "\u00e9", "\uffff", "\U00010000"]


@pytest.mark.parametrize("newer_first", [True, False])
def test_where_files_overlap_the_newer_row_counts(tmp_path: Path, *, newer_first: bool) -> None:
    old = save(tmp_path / "old.json", row("a"), row("b", ETag='"old"', Size=1), row("c"))
    new = save(
        tmp_path / "new.json",
        row("b", ETag='"new"', Size=2, LastModified="2015-10-28T22:23:25+00:00"),
        row("d"),
    )
    found = refs(*([new, old] if newer_first else [old, new]))
    assert [one.key for one in found] == ["a", "b", "c", "d"]
    assert (found[1].etag, found[1].size, found[1].last_modified) == ("new", 2, 1_446_071_005)


def test_a_key_twice_in_one_file_comes_once(tmp_path: Path) -> None:
    file = save(
        tmp_path / "a.json", row("k"), row("k", Size=2, LastModified="2020-01-01T00:00:00Z"), row("k")
    )
    assert [one.size for one in refs(file)] == [2]


def test_only_keys_under_the_prefix_are_kept(tmp_path: Path) -> None:
    rows = [row("a/b"), row("a"), row("a/"), row("ab"), row("b/a/"), row("A/b")]
    for file in (save(tmp_path / "a.json", *rows), save(tmp_path / "b.jsonl", *rows)):
        assert listed(file, prefix="a/") == ["a/", "a/b"]
        assert listed(file, prefix="a") == ["a", "a/", "a/b", "ab"]
        assert listed(file, prefix="none") == []


def test_no_object_is_no_error(tmp_path: Path) -> None:
    assert listed(save(tmp_path / "a.json")) == []


def test_no_room_on_the_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sort, "_CACHE_KIB", 64)
    file = save(tmp_path / "a.jsonl", *[row(f"{number}") for number in range(9_000, 0, -1)])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(UsageError, match=r"cannot be sorted on disk .*\$TMPDIR"):
            refs(file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


# --- folders that a delimiter left out


def test_what_a_delimiter_left_out_must_be_in_another_file(tmp_path: Path) -> None:
    top = tmp_path / "top.json"
    top.write_text(
        json.dumps({"Keys": [row("a"), row("z")], "CommonPrefixes": [{"Prefix": "b/"}, {"Prefix": "c/"}]})
    )
    below_b = tmp_path / "b.json"
    below_b.write_text(json.dumps({"Keys": None, "CommonPrefixes": [{"Prefix": "b/1/"}]}))
    below_b1, below_c = save(tmp_path / "b1.json", row("b/1/x")), save(tmp_path / "c.json", row("c/"))
    assert listed(top, below_b, below_b1, below_c) == ["a", "b/1/x", "c/", "z"]
    assert listed(top, below_c, prefix="c") == ["c/"]
    end = tmp_path / "end.json"
    end.write_text(json.dumps({"Keys": [row("a")], "CommonPrefixes": [{"Prefix": "zz/"}]}))
    for files, lacks in (
        ([end], "zz/"),
        ([top, below_b, below_b1], "c/"),
        ([top, below_b, below_c], "b/"),
        ([below_b, below_c], "b/1/"),
        ([top, save(tmp_path / "last.json", row("b/1"), row("c"))], "c/"),
    ):
        with pytest.raises(ListingError, match=f"nothing is listed below '{lacks}'"):
            refs(*files)


def test_what_a_delimiter_left_out_counts_for_a_deeper_prefix_too(tmp_path: Path) -> None:
    top = tmp_path / "top.json"
    top.write_text(json.dumps({"Contents": [row("readme")], "CommonPrefixes": [{"Prefix": "in/"}]}))
    with pytest.raises(ListingError, match="nothing is listed below 'in/'"):
        listed(top, prefix="in/0000")
    assert listed(top, save(tmp_path / "in.json", row("in/00001")), prefix="in/0000") == ["in/00001"]
    assert listed(top, prefix="out/") == []


# --- listings that tell of their own end


@pytest.mark.parametrize(
    "says", [{"NextToken": "eyJ"}, {"IsTruncated": True}, {"NextContinuationToken": "1ueG", "Name": SOURCE}]
)
def test_a_truncated_listing_is_refused_unless_another_goes_on(tmp_path: Path, says: dict[str, Any]) -> None:
    cut = save(tmp_path / "1.json", row("in/a"), row("in/b"), **says)
    refused(cut, match="more after 'in/b', which no listing named tells of")
    before = save(tmp_path / "0.json", row("in/0"))
    refused(cut, before, match="more after 'in/b'")
    with pytest.raises(ListingError, match=r"1\.json: .*more after 'in/b'"):
        listed(cut, prefix="in/")
    assert listed(cut, prefix="im/") == []
    rest = save(tmp_path / "2.json", row("in/c"), IsTruncated=False, NextToken=None)
    assert listed(cut, before, rest) == ["in/0", "in/a", "in/b", "in/c"]
    empty = save(tmp_path / "3.json", **says)
    refused(empty, match="more after ''")
    folders = tmp_path / "4.json"
    folders.write_text(json.dumps({"Contents": [], "CommonPrefixes": [{"Prefix": "in/d/"}]} | says))
    refused(rest, folders, save(tmp_path / "5.json", row("in/b/x")), match="more after 'in/d/'", name=folders)


# --- inventories

FORMATS = ("CSV", "Parquet", "ORC")
SOME = [record("b c+d%2F"), record("a/é\U0001f600"), record("\n\"'")]


@pytest.mark.parametrize("file_format", FORMATS)
def test_a_report_is_read(tmp_path: Path, file_format: str) -> None:
    manifest = deliver(tmp_path / "inv", file_format, SOME, [], [record("0", storage_class="GLACIER")])
    found = refs(manifest)
    names = ["\n\"'", "0", "a/é\U0001f600", "b c+d%2F"]
    assert [one.key for one in found] == names
    assert [one for one in found if one.key != "0"] == [ref(name) for name in names if name != "0"]
    assert found[1].storage_class == "GLACIER"
    assert listed(manifest.parent) == names, "the report's folder"
    assert listed(manifest, prefix="a") == ["a/é\U0001f600"]


@pytest.mark.parametrize("file_format", FORMATS)
def test_a_report_on_versions_tells_the_latest(tmp_path: Path, file_format: str) -> None:
    records = [
        record("a", is_latest=False, size=1),
        record("a", size=2),
        record("a", is_latest=False, is_delete_marker=True, size=None, e_tag=None),
        record("gone", is_delete_marker=True, size=None, e_tag=None, storage_class=None),
        record("gone", is_latest=False),
    ]
    found = refs(deliver(tmp_path, file_format, records, columns=list(inventories.COLUMNS)))
    assert [(one.key, one.size, one.version_id) for one in found] == [("a", 2, None)]


@pytest.mark.parametrize("file_format", FORMATS)
def test_a_report_on_versions_that_does_not_tell_the_latest_is_refused(
    tmp_path: Path, file_format: str
) -> None:
    columns = [name for name in inventories.COLUMNS if name != "is_latest"]
    manifest = deliver(tmp_path, file_format, SOME, columns=columns)
    with pytest.raises(ListingError, match="lists all versions, and lacks IsLatest"):
        refs(manifest)


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize("column", ["size", "e_tag", "last_modified_date", "storage_class"])
def test_a_report_without_a_needed_column_is_refused(tmp_path: Path, file_format: str, column: str) -> None:
    manifest = deliver(tmp_path, file_format, SOME, columns=[name for name in CURRENT if name != column])
    with pytest.raises(ListingError, match=f"lacks {column.replace('_', '')}: .* optional fields Size"):
        refs(manifest)


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize(
    ("bad", "complaint"),
    [
        ({"size": None}, "Expected `int`|Expected `int`, got `null`"),
        ({"size": -1}, ">= 0"),
        ({"key": ""}, "length >= 1"),
        ({"last_modified_date": None}, "Expected `datetime`|Invalid RFC3339"),
        ({"bucket": "other"}, "of bucket 'other', not of radar"),
        ({"is_latest": None}, "is neither true nor false"),
    ],
)
def test_a_bad_record_is_refused_by_file_and_number(
    tmp_path: Path, file_format: str, bad: dict[str, object], complaint: str
) -> None:
    records = [record(f"{number}") for number in range(1_500)]
    records[1_234] = record("x") | bad
    manifest = deliver(tmp_path, file_format, SOME, records, columns=list(inventories.COLUMNS))
    with pytest.raises(ListingError, match=complaint) as caught:
        refs(manifest)
    assert "data/00000001-" in str(caught.value)
    assert ": record 1,235: " in str(caught.value)


@pytest.mark.parametrize("file_format", FORMATS)
def test_an_altered_or_missing_data_file_is_refused_before_the_first_object(
    tmp_path: Path, file_format: str
) -> None:
    manifest = deliver(tmp_path, file_format, SOME, [record("z")])
    last = max((tmp_path / "data").iterdir())
    whole = last.read_bytes()
    for altered in (whole[:-1], whole + b"\n", whole[:9] + bytes([whole[9] ^ 1]) + whole[10:], b""):
        last.write_bytes(altered)
        refused(manifest, match="not the file that the manifest tells of", name=last)
    last.unlink()
    refused(manifest, match="No such file", name=last)


def test_a_data_file_that_is_no_csv_is_refused(tmp_path: Path) -> None:
    manifest = deliver(tmp_path, "CSV", SOME)
    [file] = (tmp_path / "data").iterdir()
    for content, complaint in (
        (b'"radar","a","10"\n', "record 1: 3 values for 7 columns"),
        (b'"radar","a', "line 1: no CSV: unexpected end of data"),
        (b'"radar","%ff","10","2015-10-28T22:23:24.000Z","e","STANDARD",""\n', "record 1: 'utf-8' codec"),
        (b'"radar","\xff"\n', "'utf-8' codec"),
        (b'"radar","a","","2015-10-28T22:23:24.000Z","e","STANDARD",""\n', "record 1: Expected `int`"),
    ):
        _replace(manifest, file, gzip.compress(content))
        refused(manifest, match=complaint, name=file)


@pytest.mark.parametrize("file_format", ["Parquet", "ORC"])
def test_a_data_file_of_another_format_is_refused(tmp_path: Path, file_format: str) -> None:
    manifest = deliver(tmp_path, file_format, SOME)
    [file] = (tmp_path / "data").iterdir()
    _replace(manifest, file, b"neither Parquet nor ORC")
    refused(manifest, match=f"no {file_format}: ", name=file)


def _replace(manifest: Path, file: Path, content: bytes) -> None:
    """Put another data file in a report's only one's place, as if it had been so from the start."""
    said = json.loads(manifest.read_text())
    file.write_bytes(content)
    said["files"][0]["MD5checksum"] = hashlib.md5(content, usedforsecurity=False).hexdigest()
    inventories.write_manifest(manifest, said)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"sourceBucket": "other"}, "it reports on bucket other, and the source is radar"),
        ({"fileFormat": "Avro"}, "no manifest of an S3 Inventory report: Invalid enum value 'Avro'"),
        ({"files": None}, "Expected `array`, got `null`"),
        ({"files": [{"key": "data/x.csv.gz", "size": 1}]}, "missing required field `MD5checksum`"),
        ({"files": [{"key": "data/x.csv.gz", "MD5checksum": "x"}]}, "MD5checksum"),
        ({"fileSchema": None}, "Expected `str`"),
    ],
)
def test_a_manifest_that_is_none_is_refused(
    tmp_path: Path, change: dict[str, object], complaint: str
) -> None:
    manifest = deliver(tmp_path, "CSV", SOME)
    inventories.write_manifest(manifest, json.loads(manifest.read_text()) | change)
    refused(manifest, match=complaint)


def test_a_manifest_that_its_checksum_does_not_fit_is_refused(tmp_path: Path) -> None:
    manifest = deliver(tmp_path, "CSV", SOME)
    whole = manifest.read_bytes()
    for altered in (whole[:-1], whole + b" ", whole.replace(b"radar", b"rodar", 1)):
        manifest.write_bytes(altered)
        refused(manifest, match=r"it is not what manifest\.checksum says")
    manifest.write_bytes(whole)
    manifest.with_name("manifest.checksum").unlink()
    refused(manifest, match="No such file", name=manifest.with_name("manifest.checksum"))


def test_a_report_stands_by_itself(tmp_path: Path) -> None:
    manifest = deliver(tmp_path / "one", "CSV", SOME)
    other = deliver(tmp_path / "two", "CSV", SOME)
    lines_ = save(tmp_path / "a.jsonl", row("a"))
    for where in ([manifest, other], [manifest, lines_], [lines_, manifest], [tmp_path]):
        with pytest.raises(ListingError, match=r"manifest\.json: an inventory report stands by itself"):
            refs(*where)


def test_data_files_may_lie_beside_the_manifest(tmp_path: Path) -> None:
    manifest = deliver(tmp_path, "CSV", SOME)
    [file] = (tmp_path / "data").iterdir()
    file.rename(manifest.with_name(file.name))
    assert len(refs(manifest)) == 3


def test_an_empty_report_tells_of_no_object(tmp_path: Path) -> None:
    assert refs(deliver(tmp_path, "CSV")) == []


@pytest.mark.parametrize("file_format", ["Parquet", "ORC"])
def test_without_pyarrow_an_error_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file_format: str
) -> None:
    manifest = deliver(tmp_path, file_format, SOME)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ListingError, match=r"takes pyarrow: pip install 'fleetcopy\[inventory\]'"):
        refs(manifest)


# --- any key, through every kind

Writer = Callable[[Path, Sequence[str]], Path]


def _report(file_format: str) -> Writer:
    return lambda folder, names: deliver(folder, file_format, [record(name) for name in names])


WRITERS: dict[str, Writer] = {
    "document": lambda folder, names: save(folder / "a.json", *map(row, names)),
    "packed document": lambda folder, names: save(folder / "a.json.gz", *map(row, names)),
    "lines": lambda folder, names: save(folder / "a.jsonl", *map(row, names)),
    **{file_format: _report(file_format) for file_format in FORMATS},
}


@pytest.mark.parametrize("kind", WRITERS)
def test_every_odd_key_survives(tmp_path: Path, kind: str) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    names = [*KEYS.values(), *fuzzed(random.Random(seed), 2_000)]
    random.Random(seed).shuffle(names)
    assert refs(WRITERS[kind](tmp_path, names)) == [ref(name) for name in sorted(set(names))]


@pytest.mark.parametrize("kind", WRITERS)
@properly
@given(st.lists(keys().filter(bool), min_size=1, max_size=6))
def test_any_keys_come_once_each_in_order_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, kind: str, names: list[str]
) -> None:
    found = refs(WRITERS[kind](tmp_path_factory.mktemp("any"), names))
    assert found == [ref(name) for name in sorted(set(names), key=str.encode)]
    assert len(list(in_order(found, "", "test"))) == len(found)
