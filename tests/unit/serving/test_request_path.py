"""The request path over a real online store, registry and model."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gnomon.contracts.predictions import PredictionRecord
from gnomon.errors import InvalidInput, OperationFailed, Unavailable
from gnomon.features.redis_online_store import RedisOnlineStore
from gnomon.registry.model_formats import load_predictor
from gnomon.serving.parts import ServingParts
from gnomon.serving.request_path import RequestPath
from gnomon.serving.request_path_loading import load_request_path


class Records(list[PredictionRecord]):
    """A sink that keeps what it is given."""

    def put(self, record: PredictionRecord) -> None:
        self.append(record)

    def flush(self) -> None:
        """Everything is here already."""


@pytest.fixture
def records() -> Records:
    return Records()


@pytest.fixture
def path(world: ModuleType, folder: Path, parts: ServingParts, records: Records) -> RequestPath:
    return load_request_path(world.target_of(folder), parts, records)


@pytest.fixture(scope="module")
def shared_path(world: ModuleType, folder: Path) -> RequestPath:
    return load_request_path(world.target_of(folder), world.parts_of(folder), None)


def ask(path: RequestPath, *rows: Any) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(path.answer(json.dumps({"rows": rows}).encode()).body)
    return answer


def test_a_prediction_is_what_the_model_says_of_the_inputs(
    path: RequestPath, world: ModuleType, parts: ServingParts, records: Records
) -> None:
    answer = ask(path, {**world.ROW, "prediction_id": "mine"})
    (found,) = answer["predictions"]
    assert {k: answer[k] for k in ("deployment", "model", "version", "variant")} == {
        "deployment": "fraud", "model": "fraud_model", "version": 1, "variant": "champion"
    }  # fmt: skip
    inputs = {
        "spend.amount_mean_7d": 17.0, "spend.count_7d": 7.0, "spend.city": "Bern", "amount_ratio": 12.5 / 17.0,
        "hour": 12.0, "amount": 12.5, "channel": "web",
    }  # fmt: skip
    predictor = load_predictor(parts.artifacts.get_folder(parts.registry.version("fraud_model", 1).artifact))
    columns = {n: np.array([v], object if isinstance(v, str) else np.float64) for n, v in inputs.items()}
    assert found["value"] == pytest.approx(predictor.predict(columns)[0], rel=1e-12)
    assert found["id"] == "mine"
    assert set(found["status"].values()) == {"present"}
    assert all(60 <= age < 3600 for age in found["ages_s"].values())
    (record,) = records
    assert record.inputs == inputs
    assert (record.prediction_id, record.keys, record.output) == ("mine", {"customer_id": 7}, found["value"])
    assert {*record.age_us} == {*record.status} == {"spend.amount_mean_7d", "spend.count_7d", "spend.city"}


def test_rows_keep_their_order_and_equal_single_requests(path: RequestPath, world: ModuleType) -> None:
    rows = [{**world.ROW, "customer_id": key, "amount": key + 0.5} for key in (5, 3, 999, 5, 0)]
    together = ask(path, *rows)["predictions"]
    alone = [ask(path, row)["predictions"][0] for row in rows]
    assert [p["value"] for p in together] == pytest.approx([p["value"] for p in alone])
    assert len({p["id"] for p in together + alone}) == 2 * len(rows)


def test_unknown_entities_and_nulls_are_said_and_logged(path: RequestPath, world: ModuleType, records: Records) -> None:
    (found,) = ask(path, {**world.ROW, "customer_id": 10**6, "amount": None})["predictions"]
    assert set(found["status"].values()) == {"missing_entity"}
    assert set(found["ages_s"].values()) == {None}
    assert records[0].inputs["amount"] is None
    assert records[0].inputs["spend.count_7d"] is None
    assert set(records[0].age_us.values()) == {-1}


def test_requests_together_equal_requests_alone(path: RequestPath, world: ModuleType, records: Records) -> None:
    requests = [[{**world.ROW, "customer_id": k, "amount": k + 0.5, "prediction_id": f"{k}"} for k in ks]
                for ks in ([5, 3], [999], [7, 8, 9])]  # fmt: skip
    bodies = [json.dumps({"rows": rows}).encode() for rows in requests]
    first, wrong, *others = path.answer_many([bodies[0], b"{}", *bodies[1:]])
    assert isinstance(wrong, InvalidInput)
    for answer, body, rows in zip([first, *others], bodies, requests, strict=True):
        together, alone = json.loads(answer.body)["predictions"], json.loads(path.answer(body).body)["predictions"]
        assert [p["id"] for p in together] == [p["id"] for p in alone] == [row["prediction_id"] for row in rows]
        assert [p["value"] for p in together] == pytest.approx([p["value"] for p in alone])
        assert [p["status"] for p in together] == [p["status"] for p in alone]
        assert answer.status.shape == (len(rows), 3)
    assert len(records) == 12


def test_a_request_that_fails_in_the_model_fails_alone(path: RequestPath, world: ModuleType) -> None:
    sound = path._predictor

    class Choosy:
        def predict(self, columns: Any) -> np.ndarray[Any, Any]:
            values = sound.predict(columns)
            values[columns["amount"] > 100] = np.nan
            return values

    path._predictor = Choosy()
    bodies = [json.dumps({"rows": [{**world.ROW, "amount": amount}]}).encode() for amount in (1, 1000, 2)]
    kinds = [type(answer).__name__ for answer in path.answer_many(bodies)]
    assert kinds == ["Answer", "OperationFailed", "Answer"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"customer_id": True}, "row 0: field 'customer_id' is true.*whole number"),
        ({"customer_id": 1.5}, "row 0: field 'customer_id' is 1.5"),
        ({"customer_id": 2**63}, "row 0: field 'customer_id' is 9223372036854775808"),
        ({"customer_id": None}, "row 0: field 'customer_id' is null"),
        ({"amount": "12"}, "row 0: field 'amount' is \"12\".*finite number or null"),
        ({"amount": False}, "field 'amount' is false"),
        ({"amount": 10**400}, "field 'amount' is 1000"),
        ({"channel": 3}, "field 'channel' is 3.*string"),
        ({"channel": "\ud800"}, "field 'channel' is .*valid Unicode"),
        ({"at": "2026-03-01T12:00:00"}, "field 'at'.*zone"),
        ({"at": 12}, "field 'at' is 12"),
        ({"amuont": 1}, "no field 'amuont'.*did you mean 'amount'"),
        ({"prediction_id": "a b"}, "prediction_id is \"a b\""),
        ({"prediction_id": 7}, "prediction_id is 7"),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named_with_its_value_and_remedy(
    path: RequestPath, world: ModuleType, records: Records, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        ask(path, {**world.ROW, **change})
    assert not records


@pytest.mark.parametrize("field", ["customer_id", "amount", "channel", "at"])
def test_a_missing_field_is_named(path: RequestPath, world: ModuleType, field: str) -> None:
    row = {name: value for name, value in world.ROW.items() if name != field}
    with pytest.raises(InvalidInput, match=f"row 1: field '{field}' is missing.*give it as"):
        ask(path, world.ROW, row)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "not JSON"), (b"{", "not JSON"), (b"\xff\xfe", "not UTF-8"), (b"[]", "no 'rows'"), (b"{}", "no 'rows'"),
        (b'{"rows": []}', "at least one row"), (b'{"rows": 3}', "'rows' is 3"), (b'{"rows": [3]}', "row 0 is 3"),
        (b'{"rows": [{}], "x": 1}', "unknown field 'x'"), (b'{"rows": [{"amount": NaN}]}', "NaN is no JSON number"),
        (b'{"rows": [' + b"{}," * 1000 + b"{}]}", "1001 rows are more than the 1000"), (b"[" * 200_000, "nested|JSON"),
        (b'{"rows": ' + b"9" * 5000 + b"}", "not JSON"),
    ],
)  # fmt: skip
def test_a_body_that_is_none_says_what_to_send(path: RequestPath, body: bytes, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        path.answer(body)


def test_an_overflowing_number_is_not_finite(path: RequestPath, world: ModuleType) -> None:
    body = json.dumps({"rows": [world.ROW]}).replace("12.5", "1e999").encode()
    with pytest.raises(InvalidInput, match="field 'amount' is Infinity"):
        path.answer(body)


def test_one_id_twice_is_refused(path: RequestPath, world: ModuleType) -> None:
    row = {**world.ROW, "prediction_id": "x"}
    with pytest.raises(InvalidInput, match="'x' is given to two rows"):
        ask(path, row, row)


def test_a_dead_online_store_is_unavailable(
    world: ModuleType, folder: Path, parts: ServingParts
) -> None:  # fmt: skip
    dead = ServingParts(**{**vars(parts), "online": RedisOnlineStore("redis://127.0.0.1:1/0", "test", 0.2)})
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1"):
        ask(load_request_path(world.target_of(folder), dead, None), world.ROW)


def test_a_model_that_answers_no_number_is_our_failure(path: RequestPath, world: ModuleType) -> None:
    class Broken:
        def predict(self, columns: object) -> np.ndarray[Any, Any]:
            return np.array([np.nan])

    path._predictor = Broken()
    with pytest.raises(OperationFailed, match="'fraud_model' version 1"):
        ask(path, world.ROW)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_VALUES = _JSON | st.integers(-(2**63), 2**63 - 1) | st.just("2026-03-01T12:00:00Z") | st.text(st.characters())
_ROWS = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("customer_id", "amount", "channel", "at", "prediction_id"), _VALUES)
)  # fmt: skip


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(_ROWS | _JSON, max_size=3) | _JSON)
def test_any_json_is_answered_or_refused(shared_path: RequestPath, rows: Any) -> None:
    try:
        found = ask_raw(shared_path, json.dumps({"rows": rows}).encode())
    except InvalidInput as error:
        error.as_json()["message"].encode()
    else:
        assert len(found["predictions"]) == len(rows)
        assert all(np.isfinite(p["value"]) for p in found["predictions"])


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    customer=st.integers(-(2**63), 2**63 - 1), amount=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    channel=st.text(st.characters(exclude_categories=["Cs"])), at=st.datetimes(timezones=st.timezones()),
)  # fmt: skip
def test_any_valid_row_is_answered(
    shared_path: RequestPath, customer: int, amount: float | None, channel: str, at: Any
) -> None:  # fmt: skip
    row = {"customer_id": customer, "amount": amount, "channel": channel, "at": at.isoformat()}
    assert np.isfinite(ask(shared_path, row)["predictions"][0]["value"])


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(max_size=64))
def test_any_bytes_are_refused(shared_path: RequestPath, body: bytes) -> None:
    with pytest.raises(InvalidInput):
        shared_path.answer(body)


def ask_raw(path: RequestPath, body: bytes) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(path.answer(body).body)
    return answer
