"""A path -> records: JSON Lines and CSV line by line, Parquet batch by batch, JSON whole; text also when gzipped.

A line that cannot be read is a problem with its number, and the lines after it are read all the same.
"""

from __future__ import annotations

import csv
import difflib
import gzip
import importlib
import re
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from evalpoint.datasets.columns import KNOWN, require_columns
from evalpoint.datasets.records import FROM_CSV, FROM_JSON, FROM_JSON_TABLE, FROM_TABLE, Record, is_dict, is_list, parse_json, shortened
from evalpoint.errors import FormatError, MissingExtra, Problem, UsageError

__all__ = ["file_records"]

LONGEST_CELL = 2**26
"""Characters of one CSV cell; Python's own limit, 131,072, is shorter than a long document."""
_TABLE_NAME = re.compile(r"\w+\.\w+(\.\w+)?")


def file_records(name: str | Path, base_dir: Path | None) -> Iterator[Record | Problem]:
    """The records of a file, read as its name's ending says.

    Raises:
        UsageError: There is no such file, or it is of no known kind.
    """
    if isinstance(name, str) and ("\n" in name or name.lstrip().startswith(("{", "["))):
        raise UsageError("data is text and no path; pass the rows themselves, for instance json.loads(text)")
    path = Path(name).expanduser()
    path = base_dir / path if base_dir is not None else path
    try:
        found, folder = path.is_file(), path.is_dir()
    except (OSError, ValueError) as error:  # a name too long, or with a NUL in it
        raise UsageError(f"data is text and no path: {shortened(str(name))!r} ({shortened(str(error))})") from error
    if folder:
        raise UsageError(f"{name} is a folder; name one file in it ({', '.join(_READERS)})")
    read = _reader(path)
    if not found:
        raise UsageError(_no_such_file(str(name), path))
    if read is None:
        raise UsageError(f"{name} has no known ending; data files end in {', '.join(_READERS)}, and all but .parquet may be gzipped (.gz)")
    return read(path)


def _reader(path: Path) -> Callable[[Path], Iterator[Record | Problem]] | None:
    endings = [ending.lower() for ending in path.suffixes]
    if endings[-1:] == [".gz"]:
        return None if endings[-2:-1] == [".parquet"] else _READERS.get("".join(endings[-2:-1]))
    return _READERS.get("".join(endings[-1:]))


def _no_such_file(name: str, path: Path) -> str:
    if not path.parent.is_dir():
        return f"There is no file {shortened(name, 200)!r}: the folder {str(path.parent)!r} does not exist."
    siblings = sorted(sibling.name for sibling in path.parent.iterdir())
    near = difflib.get_close_matches(path.name, siblings, n=3, cutoff=0.75)
    if near:
        return f"There is no file {shortened(name, 200)!r}. Did you mean {' or '.join(map(repr, near))}?"
    if _reader(path) is None and _TABLE_NAME.fullmatch(name):
        return f"There is no file {name!r}. For a table, pass a DataFrame: spark.table({name!r}).toPandas()"
    return f"There is no file {shortened(name, 200)!r}."


@contextmanager
def _opened(path: Path) -> Generator[BinaryIO, None, None]:
    """The file's bytes, unpacked. Its errors are the caller's: no permission, damaged, cut off."""
    opener: Callable[[Path, str], Any] = gzip.open if path.suffix.lower() == ".gz" else open
    try:
        with opener(path, "rb") as handle:
            start = handle.read(2)
            if start in (b"\xff\xfe", b"\xfe\xff"):
                raise UsageError(f"{path} is UTF-16; save it as UTF-8")
            handle.seek(0)
            yield cast("BinaryIO", handle)
    except (OSError, EOFError, zlib.error) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error


def _lines(handle: BinaryIO) -> Iterator[bytes]:
    """The lines as they end on disk, in line feeds only, without the byte order mark of the first."""
    for number, line in enumerate(handle):
        yield line.removeprefix(b"\xef\xbb\xbf") if number == 0 else line


# JSON Lines


def _json_lines(path: Path) -> Iterator[Record | Problem]:
    with _opened(path) as handle:
        index = 0
        for number, line in enumerate(_lines(handle), start=1):
            line = line.strip()
            if line:
                yield _json_line(line, index, f"line {number}")
                index += 1


def _json_line(line: bytes, index: int, place: str) -> Record | Problem:
    try:
        value = parse_json(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        return Problem(row=index, message=f"{place} is no UTF-8 text: byte {error.start + 1} is 0x{line[error.start]:02x}")
    except FormatError as error:
        return Problem(row=index, message=f"{place} is no JSON: {error}")
    return _json_record(value, index, place)


def _json_record(value: Any, index: int, place: str) -> Record | Problem:
    if is_dict(value):
        return Record(index=index, values=value, origin=FROM_JSON, place=place)
    return Problem(row=index, message=f"{place or 'it'} is of type {type(value).__name__}, not an object with 'inputs'")


# JSON


def _json(path: Path) -> Iterator[Record | Problem]:
    """A file `.json`; when every line is an object of its own it is JSON Lines, as Spark writes it."""
    with _opened(path) as handle:
        filled = (line.strip() for line in _lines(handle))
        first, second = next(filter(None, filled), b""), next(filter(None, filled), b"")
    if second and isinstance(_json_line(first, 0, ""), Record):
        yield from _json_lines(path)
        return
    with _opened(path) as handle:
        text = handle.read()
    try:
        document = parse_json(text.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is no UTF-8 text: byte {error.start + 1} is 0x{text[error.start]:02x}; save it as UTF-8") from error
    except FormatError as error:
        raise UsageError(f"{path} is no JSON: {error}; a file of one object per line is named .jsonl") from error
    yield from _document_records(document, path)


def _document_records(document: Any, path: Path) -> Iterator[Record | Problem]:
    """A list of objects, the same under `rows`, `data` or `traces`, pandas' `{"columns": […], "data": [[…]]}`, or one row."""
    rows: Any = document
    if is_dict(document):
        rows = next((document[name] for name in ("rows", "data", "traces") if is_list(document.get(name))), None)
        columns = document.get("columns")
        if is_list(columns) and is_list(rows):
            yield from _split_records(columns, rows, path)
            return
        if not is_list(rows):
            rows = [document] if set(document) & {"info", "trace_info", *KNOWN} else None
    if not is_list(rows):
        raise UsageError(
            f"{path} holds neither a list of objects nor one of the tables that are read: "
            '{"rows": [{…}]}, {"data": [{…}]}, {"columns": […], "data": [[…]]}'
        )
    for index, value in enumerate(rows):
        yield _json_record(value, index, "")


def _split_records(columns: list[Any], rows: list[Any], path: Path) -> Iterator[Record | Problem]:
    require_columns(columns, str(path))
    names = [str(column) for column in columns]
    for index, cells in enumerate(rows):
        if is_list(cells) and len(cells) == len(names):
            yield Record(index=index, values=dict(zip(names, cells, strict=True)), origin=FROM_JSON_TABLE)
        else:
            yield Problem(row=index, message=f"it is no list of {len(names)} cells, one for each column")


# CSV


def _csv(path: Path) -> Iterator[Record | Problem]:
    # The limit is the process's, not the reader's; it is only ever raised.
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST_CELL))
    with _opened(path) as handle:
        lines = _text_lines(handle, path)
        first = next((line for line in lines if line.strip()), "")
        no_cells: list[str] = []
        reader = csv.reader(_chained(first, lines), delimiter=_delimiter(first), strict=True)
        try:
            names = [name.strip() for name in next(reader, no_cells)]
        except csv.Error as error:
            raise UsageError(f"{path}: the header is no CSV: {error}") from error
        if names:
            require_columns(names, str(path))
        yield from _csv_records(reader, names)


def _csv_records(reader: Any, names: list[str]) -> Iterator[Record | Problem]:
    index, line = 0, reader.line_num
    while True:
        place = f"line {line + 1}"
        try:
            cells: list[str] | None = next(reader, None)
        except csv.Error as error:
            yield Problem(row=index, message=f"{place} is no CSV: {error}")
            index, line = index + 1, reader.line_num
            continue
        if cells is None:
            return
        line = reader.line_num
        if not any(cells):
            continue
        if len(cells) == len(names):
            yield Record(index=index, values=dict(zip(names, cells, strict=True)), origin=FROM_CSV, place=place)
        else:
            yield Problem(row=index, message=f"{place} has {len(cells)} cells and the header {len(names)}; quote cells that hold a comma")
        index += 1


def _text_lines(handle: BinaryIO, path: Path) -> Iterator[str]:
    for number, line in enumerate(_lines(handle), start=1):
        try:
            yield line.decode("utf-8")
        except UnicodeDecodeError as error:
            byte = line[error.start]
            raise UsageError(f"{path}: line {number} is no UTF-8 text (byte 0x{byte:02x}); save the file as UTF-8") from error


def _chained(first: str, rest: Iterable[str]) -> Iterator[str]:
    yield first
    yield from rest


def _delimiter(header: str) -> str:
    """A comma, unless the header has known columns only with a semicolon or a tab, as some spreadsheets write it."""
    for delimiter in (",", ";", "\t"):
        names = {name.strip().strip('"').partition(".")[0] for name in header.split(delimiter)}
        if names & {"inputs", "trace"}:
            return delimiter
    return ","


# Parquet


def _parquet(path: Path) -> Iterator[Record | Problem]:
    try:
        arrow: Any = importlib.import_module("pyarrow")
        parquet: Any = importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise MissingExtra("Reading Parquet", "parquet") from error
    try:
        with parquet.ParquetFile(path) as table:
            require_columns(table.schema_arrow.names, str(path))
            index = 0
            for batch in table.iter_batches(batch_size=256):
                for values in batch.to_pylist():
                    yield Record(index=index, values=values, origin=FROM_TABLE)
                    index += 1
    except (arrow.ArrowException, OSError) as error:
        raise UsageError(f"{path} cannot be read as Parquet: {shortened(str(error), 200)}") from error


_READERS: dict[str, Callable[[Path], Iterator[Record | Problem]]] = {
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".json": _json,
    ".csv": _csv,
    ".tsv": _csv,
    ".parquet": _parquet,
}
