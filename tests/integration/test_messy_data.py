"""Public collections of bad input: each file ends in rows, in quarantine or in a clear error, and no row is lost."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.integration.messy_intake import TIME, Intake, outcome

import gnomon as gn
from gnomon.contracts.columns import Dtype
from gnomon.data.json_rows import read_json_lines
from gnomon.data.parquet_rows import read_parquet_schema
from gnomon.errors import GnomonError


@pytest.fixture
def intake(tmp_path: Path) -> Intake:
    return Intake(tmp_path)


def records_of(text: str) -> list[str]:
    """Split CSV text after the newlines that stand outside of quotes."""
    records, start = [], 0
    for end in (match.end() for match in re.finditer("\n", text)):
        if text.count('"', 0, end) % 2 == 0:
            records.append(text[start:end])
            start = end
    return [*records, text[start:]] if text[start:] else records


def test_csv_spectrum(shared_data: Path, intake: Intake) -> None:
    """Every cell as the collection says, with an id and a time put before each record."""
    folder = shared_data / "messy" / "csv-spectrum"
    files = sorted((folder / "csvs").glob("*.csv"))
    assert len(files) == 11
    for file in files:
        header, *records = records_of(file.read_bytes().decode())
        text = f"row_,at_,{header}" + "".join(f"{n},{TIME},{record}" for n, record in enumerate(records))
        (intake.root / f"{file.stem}.csv").write_bytes(text.encode())
        expected = json.loads((folder / "json" / f"{file.stem}.json").read_text())
        columns = dict.fromkeys(expected[0], "string")
        source = gn.DataSource(f"s_{file.stem}", path=f"{file.stem}.csv", id="row_", event_time="at_", fields=columns)
        report = intake.take_in(source)
        assert (report.rows_read, report.rows_added) == (len(expected), len(expected)), file.name
        stored = sorted(intake.rows(source.name), key=lambda row: row["row_"])
        assert [{name: row[name] or "" for name in columns} for row in stored] == expected, file.name


def strictly(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("a member occurs twice")
    return dict(pairs)


def parsed(text: str) -> Any:
    """Read JSON as the standard library does, without its constants and without repeated members."""

    def refuse(constant: str) -> Any:
        raise ValueError(constant)

    return json.loads(text, object_pairs_hook=strictly, parse_constant=refuse)


def is_row(line: bytes) -> bool:
    """Tell whether a line is an object of text that UTF-8 can hold."""
    try:
        value = parsed(line.decode())
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict)


def suite_files(shared_data: Path) -> list[Path]:
    folder = shared_data / "messy" / "JSONTestSuite"
    files = [*sorted((folder / "test_parsing").glob("*.json")), *sorted((folder / "test_transform").glob("*.json"))]
    assert len(files) == 340
    return files


def wrapped(number: int, content: bytes) -> bytes:
    return b'{"id": "e%d", "at": "%b", "v": %b}\n' % (number, TIME.encode(), content)


FIELDS: dict[str, Dtype] = {"id": "string", "at": "timestamp", "v": "string"}


def test_json_suite_as_members_of_lines(shared_data: Path, intake: Intake) -> None:
    """All files in one file, each as a member of a line between two good lines: a bad one takes no other with it."""
    files = suite_files(shared_data)
    good = [b'{"id": "g%d", "at": "%b", "v": "good"}\n' % (n, TIME.encode()) for n in range(len(files))]
    data = b"".join(good[n] + wrapped(n, file.read_bytes()) for n, file in enumerate(files))
    (intake.root / "suite.jsonl").write_bytes(data)
    source = gn.DataSource("suite", path="suite.jsonl", id="id", event_time="at", fields={"v": "string"})
    report = intake.take_in(source)
    lines = [line for line in data.split(b"\n") if line.strip()]
    rows = [json.loads(line) for line in lines if is_row(line)]
    whole = [row for row in rows if row.get("id")]
    assert report.rows_read == len(lines)
    assert report.rows_added == len(whole)
    stored = {row["id"]: row["v"] for row in intake.rows("suite")}
    assert stored == {row["id"]: as_text(row["v"]) for row in whole}
    assert {f"g{n}" for n in range(len(files))} <= set(stored)
    unexpected = [
        file.name for n, file in enumerate(files)
        if file.name[:2] in ("y_", "n_") and (f"e{n}" in stored) != file.name.startswith("y_")
        and (file.name[0] == "n" or b"\n" not in file.read_bytes())  # a newline ends a line, within JSON or not
    ]  # fmt: skip
    assert unexpected == ["y_object_duplicated_key.json", "y_object_duplicated_key_and_value.json"]


def as_text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def test_json_suite_line_by_line_or_at_once(shared_data: Path) -> None:
    """Each file as a member of the only line, which Arrow may read at once: the same rows as line by line."""
    for number, file in enumerate(suite_files(shared_data)):
        content = file.read_bytes().replace(b"\n", b" ").replace(b"\r", b" ")
        line = wrapped(number, content)
        alone, beside = (read_json_lines(text, FIELDS, 1) for text in (line, line + b"not JSON\n"))
        assert (alone.rows, len(alone.rejects)) == ((1, 0) if is_row(line) else (0, 1)), file.name
        assert (beside.rows, len(beside.rejects)) == (alone.rows, len(alone.rejects) + 1), file.name
        if alone.rows:
            cells = [raw.columns["v"].to_pylist() for raw in (alone, beside)]
            assert cells[0] == cells[1] == [as_text(json.loads(line)["v"])], file.name


def test_json_suite_as_files(shared_data: Path, intake: Intake) -> None:
    """Each file as it is, as a source of its own: an array's elements are counted, all else is one clear error."""
    schema = {"id": "string", "at": "timestamp"}
    for number, file in enumerate(suite_files(shared_data)):
        data = file.read_bytes()
        (intake.root / f"{number}.json").write_bytes(data)
        source = gn.DataSource(f"s{number}", path=f"{number}.json", id="id", event_time="at")
        try:
            elements: Any = parsed(data.decode("utf-8-sig"))
        except (ValueError, RecursionError):
            elements = None
        found = outcome(partial(intake.take_in, source, schema))
        if isinstance(found, GnomonError):
            assert f"{number}.json" in found.message, file.name
            assert found.hint, file.name
            assert not isinstance(elements, list) or not elements, file.name
        else:
            assert not file.name.startswith("n_"), file.name
            assert (found.rows_read, found.rows_added) == (len(elements), 0), file.name


def of_all_columns(file: Path, name: str) -> gn.DataSource:
    """Return a source that reads every column of a file as text, but for those of types that no table has."""
    schema = read_parquet_schema(file)
    flat = [f.name for f in schema if not (pa.types.is_nested(f.type) or pa.types.is_time(f.type))] or schema.names
    fields = dict.fromkeys(flat[:-1], "string")
    return gn.DataSource(name, path=file.name, id=flat[0], event_time=flat[-1], timezone="UTC", fields=fields)


def test_parquet_testing(shared_data: Path, intake: Intake) -> None:
    """Files that are damaged, or of types that Gnomon has not: all of their rows, or an error that names the file."""
    folder = shared_data / "messy" / "parquet-testing"
    files = [*sorted((folder / "bad_data").glob("*.parquet")), *sorted((folder / "data").glob("*.parquet"))]
    # unpacks to one column of more than two gigabytes: refused as well, after half a minute
    files = [file for file in files if file.name != "large_string_map.brotli.parquet"]
    outcomes: dict[str, str] = {}
    for number, file in enumerate(files):
        (intake.root / file.name).write_bytes(file.read_bytes())
        found = outcome(lambda: intake.take_in(of_all_columns(file, f"s{number}")))  # noqa: B023 (called at once)
        if isinstance(found, GnomonError):
            assert file.name in found.message or f"'s{number}'" in found.message, file.name
            assert found.hint, file.name
        else:
            assert found.rows_read == pq.read_metadata(file).num_rows, file.name
        outcomes[file.name] = found.code if isinstance(found, GnomonError) else "rows"
    assert len(outcomes) == len(files) == 71
    readable = {file.name for file in files if file.parent.name == "bad_data" and outcomes[file.name] == "rows"}
    assert readable == {"ARROW-GH-43605.parquet"}, "a bit width of 0 leaves one value, and no doubt about the rows"
    assert set(outcomes.values()) == {"rows", "corrupt_data", "invalid_input"}
