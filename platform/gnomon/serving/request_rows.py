"""Reads the body of a predict request: JSON in, checked columns out, or a message that names row, field and value.

Compiled once per model version by `serving.request_path`.
"""

from __future__ import annotations

import itertools
import json
import math
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NoReturn

from gnomon.contracts.clocks import to_us
from gnomon.contracts.columns import Dtype
from gnomon.contracts.signatures import Signature
from gnomon.errors import InvalidInput, did_you_mean

ID_FIELD: Final = "prediction_id"
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}")
_SHOWN_CHARACTERS = 60


@dataclass(frozen=True)
class RequestRows:
    """A checked request.

    Attributes:
        ids: One prediction id per row, given or made.
        keys: Entity keys of each row.
        fields: Values of the request fields, one list per field; timestamps are microseconds since the epoch. Only
            float64 fields hold None.
    """

    ids: list[str]
    keys: list[dict[str, Any]]
    fields: dict[str, list[Any]]


class RowReader:
    """Reads bodies for one signature.

    Args:
        signature: Says which keys and fields a row has.
        max_rows: More rows are refused.
    """

    def __init__(self, signature: Signature, max_rows: int) -> None:
        self._max_rows = max_rows
        self._keys = [(name, _CHECKS[dtype], dtype) for name, dtype in signature.keys.items()]
        self._fields = [(name, _CHECKS[dtype], dtype) for name, dtype in signature.request.items()]
        self._dtypes: dict[str, Dtype] = {**signature.request, **signature.keys}
        self._known = frozenset({*self._dtypes, ID_FIELD})
        self._form = 'send {"rows": [{…}]} with the fields: ' + self._expected()
        self._decoder = json.JSONDecoder(parse_constant=_refuse_constant)
        self._made_ids = map(f"{secrets.token_hex(8)}-{{}}".format, itertools.count(1))

    def read(self, body: bytes) -> RequestRows:
        """Read and check a body `{"rows": [{…}, …]}`.

        Args:
            body: JSON in UTF-8, 1 to `max_rows` rows.

        Returns:
            The rows in their order, each with an id.

        Raises:
            InvalidInput: It is not JSON of that form, or a value is missing, unknown, of another type or not finite.
        """
        rows = self._rows(body)
        ids: list[str] = []
        keys: list[dict[str, Any]] = []
        fields: dict[str, list[Any]] = {name: [] for name, _, _ in self._fields}
        for number, row in enumerate(rows):
            if type(row) is not dict:
                raise InvalidInput(
                    f"row {number} is {_shown(row)}", "a row is an object with the fields: " + self._expected()
                )
            if not self._known.issuperset(row):
                self._unknown(row, number)
            key = {}
            for name, check, dtype in self._keys:
                value = check(row.get(name, _MISSING))
                if value is _WRONG or value is None:
                    self._wrong(row, number, name, dtype)
                key[name] = value
            for name, check, dtype in self._fields:
                value = check(row.get(name, _MISSING))
                if value is _WRONG:
                    self._wrong(row, number, name, dtype)
                fields[name].append(value)
            keys.append(key)
            ids.append(_given_id(row[ID_FIELD], number) if ID_FIELD in row else next(self._made_ids))
        if len(ids) > 1 and len(set(ids)) != len(ids):
            twice = next(i for i in ids if ids.count(i) > 1)
            raise InvalidInput(
                f"{ID_FIELD} '{twice}' is given to two rows", "give each row an id of its own, or none at all"
            )
        return RequestRows(ids, keys, fields)

    def _rows(self, body: bytes) -> list[Any]:
        form = self._form
        try:
            document = self._decoder.decode(body.decode())
        except UnicodeDecodeError as error:
            raise InvalidInput(f"the body is not UTF-8: byte {error.start} cannot be read", form) from error
        except RecursionError as error:
            raise InvalidInput("the body is nested too deeply to be read", form) from error
        except ValueError as error:  # JSONDecodeError, and integers of thousands of digits
            raise InvalidInput(f"the body is not JSON: {error}", form) from error
        if type(document) is not dict or "rows" not in document:
            raise InvalidInput("the body has no 'rows'", form)
        if len(document) > 1:
            other = next(name for name in document if name != "rows")
            raise InvalidInput(f"the body has the unknown field '{_shown_text(other)}'", form)
        rows = document["rows"]
        if type(rows) is not list or not rows:
            raise InvalidInput(f"'rows' is {_shown(rows)}", "it has to be a list with at least one row")
        if len(rows) > self._max_rows:
            raise InvalidInput(
                f"{len(rows)} rows are more than the {self._max_rows} of one request", "send several requests"
            )
        return rows

    def _unknown(self, row: Mapping[str, Any], number: int) -> NoReturn:
        name = next(name for name in row if name not in self._known)
        raise InvalidInput(
            f"row {number}: there is no field '{_shown_text(name)}'", did_you_mean(name, self._known),
            {"row": number, "field": _shown_text(name)},
        )  # fmt: skip

    def _wrong(self, row: Mapping[str, Any], number: int, name: str, dtype: Dtype) -> NoReturn:
        place = {"row": number, "field": name}
        if name not in row:
            raise InvalidInput(f"row {number}: field '{name}' is missing", f"give it as {_FORMS[dtype]}", place)
        raise InvalidInput(
            f"row {number}: field '{name}' is {_shown(row[name])}", f"it has to be {_FORMS[dtype]}", place
        )

    def _expected(self) -> str:
        return ", ".join(f"{name} ({dtype})" for name, dtype in self._dtypes.items()) or "none"


_MISSING: Final = object()
_WRONG: Final = object()


def _int64(value: Any) -> Any:
    return value if type(value) is int and -(1 << 63) <= value < 1 << 63 else _WRONG


def _float64(value: Any) -> Any:
    if value is None:
        return None
    if type(value) is int:
        try:
            value = float(value)
        except OverflowError:
            return _WRONG
    return value if type(value) is float and math.isfinite(value) else _WRONG


def _bool(value: Any) -> Any:
    return value if type(value) is bool else _WRONG


def _string(value: Any) -> Any:
    if type(value) is not str:
        return _WRONG
    if value.isascii():
        return value
    try:
        value.encode()
    except UnicodeEncodeError:
        return _WRONG
    return value


def _timestamp(value: Any) -> Any:
    if type(value) is not str:
        return _WRONG
    try:
        return to_us(datetime.fromisoformat(value))
    except (ValueError, OverflowError):
        return _WRONG


_CHECKS: Final[dict[Dtype, Callable[[Any], Any]]] = {
    "int64": _int64, "float64": _float64, "bool": _bool, "string": _string, "timestamp": _timestamp
}  # fmt: skip
_FORMS: Final[dict[Dtype, str]] = {
    "int64": "a whole number between -2^63 and 2^63 - 1",
    "float64": "a finite number or null",
    "bool": "true or false",
    "string": "a string of valid Unicode",
    "timestamp": "a time with its zone, such as '2026-03-01T12:30:00Z'",
}


def _given_id(value: Any, number: int) -> str:
    if type(value) is not str or not _ID.fullmatch(value):
        raise InvalidInput(
            f"row {number}: {ID_FIELD} is {_shown(value)}",
            "it has to be 1 to 128 letters, digits, '_', '.', ':' or '-', and begin with a letter or digit",
            {"row": number, "field": ID_FIELD},
        )
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _shown(value: Any) -> str:
    """Return the value as the caller wrote it, shortened."""
    try:
        return _shown_text(json.dumps(value))
    except (ValueError, RecursionError):
        return "a number or list too long to show"


def _shown_text(text: str) -> str:
    plain = text.encode(errors="backslashreplace").decode()
    return plain if len(plain) <= _SHOWN_CHARACTERS else plain[: _SHOWN_CHARACTERS - 1] + "…"
