"""Saved listings: read whole or refused by name, merged in key order whatever the order of files and rows."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core import keys, properly
from worker.core.errors import ListingError
from worker.core.listing import in_order
from worker.core.model import ObjectRef
from worker.flow import listing_files
from worker.flow.listing_files import find, merged, read

Row = dict[str, object]


def row(key: str, **fields: object) -> Row:
    """A row as the AWS CLI prints it, with these fields changed."""
    return {
        "Key": key,
        "LastModified": "2015-10-28T22:23:24+00:00",
        "ETag": '"174e902285547a333a8bc348cf62f88f"',
        "Size": 10,
        "StorageClass": "STANDARD",
    } | fields


def text(*rows: Row) -> str:
    return json.dumps({"Contents": rows, "RequestCharged": None, "Prefix": ""}, indent=4)


def save(path: Path, *rows: Row) -> Path:
    """A listing file, gzipped where its name says so."""
    content = text(*rows).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def listed(paths: Iterable[Path], prefix: str = "") -> list[str]:
    """The keys of all files that `paths` name."""
    return [one.key for one in merged(find(list(paths)), prefix)]


@pytest.mark.parametrize("name", ["a.json", "a.json.gz", "a.txt", "no suffix", "a.GZ.json"])
def test_a_listing_is_read_plain_or_gzipped(tmp_path: Path, name: str) -> None:
    assert read(save(tmp_path / name, row("1991/k"))) == [
        ObjectRef("1991/k", 10, "174e902285547a333a8bc348cf62f88f", 1_446_071_004, "STANDARD", None, None)
    ]


def test_a_file_of_several_gzip_members_is_read_to_its_end(tmp_path: Path) -> None:
    whole = text(row("a"), row("b")).encode()
    file = tmp_path / "a.json.gz"
    file.write_bytes(gzip.compress(whole[:50]) + gzip.compress(whole[50:]))
    assert listed([file]) == ["a", "b"]


@pytest.mark.parametrize(
    ("modified", "seconds"),
    [
        ("2015-10-28T22:23:24+00:00", 1_446_071_004),
        ("2015-10-28T22:23:24.000Z", 1_446_071_004),
        ("2015-10-28T22:23:24.999Z", 1_446_071_004),
        ("2015-10-29T00:23:24+02:00", 1_446_071_004),
        ("1970-01-01T00:00:00Z", 0),
    ],
)
def test_times_are_read_in_both_spellings_of_the_aws_cli(tmp_path: Path, modified: str, seconds: int) -> None:
    [one] = read(save(tmp_path / "a.json", row("k", LastModified=modified)))
    assert one.last_modified == seconds


def test_a_row_without_storage_class_is_standard_and_further_fields_are_ignored(tmp_path: Path) -> None:
    bare = row("k", ChecksumAlgorithm=["CRC32"], Owner={"ID": "x"})
    del bare["StorageClass"]
    [one] = read(save(tmp_path / "a.json", bare))
    assert one.storage_class == "STANDARD"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        pytest.param(b"", "not what `aws s3api list-objects-v2", id="empty"),
        pytest.param(text(row("k"))[:-5].encode(), "not what", id="truncated"),
        pytest.param(text(row("k")).encode() + b"{}", "not what", id="more behind"),
        pytest.param(b"2015-10-28 22:23:24  10 k\n", "not what", id="aws s3 ls"),
        pytest.param(b"<ListBucketResult/>", "not what", id="XML"),
        pytest.param(gzip.compress(text(row("k")).encode()), "not what", id="gzip without .gz"),
        pytest.param(b"\xff\xfe" + text(row("k")).encode("utf-16-le"), "not what", id="UTF-16"),
        pytest.param(text(row("@")).encode().replace(b"@", b"\xe9"), "not what", id="Latin-1"),
        pytest.param(text(row("@")).encode().replace(b"@", rb"\ud800"), "not what", id="half a character"),
        pytest.param(b"[]", "Expected `object`", id="array"),
        pytest.param(b"{}", "missing required field `Contents`", id="no contents"),
        pytest.param(b'{"Contents":null}', "Expected `array`", id="contents null"),
        pytest.param(b'{"Versions":[]}', "missing required field `Contents`", id="list-object-versions"),
        pytest.param(text({"Key": "k"}).encode(), "missing required field", id="row without size"),
        pytest.param(text(row("k", Size="10")).encode(), "Expected `int`", id="size text"),
        pytest.param(text(row("k", Size=1.5)).encode(), "Expected `int`", id="size fraction"),
        pytest.param(text(row("k", Key=None)).encode(), "Expected `str`", id="key null"),
        pytest.param(text(row("k", ETag=None)).encode(), "Expected `str`", id="ETag null"),
        pytest.param(text(row("k", LastModified="yesterday")).encode(), "Invalid RFC3339", id="time"),
        pytest.param(text(row("k", LastModified=1)).encode(), "Expected `datetime`", id="time a number"),
    ],
)
def test_what_is_no_such_listing_is_refused_by_name_with_the_place(
    tmp_path: Path, content: bytes, complaint: str
) -> None:
    file = tmp_path / "bad.json"
    file.write_bytes(content)
    with pytest.raises(ListingError, match=complaint) as caught:
        read(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert "save it again" in str(caught.value)


def test_a_gzip_file_cut_short_anywhere_is_refused_by_name(tmp_path: Path) -> None:
    file = save(tmp_path / "a.json.gz", row("k"))
    whole = file.read_bytes()
    for length in range(len(whole)):
        file.write_bytes(whole[:length])
        with pytest.raises(ListingError, match="again") as caught:
            read(file)
        assert str(caught.value).startswith(f"{file}: ")


@pytest.mark.parametrize("place", [0, 3, 20, -5, -1])
def test_a_damaged_gzip_file_is_refused_by_name(tmp_path: Path, place: int) -> None:
    file = save(tmp_path / "a.json.gz", row("k"))
    damaged = bytearray(file.read_bytes())
    damaged[place] ^= 0xFF
    file.write_bytes(damaged)
    with pytest.raises(ListingError, match=r"a\.json\.gz: .* again"):
        read(file)


def test_plain_text_named_gz_is_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "a.json.gz"
    file.write_text(text(row("k")))
    with pytest.raises(
        ListingError, match=r"a\.json\.gz: cannot be read to its end .* save the listing again"
    ):
        read(file)


def test_a_file_that_vanishes_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ListingError, match=r"gone\.json: cannot be read"):
        read(tmp_path / "gone.json")


def test_a_missing_path_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ListingError, match=r"gone\.json: no such file or folder"):
        find([save(tmp_path / "a.json"), tmp_path / "gone.json"])


def test_a_folder_without_listings_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(ListingError) as caught:
        find([tmp_path])
    assert (
        str(caught.value) == f"{tmp_path}: holds no *.json or *.json.gz file; name the folder of the listing"
    )


def test_a_folder_gives_its_listings_at_any_depth_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    wanted = [save(tmp_path / "b.json"), save(tmp_path / "deep" / "er" / "a.json.gz")]
    for name in ("c.txt", "d.gz", "e.json.bak", "json"):
        (tmp_path / name).write_text("")
    assert find([tmp_path]) == wanted


def test_files_named_one_by_one_are_taken_as_they_are(tmp_path: Path) -> None:
    files = [save(tmp_path / "z.txt", row("z")), save(tmp_path / "a.json", row("a"))]
    assert find(files) == files
    assert listed(files) == ["a", "z"]


def test_rows_of_all_files_come_sorted_by_the_bytes_of_their_keys(tmp_path: Path) -> None:
    one = save(tmp_path / "1.json", row("b"), row("\U00010000"), row("a/"), row("B"))
    two = save(tmp_path / "2.json.gz", row("\uffff"), row("a-"), row("\u00e9"), row("a"))
    assert listed([one, two]) == ["B", "a", "a-", "a/", "b", "\u00e9", "\uffff", "\U00010000"]


@pytest.mark.parametrize("newer_first", [True, False])
def test_where_files_overlap_the_newer_row_counts(tmp_path: Path, *, newer_first: bool) -> None:
    old = save(tmp_path / "old.json", row("a"), row("b", ETag='"old"', Size=1), row("c"))
    new = save(
        tmp_path / "new.json",
        row("b", ETag='"new"', Size=2, LastModified="2015-10-28T22:23:25+00:00"),
        row("d"),
    )
    refs = list(merged([new, old] if newer_first else [old, new], ""))
    assert [one.key for one in refs] == ["a", "b", "c", "d"]
    assert (refs[1].etag, refs[1].size, refs[1].last_modified) == ("new", 2, 1_446_071_005)


def test_a_key_twice_in_one_file_comes_once(tmp_path: Path) -> None:
    file = save(
        tmp_path / "a.json", row("k"), row("k", Size=2, LastModified="2020-01-01T00:00:00Z"), row("k")
    )
    assert [one.size for one in merged([file], "")] == [2]


def test_only_keys_under_the_prefix_are_kept(tmp_path: Path) -> None:
    file = save(tmp_path / "a.json", row("a"), row("a/"), row("a/b"), row("ab"), row("b/a/"), row("A/b"))
    assert listed([file], "a/") == ["a/", "a/b"]
    assert listed([file], "a") == ["a", "a/", "a/b", "ab"]
    assert listed([file], "none") == []


def test_a_bad_file_is_an_error_before_the_first_object_comes(tmp_path: Path) -> None:
    good, bad = save(tmp_path / "a.json", row("a")), tmp_path / "b.json"
    bad.write_text("{")
    with pytest.raises(ListingError, match=r"b\.json"):
        next(merged([good, bad], ""))


def test_no_object_is_no_error(tmp_path: Path) -> None:
    assert listed([save(tmp_path / "a.json")]) == []


@properly
@given(st.lists(st.lists(keys(), max_size=5), max_size=3))
def test_any_keys_come_once_each_in_order_as_they_were(files: list[list[str]]) -> None:
    contents = {Path(f"{number}.json"): names for number, names in enumerate(files)}

    def saved(file: Path) -> list[ObjectRef]:
        return [ObjectRef(name, 1, "e", 1) for name in contents[file]]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(listing_files, "read", saved)
        refs = list(merged(list(contents), ""))
    assert [one.key for one in refs] == sorted({name for names in files for name in names}, key=str.encode)
    assert len(list(in_order(refs, "", "test"))) == len(refs)


@pytest.mark.parametrize(
    "key", ["\x00", "a\x00b", "\n", "\x7f\x80", "\u2028", "\ufffe", "\U0010ffff", '"\\', "'; --"]
)
def test_odd_keys_survive_the_file_and_the_sort(tmp_path: Path, key: str) -> None:
    assert listed([save(tmp_path / "a.json", row(key), row("0"))]) == sorted(["0", key])
    raw = tmp_path / "raw.json"
    raw.write_text(json.dumps({"Contents": [row(key)]}, ensure_ascii=False), encoding="utf-8")
    assert listed([raw]) == [key]


ROW = {"Key": "k", "Size": 1, "ETag": "e", "LastModified": "2020-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    "content",
    [
        json.dumps({"Contents": [ROW | {"Size": -5}]}),
        json.dumps({"Contents": [ROW | {"Key": ""}]}),
        json.dumps({"Contents": [ROW | {"LastModified": "2020-01-01T00:00:00"}]}),
        json.dumps({"Contents": [ROW | {"LastModified": "0001-01-01T00:00:00"}]}),
        '{"x":' + "[" * 10_000 + "]" * 10_000 + ',"Contents":[]}',
    ],
    ids=["negative size", "no key", "no zone", "year one", "deep"],
)
def test_a_row_that_no_worker_could_take_is_refused_by_file(tmp_path: Path, content: str) -> None:
    file = tmp_path / "listing.json"
    file.write_text(content)
    with pytest.raises(ListingError, match=r"listing\.json: not what"):
        read(file)


def test_a_folder_named_as_a_listing_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "dump.json").mkdir()
    (tmp_path / "real.json").write_text(json.dumps({"Contents": [ROW]}))
    assert find([tmp_path]) == [tmp_path / "real.json"]
