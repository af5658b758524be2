"""Files: what each kind may hold, and that a damaged line costs that line only."""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalpoint.datasets import checked, read
from evalpoint.entities import Row
from evalpoint.errors import DataError, MissingExtra, Problem, UsageError

ROWS: list[dict[str, Any]] = [{"inputs": {"question": f"é{i}"}, "expectations": {"expected_facts": ["a", f"b{i}"]}} for i in range(3)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)


def as_csv(**options: Any) -> str:
    text = io.StringIO()
    writer = csv.writer(text, **options)
    writer.writerow(["inputs", "expectations"])
    writer.writerows([json.dumps(row["inputs"]), json.dumps(row["expectations"])] for row in ROWS)
    return text.getvalue()


def write_parquet(path: Path) -> None:
    pd.DataFrame(ROWS).to_parquet(path)


def text(content: str, encoding: str = "utf-8") -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content.encode(encoding))


SPLIT = {"columns": ["inputs", "expectations"], "data": [[row["inputs"], row["expectations"]] for row in ROWS]}


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.jsonl", text(LINES)),
        ("a.ndjson", text(LINES)),
        ("a.JSONL", text(LINES)),
        ("bom.jsonl", text(LINES, "utf-8-sig")),
        ("crlf.jsonl", text(LINES.replace("\n", "\r\n"))),
        ("blank.jsonl", text("\n\n" + LINES.replace("\n", "\n  \n\n"))),
        ("open.jsonl", text(LINES.rstrip())),
        ("a.jsonl.gz", lambda path: path.write_bytes(gzip.compress(LINES.encode()))),
        ("list.json", text(json.dumps(ROWS, indent=2))),
        ("bom.json", text(json.dumps(ROWS), "utf-8-sig")),
        ("rows.json", text(json.dumps({"rows": ROWS}))),
        ("data.json", text(json.dumps({"data": ROWS}))),
        ("split.json", text(json.dumps(SPLIT))),
        ("lines.json", text(LINES)),
        ("a.json.gz", lambda path: path.write_bytes(gzip.compress(json.dumps(ROWS).encode()))),
        ("a.csv", text(as_csv())),
        ("bom.csv", text(as_csv(), "utf-8-sig")),
        ("semicolon.csv", text(as_csv(delimiter=";"))),
        ("tab.tsv", text(as_csv(delimiter="\t"))),
        ("blank.csv", text(as_csv().replace("\n", "\n,\n\n"))),
        ("indexed.csv", lambda path: pd.DataFrame(ROWS).apply(lambda column: column.map(json.dumps)).to_csv(path)),
        ("a.csv.gz", lambda path: path.write_bytes(gzip.compress(as_csv().encode()))),
        ("a.parquet", write_parquet),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_kinds(name: str, write: Callable[[Path], object], tmp_path: Path) -> None:
    """Every kind of file gives the same rows."""
    path = tmp_path / name
    write(path)
    for data in (path, str(path)):
        rows = checked(data, predicting=True)
        assert [{"inputs": row.inputs, "expectations": row.expectations} for row in rows] == ROWS


def test_one_row_json(tmp_path: Path) -> None:
    """A JSON file that is one row is data of one row."""
    (tmp_path / "one.json").write_text(json.dumps(ROWS[0], indent=1))
    assert len(checked(tmp_path / "one.json", predicting=True)) == 1


def test_broken_lines(tmp_path: Path) -> None:
    """Each line that cannot be read is a problem with its number; the lines between are read."""
    lines = [
        b'{"inputs": {"q": 1}}',
        b"",
        b'{"inputs": {"q": ',
        b"[1, 2]",
        b'{"inputs": {"q": "\xff"}}',
        b"[" * 100_000,
        b'{"inputs": {"q": 2}}',
    ]
    (tmp_path / "x.jsonl").write_bytes(b"\n".join(lines))
    items = list(read(tmp_path / "x.jsonl", predicting=True))
    assert [item.key.row for item in items if isinstance(item, Row)] == [0, 5]
    problems = [str(item) for item in items if isinstance(item, Problem)]
    assert problems[0].startswith("row 1: line 3 is no JSON: Expecting value at character")
    assert problems[1:] == [
        "row 2: line 4 is of type list, not an object with 'inputs'",
        "row 3: line 5 is no UTF-8 text: byte 19 is 0xff",
        "row 4: line 6 is no JSON: it nests too deep",
    ]


def test_line_in_problems(tmp_path: Path) -> None:
    """A row's problem names the line too, where blank lines have shifted it."""
    (tmp_path / "x.jsonl").write_text('\n\n{"inputs": 3}\n')
    (problem,) = read(tmp_path / "x.jsonl", predicting=True)
    assert str(problem).startswith("row 0: inputs is of type int;")
    assert str(problem).endswith("(line 3)")


def test_long_line_and_separators(tmp_path: Path) -> None:
    """A line may be long, and Unicode's line separators inside a string end no line."""
    value = "a\u2028b\u2029c\x85d\x0c" * 100_000
    (tmp_path / "x.jsonl").write_text(
        json.dumps({"inputs": {"q": value}}, ensure_ascii=False).replace("\x0c", "\\f") + "\n", encoding="utf-8"
    )
    assert checked(tmp_path / "x.jsonl", predicting=True)[0].inputs == {"q": value}


def test_csv_cells(tmp_path: Path) -> None:
    """In CSV a cell may hold newlines and long texts; JSON objects and lists are read, all else is the text it is, nothing is absent."""
    long = "x" * 200_000
    header = "inputs.question,inputs.n,inputs.note,expectations.expected_facts,outputs,tags.topic,request_id\n"
    cells = f'"line one\nline ""two""",42,"[1] a note","[""a"", ""b""]",{long},,007\n'
    (tmp_path / "x.csv").write_text(header + cells + 'q,,,,"{""a"": 1}",t,\n', newline="")
    first, second = checked(tmp_path / "x.csv", predicting=False)
    assert first.inputs == {"question": 'line one\nline "two"', "n": "42", "note": "[1] a note"}
    assert (first.expectations, first.tags, first.request_id) == ({"expected_facts": ["a", "b"]}, {}, "007")
    assert first.given is not None
    assert first.given.outputs == long
    assert (second.inputs, second.tags, second.request_id) == ({"question": "q"}, {"topic": "t"}, None)
    assert second.given is not None
    assert second.given.outputs == {"a": 1}


def test_broken_csv(tmp_path: Path) -> None:
    """A CSV line with too many cells or a quote in its middle is that row's problem."""
    (tmp_path / "x.csv").write_text('inputs.q,tags.t\n1,2\n1,2,3\n"a"b,2\n\n3,4\n"open,2\n')
    items = list(read(tmp_path / "x.csv", predicting=True))
    assert [item.key.row for item in items if isinstance(item, Row)] == [0, 3]
    assert [str(item) for item in items if isinstance(item, Problem)] == [
        "row 1: line 3 has 3 cells and the header 2; quote cells that hold a comma",
        "row 2: line 4 is no CSV: ',' expected after '\"'",
        "row 4: line 7 is no CSV: unexpected end of data",
    ]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("x.csv", b"inputs.q\ncaf\xe9\n", "line 2 is no UTF-8 text .byte 0xe9."),
        ("x.csv", '{"inputs"}'.encode("utf-16"), "is UTF-16; save it as UTF-8"),
        ("x.json", b'[{"inputs": ', "is no JSON: .* a file of one object per line is named .jsonl"),
        ("x.json", b'{"a": 1}', "neither a list of objects"),
        ("x.json", b'"text"', "neither a list of objects"),
        ("x.json", b"[" * 100_000, "nests too deep"),
        ("x.json", b'[{"inputs": "\xe9"}]', "no UTF-8 text"),
        ("x.jsonl.gz", b"no gzip", "cannot be read"),
        ("x.jsonl.gz", gzip.compress(LINES.encode())[:-12], "cannot be read"),
        ("x.parquet", b"no parquet", "cannot be read as Parquet"),
        ("x.xlsx", b"", "no known ending; data files end in .jsonl"),
        ("x.parquet.gz", b"", "no known ending"),
        ("rows", b"", "no known ending"),
        ("x.csv", b"question,expected_response\na,b\n", "no column 'inputs'"),
    ],
    ids=[
        "latin1",
        "utf16",
        "cut_json",
        "object",
        "text",
        "deep",
        "latin1_json",
        "no_gzip",
        "cut_gzip",
        "no_parquet",
        "excel",
        "parquet_gz",
        "no_ending",
        "flat",
    ],
)
def test_unreadable(name: str, content: bytes, says: str, tmp_path: Path) -> None:
    """A file that cannot be read as a whole is refused with the reason and what to do."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=says):
        checked(tmp_path / name, predicting=True)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("qestions.jsonl", "Did you mean 'questions.jsonl'"),
        ("nowhere/x.jsonl", "folder .*nowhere' does not exist"),
        ("other.jsonl", r"no file '.*other.jsonl'\.$"),
        ("sub.jsonl", "is a folder"),
    ],
    ids=["misspelt", "no_folder", "nothing_near", "folder"],
)
def test_missing_file(name: str, says: str, tmp_path: Path) -> None:
    """A path to nothing is refused at once, with the nearest names."""
    (tmp_path / "questions.jsonl").write_text(LINES)
    (tmp_path / "sub.jsonl").mkdir()
    with pytest.raises(UsageError, match=says):
        read(str(tmp_path / name), predicting=True)


@pytest.mark.parametrize(
    ("given_text", "says"),
    [
        ("main.eval.questions", r"spark.table\('main.eval.questions'\).toPandas\(\)"),
        ('[{"inputs": {}}]', "text and no path"),
        ("a\nb", "text and no path"),
        ("x" * 5000, "text and no path"),
        ("What is MLflow?", "no file 'What is MLflow"),
    ],
    ids=["table", "json", "lines", "long", "question"],
)
def test_text_no_path(given_text: str, says: str) -> None:
    """A text that names no file is refused with what it seems to be."""
    with pytest.raises(UsageError, match=says):
        read(given_text, predicting=True)


@pytest.mark.parametrize("name", ["x.jsonl", "x.json", "x.csv"])
def test_empty_file(name: str, tmp_path: Path) -> None:
    """A file without rows is an error."""
    (tmp_path / name).write_text("[]" if name == "x.json" else "\n")
    with pytest.raises(DataError, match="no rows"):
        checked(tmp_path / name, predicting=True)


def test_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pyarrow a Parquet file is one sentence with the command that installs it."""
    write_parquet(tmp_path / "x.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r'Reading Parquet needs .* pip install "evalpoint\[parquet\]"'):
        checked(tmp_path / "x.parquet", predicting=True)


def test_parquet_structs(tmp_path: Path) -> None:
    """Fields that a Parquet struct has only for other rows are not expectations; a map is a dict."""
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    table = pa.table(
        {
            "inputs": pa.array([[("q", "a")], [("q", "b")]], pa.map_(pa.string(), pa.string())),
            "expectations": pa.array([{"expected_response": "x"}, {"expected_facts": ["f"]}]),
            "outputs": pa.array(["x", None]),
        }
    )
    pq.write_table(table, tmp_path / "x.parquet")
    first, problem = read(tmp_path / "x.parquet", predicting=False)
    assert isinstance(first, Row)
    assert (first.inputs, first.expectations) == ({"q": "a"}, {"expected_response": "x"})
    assert isinstance(problem, Problem)
    assert "no outputs" in problem.message or "outputs is None" in problem.message


def test_memory(tmp_path: Path) -> None:
    """Reading a file of 20 MB takes the memory of its distinct inputs' digests, not of its rows."""
    line = json.dumps({"inputs": {"q": "x" * 20_000}}) + "\n"
    with (tmp_path / "x.jsonl").open("w") as file:
        file.writelines(line for _ in range(1000))
    tracemalloc.start()
    count = sum(1 for _ in read(tmp_path / "x.jsonl", predicting=True))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 1000
    assert peak < 2_000_000


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.dictionaries(st.text(), json_values, max_size=3), min_size=1, max_size=3))
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, inputs: list[dict[str, Any]]) -> None:
    """Any JSON object comes through a list, a JSON Lines file and a CSV file as the same inputs, with the same digest."""
    folder = tmp_path_factory.mktemp("round")
    (folder / "x.jsonl").write_text("\n".join(json.dumps({"inputs": each}) for each in inputs))
    with (folder / "x.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["inputs"], *([json.dumps(each)] for each in inputs)])
    rows = [checked(data, predicting=True) for data in ([{"inputs": each} for each in inputs], folder / "x.jsonl", folder / "x.csv")]
    assert rows[0] == rows[1] == rows[2]
    assert [row.inputs for row in rows[0]] == inputs


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200), st.sampled_from(["x.jsonl", "x.json", "x.csv"]))
def test_any_bytes(tmp_path_factory: pytest.TempPathFactory, content: bytes, name: str) -> None:
    """Whatever bytes a file holds, reading it ends in rows, problems or an error of ours."""
    path = tmp_path_factory.mktemp("bytes") / name
    path.write_bytes(b"inputs\n" + content if name == "x.csv" else content)
    with suppress(UsageError):
        assert all(isinstance(item, (Row, Problem)) for item in read(path, predicting=True))
