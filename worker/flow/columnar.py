"""Parquet and ORC, S3 Inventory's columnar data files, read by pyarrow: an extra, 170 MB that few need."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

from worker.core.errors import ListingError
from worker.core.inventory import Table
from worker.core.lines import Row

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS = 1_000


def read(file: BinaryIO, file_format: str, bucket: str) -> Iterator[list[Row]]:
    """The rows of a data file, in pieces.

    Args:
        file: open at its start.
        file_format: `Parquet` or `ORC`.
        bucket: which every row must be of.

    Raises:
        ListingError: pyarrow is not installed, or the file cannot be read.
    """
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra
    except ImportError:
        raise ListingError(
            f"reading {file_format} takes pyarrow: pip install 'fleetcopy[inventory]', or have the report "
            "delivered as CSV"
        ) from None
    try:
        names, batches = _parquet(file) if file_format == "Parquet" else _orc(file)
        table = Table(names, bucket)
        for batch in batches:
            for start in range(0, batch.num_rows, _ROWS):
                columns = [_values(column) for column in batch.slice(start, _ROWS).columns]
                yield table.rows(list(zip(*columns, strict=True)), text=False)
    except (pa.ArrowException, OSError) as error:
        raise ListingError(f"no {file_format}: {error}") from None


def _parquet(file: BinaryIO) -> tuple[list[str], Iterator[pa.RecordBatch]]:
    from pyarrow import parquet  # noqa: PLC0415

    opened = parquet.ParquetFile(file)
    names = opened.schema_arrow.names
    return names, opened.iter_batches(batch_size=_ROWS, use_threads=False)


def _orc(file: BinaryIO) -> tuple[list[str], Iterator[pa.RecordBatch]]:
    from pyarrow import orc  # noqa: PLC0415

    opened = orc.ORCFile(file)
    return opened.schema.names, (opened.read_stripe(number) for number in range(opened.nstripes))


def _values(column: pa.Array) -> list[Any]:
    """A column's values; times are in UTC, whether or not the file says so."""
    import pyarrow as pa  # noqa: PLC0415

    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("us"), safe=False).cast(pa.timestamp("us", "UTC"))
    values: list[Any] = column.to_pylist()
    return values
