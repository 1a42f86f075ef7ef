"""Commands of serving: predict, outcome, and the online values behind them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated, Any

import typer

import gnomon
from gnomon.cli.output import Format, Output, console, show, table
from gnomon.errors import InvalidInput

Fields = Annotated[list[str], typer.Argument(help="Keys and request fields.", metavar="NAME=VALUE...")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (predict, outcome, features):
        app.command()(command)


def predict(
    deployment: Annotated[str, typer.Argument(help="Endpoint to ask.")],
    fields: Annotated[
        list[str] | None, typer.Argument(help="Keys and request fields.", metavar="NAME=VALUE...")
    ] = None,
    file: Annotated[Path | None, typer.Option(help="JSON-lines file of rows instead; answers are JSON lines.")] = None,
    output: Output = Format.text,
) -> None:
    """Ask for a prediction: keys in, features looked up, answer out."""
    with gnomon.connect() as client:
        if file is None:
            show(client.predict(deployment, **_values(fields or [])), output, _prediction)
            return
        answer = client.predict_many(deployment, read_rows(file))
    for prediction in answer["predictions"]:
        typer.echo(json.dumps(prediction))


def _prediction(answer: dict[str, Any]) -> None:
    console.print(f"[bold]{answer['value']:.6g}[/]  version {answer['version']}, prediction {answer['id']}")
    looked_up = [name for name, status in answer["status"].items() if status != "present"]
    for name in looked_up:
        console.print(f"  [yellow]{name}: {answer['status'][name].replace('_', ' ')}[/]")


def outcome(
    deployment: Annotated[str, typer.Argument(help="Endpoint that predicted.")],
    prediction: Annotated[str | None, typer.Argument(help="The prediction's id.")] = None,
    value: Annotated[str | None, typer.Argument(help="What really happened: true, false or a number.")] = None,
    file: Annotated[Path | None, typer.Option(help="JSON-lines file of {prediction_id, value} instead.")] = None,
    output: Output = Format.text,
) -> None:
    """Report what really happened, for monitoring and retraining."""
    if file is not None:
        values = read_outcomes(file)
    elif prediction is None or value is None:
        raise InvalidInput("an outcome needs a prediction id and a value", "gnomon outcome DEPLOYMENT PREDICTION VALUE")
    else:
        values = {prediction: _outcome_value(value)}
    with gnomon.connect() as client:
        result = client.outcome(deployment, values)
    show(result, output, lambda r: console.print(f"{r['received']} received, {r['added']} new"))


def _outcome_value(text: str) -> float:
    try:
        return float({"true": 1, "false": 0}.get(text.lower(), text))
    except ValueError as error:
        raise InvalidInput(
            f"the outcome '{text}' is no number", "write true or false, 1 or 0, or a regression's number"
        ) from error


def features(
    view: Annotated[str, typer.Argument(help="Feature view.")], keys: Fields, output: Output = Format.text
) -> None:  # fmt: skip
    """Show an entity's online values with status and age."""
    with gnomon.connect() as client:
        result = client.features(view, **_values(keys))
    show(result, output, _features)


def _features(result: dict[str, Any]) -> None:
    rows = (
        [name, f["value"], f["status"], None if f["age_s"] is None else f"{f['age_s']:.1f} s"]
        for name, f in result["features"].items()
    )
    table(["feature", "value", "status", "age"], rows, empty="the view has no features")


def read_outcomes(file: Path) -> dict[str, float]:
    """Read a JSON-lines file of `{prediction_id, value}`.

    Args:
        file: As of `read_rows`; other fields are ignored.

    Returns:
        The values by prediction id; the same outcome twice is one.

    Raises:
        InvalidInput: As of `read_rows`; or a value is no finite number, or a prediction has two values.
    """
    values: dict[str, float] = {}
    for number, row in _numbered_rows(file, ("prediction_id", "value")):
        prediction, value = str(row["prediction_id"]), _finite(row["value"])
        where = f"{file}, line {number}: the value of '{prediction}'"
        if value is None:
            raise InvalidInput(f"{where} is {row['value']!r}", "give 0, 1 or another finite number")
        if values.setdefault(prediction, value) != value:
            raise InvalidInput(f"{where} is {value:g}, and {values[prediction]:g} further up", "give each value once")
    return values


def _finite(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def read_rows(file: Path, required: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """Read a JSON-lines file of objects.

    Args:
        file: JSON-lines file in UTF-8, its lines ended by a line feed; blank ones are skipped.
        required: Fields that every object has to have.

    Returns:
        One object a line, in the order of the file; at least one.

    Raises:
        InvalidInput: It is absent, empty or not UTF-8, or a line is no object or lacks a required field; the
            message has the line's number.
    """
    return [row for _, row in _numbered_rows(file, required)]


def _numbered_rows(file: Path, required: tuple[str, ...]) -> list[tuple[int, dict[str, Any]]]:
    if not file.is_file():
        raise InvalidInput(f"there is no file {file}", "give the path of a JSON-lines file")
    try:
        text = file.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{file} is not UTF-8: {error}", "write it in UTF-8") from error
    rows = []
    for number, line in enumerate(text.split("\n"), 1):  # `splitlines` would cut at U+2028, which a text may hold
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise InvalidInput(f"{file}, line {number}: not JSON: {error.msg}", "write one object a line") from error
        if not isinstance(row, dict) or any(field not in row for field in required):
            raise InvalidInput(f"{file}, line {number}: not an object with {list(required)}", "write one object a line")
        rows.append((number, row))
    if not rows:
        raise InvalidInput(f"{file} holds no rows", "write one JSON object a line")
    return rows


def _values(fields: list[str]) -> dict[str, Any]:
    """Read `name=value` pairs; a value that is JSON (a number, true, null, a quoted text) is taken as that."""
    values: dict[str, Any] = {}
    for field in fields:
        name, sign, text = field.partition("=")
        if not sign or not name:
            raise InvalidInput(f"'{field}' is not NAME=VALUE", "write for example customer_id=42 amount=17.30")
        if name in values:
            raise InvalidInput(f"'{name}' is given twice", "give each name once")
        try:
            values[name] = json.loads(text)
        except json.JSONDecodeError:
            values[name] = text
    return values
