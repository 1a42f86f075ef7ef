"""Exports from end to end: the client and the command line against a gateway on a socket, with a worker beside it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from tests.export_world import RandomTrainer, exporting
from tests.gateway_world import bare_parts
from typer.testing import CliRunner

import gnomon as gn
from gnomon.cli.app import app as commands
from gnomon.client import Client
from gnomon.contracts.apps import App
from gnomon.contracts.clocks import HandClock, from_us
from gnomon.contracts.deployments import CHAMPION
from gnomon.control_plane.export_work import METADATA
from gnomon.control_plane.feature_work import ingest_source
from gnomon.control_plane.parts import Parts
from gnomon.control_plane.training_work import train_version
from gnomon.errors import Conflict, InvalidInput, NotFound

FIELDS = {"id": "string", "at": "timestamp", "customer": "int64", "amount": "float64", "fraud": "bool"}
START = datetime(2026, 1, 1, tzinfo=UTC)
NOW = START + timedelta(days=10)


def app(folder: Path) -> App:
    source = gn.DataSource("pay", path="pay.csv", id="id", event_time="at")
    customer = gn.Entity("customer", key="customer")
    view = gn.FeatureView("spend", entity=customer, source=source, features=[
        gn.Aggregation("*", "count", window="30d", name="rows"), gn.Column("amount", name="last"),
    ])  # fmt: skip
    known = gn.RequestFeature("known", expression=gn.col("spend.rows") * 2, dtype="int64")
    ratio = gn.RequestFeature(
        "ratio", request={"amount": "float64"}, expression=gn.col("amount") / gn.col("spend.last")
    )
    label = gn.Label("fraud", source=source, delay="1d")
    model = gn.Model("risk", label=label, features=["spend.rows", known, ratio])
    bare = gn.Model("bare", label=label, features=[gn.RequestFeature("double", request={"amount": "float64"},
                                                                   expression=gn.col("amount") * 2)])  # fmt: skip
    specs = [source, customer, view, model, bare, gn.Deployment("endpoint", model=model)]
    return App.of("app", specs, root=str(folder)).with_schemas({"pay": FIELDS})


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Parts:
    clock = HandClock(tmp_path / "clock", NOW)
    made = replace(bare_parts(tmp_path / "home", monkeypatch), trainer=RandomTrainer, clock=clock)
    times = [(START + timedelta(hours=3 * n)).isoformat() for n in range(40)]
    lines = (f"{n},{at},{n % 5},{n}.5,{'true' if n % 3 else 'false'}\n" for n, at in enumerate(times))
    (tmp_path / "pay.csv").write_text("id,at,customer,amount,fraud\n" + "".join(lines))
    made.definitions.apply(app(tmp_path), actor="me")
    ingest_source(made.operations.submit("ingest", "pay", {}, actor="me"), made, str)
    return made


@pytest.fixture
def client(parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    with exporting(parts, tmp_path, monkeypatch) as made:
        yield made


def test_a_training_set_of_every_label_event(client: Client, parts: Parts, tmp_path: Path) -> None:
    out = tmp_path / "set.parquet"
    made = client.exports.training_set("risk", out)
    assert made["sha256"] == hashlib.sha256(out.read_bytes()).hexdigest()
    table = pq.read_table(out)
    assert (made["rows"], made["columns"]) == (40, table.column_names)
    assert table.column_names[-4:] == ["spend.rows", "known", "ratio", "label"]
    assert table.column("spend.rows").to_pylist()[:6] == [1, 1, 1, 1, 1, 2]
    assert made["source_versions"] == {"pay": parts.offline.version("pay")}
    assert client.exports.training_set("risk", out)["sha256"] == made["sha256"]
    earlier = client.exports.training_set("risk", out, as_of="7d")
    assert (earlier["rows"], earlier["dropped"]["not_known_yet"]) == (17, 15)
    with pytest.raises(InvalidInput, match="usable"):
        client.exports.training_set("risk", tmp_path / "none.parquet", as_of="2026-01-01")
    with pytest.raises(InvalidInput, match="future"):
        client.exports.training_set("risk", tmp_path / "none.parquet", as_of="2027-01-01")
    assert sorted(path.name for path in tmp_path.glob("*.par*")) == ["set.parquet"]


def test_a_model_without_entities(client: Client, tmp_path: Path) -> None:
    made = client.exports.training_set("bare", tmp_path / "bare.parquet")
    assert (made["rows"], made["columns"]) == (40, ["_event_time", "_event_id", "double", "label"])
    with pytest.raises(InvalidInput, match="reads no feature"):
        client.exports.features("bare", tmp_path / "bare.parquet")


def test_what_a_version_was_trained_on_to_the_byte(client: Client, parts: Parts, tmp_path: Path) -> None:
    trained = train_version("run", "risk", parts, str).version
    out = tmp_path / "set.parquet"
    assert client.exports.training_set("risk", out, version=1)["sha256"] == trained.lineage.training_set
    assert parts.artifacts.get_bytes(trained.lineage.training_set) == out.read_bytes()
    assert client.exports.training_set("risk", out)["sha256"] == trained.lineage.training_set  # built again, as of then
    with pytest.raises(NotFound):
        client.exports.training_set("risk", out, version=2)
    with pytest.raises(InvalidInput, match="not both"):
        client.exports.training_set("risk", out, version=1, as_of="now")


def test_features_as_of_a_moment(client: Client, parts: Parts, tmp_path: Path) -> None:
    out = tmp_path / "now.parquet"
    made = client.exports.features("risk", out)
    table = pq.read_table(out)
    assert table.to_pydict() == {"customer": list(range(5)), "spend.rows": [8] * 5, "known": [16] * 5}
    assert made["left_out"] == ["ratio"]
    written = json.loads(table.schema.metadata[METADATA.encode()])
    assert written["source_versions"] == made["source_versions"] == {"pay": parts.offline.version("pay")}
    assert written["as_of"] == made["as_of"] == NOW.isoformat()
    assert client.exports.features("risk", out)["sha256"] == made["sha256"]
    listed = client.exports.features(["spend.last"], out, as_of="9d", keys=[{"customer": 7}, {"customer": 1}])
    assert pq.read_table(out).to_pydict() == {"customer": [7, 1], "spend.last": [None, 6.5]}
    assert listed["sha256"] != made["sha256"]
    assert client.exports.features("spend", out)["columns"] == ["customer", "spend.rows", "spend.last"]
    for wrong in ("spent", ["spend.lost"], ["spent.last"]):
        with pytest.raises(NotFound):
            client.exports.features(wrong, out)
    with pytest.raises(InvalidInput, match="key 0"):
        client.exports.features("spend", out, keys=[{"customer": "x"}])
    with pytest.raises(InvalidInput, match="more than 10000"):
        client.exports.features("spend", out, keys=[{"customer": 1}] * 10_001)


def test_features_of_what_serves(client: Client, parts: Parts, tmp_path: Path) -> None:
    """A deployment means its version, whatever the definition of the model has become."""
    out = tmp_path / "now.parquet"
    with pytest.raises(Conflict, match="no version"):
        client.exports.features("endpoint", out)
    train_version("run", "risk", parts, str)
    parts.registry.move_alias("risk", CHAMPION, 1, reason="by hand", actor="me")
    changed = json.loads(json.dumps(app(tmp_path).as_json()))
    changed["definitions"]["model"]["risk"]["features"] = ["spend.last"]
    parts.definitions.apply(App.from_json(changed), actor="me")
    assert client.exports.features("risk", out)["columns"] == ["customer", "spend.last"]
    assert client.exports.features("endpoint", out)["columns"] == ["customer", "spend.rows", "known"]


def test_what_serves_reads_its_views_as_they_were_trained(client: Client, parts: Parts, tmp_path: Path) -> None:
    """A window that is changed later, and a feature that is renamed, change neither the endpoint nor its export."""
    out = tmp_path / "now.parquet"
    train_version("run", "risk", parts, str)
    parts.registry.move_alias("risk", CHAMPION, 1, reason="by hand", actor="me")
    trained = parts.registry.version("risk", 1).lineage.app_hash
    before = client.exports.features("endpoint", out)
    counts = pq.read_table(out).column("spend.rows").to_pylist()
    body = json.loads(json.dumps(app(tmp_path).as_json()))
    rows = next(f for f in body["definitions"]["feature_view"]["spend"]["features"] if f["name"] == "rows")
    rows["window"] = "1d"
    parts.definitions.apply(App.from_json(body), actor="me")
    assert client.exports.features("endpoint", out)["rows"] == before["rows"]
    assert pq.read_table(out).column("spend.rows").to_pylist() == counts == [8] * 5
    client.exports.features("risk", out)
    assert pq.read_table(out).column("spend.rows").to_pylist() != counts
    rows["name"] = "events"
    body["definitions"]["request_feature"]["known"] = gn.RequestFeature(
        "known", expression=gn.col("spend.events") * 2, dtype="int64"
    ).as_json()
    body["definitions"]["model"]["risk"]["features"] = ["spend.events"]
    parts.definitions.apply(App.from_json(body), actor="me")
    made = client.exports.features("endpoint", out)
    assert pq.read_table(out).to_pydict() == {"customer": list(range(5)), "spend.rows": [8] * 5, "known": [16] * 5}
    assert (made["app_hash"], made["model_version"]) == (trained, 1)


def test_policies_of_what_serves_are_those_applied(client: Client, parts: Parts, tmp_path: Path) -> None:
    """Age limits change nothing that is stored, so that the endpoint has them as they are applied."""
    out = tmp_path / "now.parquet"
    body = json.loads(json.dumps(app(tmp_path).as_json()))
    body["definitions"]["model"]["risk"]["features"] = ["spend.last"]
    parts.definitions.apply(App.from_json(body), actor="me")
    train_version("run", "risk", parts, str)
    parts.registry.move_alias("risk", CHAMPION, 1, reason="by hand", actor="me")
    client.exports.features("endpoint", out)
    assert pq.read_table(out).column("spend.last").to_pylist() == [35.5, 36.5, 37.5, 38.5, 39.5]
    body["definitions"]["feature_view"]["spend"]["max_age"] = "5d"
    parts.definitions.apply(App.from_json(body), actor="me")
    client.exports.features("endpoint", out)
    assert pq.read_table(out).column("spend.last").to_pylist() == [None] * 5
    body["definitions"]["source"]["other"] = {**body["definitions"]["source"]["pay"], "name": "other"}
    body["schemas"]["other"] = body["schemas"]["pay"]
    parts.definitions.apply(App.from_json(body), actor="me")
    with pytest.raises(NotFound, match="'other' holds no rows"):  # a source that training did not know
        client.exports.features("endpoint", out, keys_from="other")


def test_one_name_for_a_model_and_its_deployment(client: Client, parts: Parts, tmp_path: Path) -> None:
    out = tmp_path / "now.parquet"
    body = json.loads(json.dumps(app(tmp_path).as_json()))
    body["definitions"]["deployment"]["risk"] = {**body["definitions"]["deployment"]["endpoint"], "name": "risk"}
    parts.definitions.apply(App.from_json(body), actor="me")
    assert client.exports.features("risk", out)["rows"] == 5
    with pytest.raises(Conflict, match="deployment 'risk' has no version"):
        client.exports.features("deployment:risk", out)
    train_version("run", "risk", parts, str)
    parts.registry.move_alias("risk", CHAMPION, 1, reason="by hand", actor="me")
    assert client.exports.features("deployment:risk", out)["model_version"] == 1
    assert "model_version" not in client.exports.features("model:risk", out)
    with pytest.raises(NotFound, match="no view named 'risk'"):
        client.exports.features("view:risk", out)
    with pytest.raises(InvalidInput, match="target_kind: 'source'"):
        client.exports.features("source:risk", out)


def test_what_cannot_be_kept_or_sent_back_is_refused_at_once(client: Client, parts: Parts) -> None:
    for arguments, words in (
        ({"keys": [{"customer": 1}] * 10_001}, "more than 10000"),
        ({"features": ["spend.rows"] * 1001}, "1001 features"),
        ({"features": ["spend.rows", 7]}, "names none"),
        ({"features": ["spend.rows"], "target_kind": "model"}, "with a list"),
        ({"keys": [{"customer": "x" * 1000}] * 3000}, "bytes, above"),
        ({"as_of": ["now" * 1000]}, "argument 'as_of' is"),
    ):
        with pytest.raises(InvalidInput, match=words) as caught:
            client.operations.submit("export_features", "spend", arguments)
        assert len(caught.value.message) < 200
    half = b'{"kind":"export_features","target":"spend","arguments":{"keys":[{"customer":"\\ud800"}]}}'
    answer = client._connection._http.post(
        "/api/v1/operations", content=half, headers={"content-type": "application/json"}
    )  # fmt: skip
    assert (answer.status_code, "surrogate" in answer.text) == (400, True), answer.text
    assert client.operations.newest()[0]["kind"] == "ingest"


def test_long_arguments_are_shown_by_their_length(client: Client, parts: Parts) -> None:
    keys = [{"customer": 1}] * 21
    short = client.operations.submit("export_features", "spend", {"keys": keys[:20]})
    asked = client.operations.submit("export_features", "spend", {"keys": keys, "as_of": "1d"})
    assert asked["arguments"] == {"keys": {"length": 21}, "as_of": "1d"}
    assert client.operations.get(short["id"])["arguments"] == {"keys": keys[:20]}
    assert client.operations.submit("export_features", "spend", {"keys": keys, "as_of": "1d"}, asked["id"])["id"]
    assert client.operations.wait(asked)["rows"] == 21


@pytest.mark.parametrize("as_of", ["1000000d", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_a_moment_that_no_calendar_has(as_of: str, client: Client, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="outside the years 1 to 9999"):
        client.exports.features("spend", tmp_path / "x.parquet", as_of=as_of)
    with pytest.raises(InvalidInput, match="outside the years 1 to 9999"):
        client.exports.training_set("risk", tmp_path / "x.parquet", as_of=as_of)
    assert client.exports.features("spend", tmp_path / "x.parquet", as_of="0001-01-01")["rows"] == 0


def test_a_neighbour_of_the_file_stays(client: Client, tmp_path: Path) -> None:
    mine = tmp_path / "x.parquet.part"
    mine.write_text("mine")
    client.exports.features("spend", tmp_path / "x.parquet")
    with pytest.raises(InvalidInput):
        client.exports.features("spend", tmp_path / "x.parquet", as_of="2027-01-01")
    assert mine.read_text() == "mine"
    assert not list(tmp_path.glob(".*"))


def test_only_exports_have_a_table(client: Client, parts: Parts, tmp_path: Path) -> None:
    other = client.operations.submit("ingest", "pay")
    with pytest.raises(InvalidInput, match="makes no table"):
        client._connection.fetch(f"/api/v1/operations/{other['id']}/table", tmp_path / "x")
    failed = client.operations.submit("export_training_set", "risk", {"version": 9})
    with pytest.raises(NotFound):
        client.operations.wait(failed)
    with pytest.raises(Conflict, match="is failed"):
        client._connection.fetch(f"/api/v1/operations/{failed['id']}/table", tmp_path / "x")
    with pytest.raises(InvalidInput, match="cannot be written"):
        client.exports.features("spend", tmp_path / "no folder" / "x.parquet")


def test_the_commands(client: Client, parts: Parts, tmp_path: Path) -> None:
    def run(*words: str) -> Any:
        done = CliRunner().invoke(commands, ["export", *words], catch_exceptions=False)
        assert done.exit_code == 0
        return done.stdout  # the worker's log is in it too, as it runs in this process

    out, keys = tmp_path / "out.parquet", tmp_path / "keys.jsonl"
    assert "40 rows, 7 columns, as of 2026-01-11T00:00:00" in run("training-set", "risk", "--out", str(out))
    keys.write_text('{"customer": 3}\n')
    shown = run("features", "risk", "--out", str(out), "--keys", str(keys))
    assert "1 rows, 3 columns" in shown
    assert "known only with a request: ratio" in shown
    shown = run("features", "spend.rows", "spend.last", "--out", str(out), "--as-of", "8d", "-o", "json")
    body = json.loads(shown[shown.index("{\n") :])
    assert (body["rows"], body["file"], body["as_of"]) == (
        5,
        str(out),
        from_us(parts.clock.now_us() - 8 * 86_400_000_000).isoformat(),
    )
    assert pq.read_table(out).column("spend.rows").to_pylist() == [4, 4, 3, 3, 3]
