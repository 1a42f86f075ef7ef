"""Repositories of Feast as app files: what is in them, that they load, and that nothing is lost without a word."""

from __future__ import annotations

import random
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from tests.feast_repositories import NAMES, PLAIN, REPOSITORIES, imported, make_repository

import gnomon as gn
from gnomon.contracts.apps import App
from gnomon.errors import InvalidDefinition
from gnomon.importing.findings import described
from gnomon.importing.importer import ImportedApp
from gnomon.importing.recordings import FeastObject, record
from gnomon.importing.repositories import open_repository

_ENDINGS = ("View", "Source", "Entity", "Service", "Project", "Permission", "FeatureStore")


@pytest.fixture(scope="module", params=NAMES)
def repository(request: pytest.FixtureRequest) -> Path:
    return REPOSITORIES / str(request.param)


@pytest.fixture(scope="module")
def app_file(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp(repository.name) / f"{repository.name}.py"


@pytest.fixture(scope="module")
def result(repository: Path, app_file: Path) -> tuple[ImportedApp, App]:
    return imported(repository, app_file)


def require_formatted(file: Path) -> None:
    ruff = Path(sys.executable).with_name("ruff")
    command = [str(ruff), "format", "--diff", "--isolated", "--line-length", "88", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def require_all_accounted(made: list[FeastObject], found: ImportedApp) -> None:
    """Every definition is in the app file or left out, and not both."""
    taken = [(each.kind, each.name) for each in found.findings.imported]
    left = [(each.what, each.place) for each in found.findings.left_out]
    definitions = [obj for obj in made if obj.kind.endswith(_ENDINGS)]
    assert definitions
    for obj in definitions:
        kind = described(obj).partition(" '")[0]
        assert ((kind, obj.name) in taken) + ((described(obj), obj.place) in left) == 1, described(obj)


def test_every_definition_is_in_the_file_or_named(repository: Path, result: tuple[ImportedApp, App]) -> None:
    require_all_accounted(record(open_repository(repository), 60.0), result[0])


def test_what_is_said_to_be_imported_is_in_the_app(result: tuple[ImportedApp, App]) -> None:
    found, app = result
    kinds = {"entity": gn.Entity, "feature view": gn.FeatureView, "stream feature view": gn.FeatureView}
    for each in found.findings.imported:
        if each.kind in kinds:
            app.get(kinds[each.kind], each.becomes.split("'")[1])
    becomes = " ".join(each.becomes for each in found.findings.imported)
    assert all(f"'{spec.name}'" in becomes for spec in app.definitions)


def test_everything_that_is_left_out_or_differs_is_a_comment(result: tuple[ImportedApp, App]) -> None:
    found, _ = result
    text = " ".join(found.text.replace("\n#   ", " ").split())
    assert found.findings.left_out
    for each in (*found.findings.left_out, *found.findings.differences):
        assert " ".join(f"# {each}".split()) in text


def test_the_file_is_formatted(result: tuple[ImportedApp, App], app_file: Path) -> None:
    require_formatted(app_file)


def test_the_template_of_feast_init(tmp_path: Path) -> None:
    found, app = imported(REPOSITORIES / "drivers", tmp_path / "drivers.py")
    view = app.get(gn.FeatureView, "driver_hourly_stats")
    assert (view.entity, view.source, view.max_age, view.freshness) == (
        ("driver",), "driver_hourly_stats_source", timedelta(days=1), None,
    )  # fmt: skip
    assert [f.name for f in view.features] == ["conv_rate", "acc_rate", "avg_daily_trips"]
    assert (view.owner, view.tags, view.features[1].tags) == (
        "ann@example.org", ("team=driver_performance",), ("unit=ratio",),
    )  # fmt: skip
    assert app.get(gn.FeatureView, "driver_hourly_stats_fresh").freshness == timedelta(seconds=1)
    source = app.get(gn.DataSource, "driver_hourly_stats_source")
    assert (source.id, source.event_time, source.known_time, source.timezone) == (
        ("driver_id", "event_timestamp"), "event_timestamp", "created", "UTC",
    )  # fmt: skip
    assert {name: field.dtype for name, field in source.fields.items()} == {
        "driver_id": "int64", "conv_rate": "float64", "acc_rate": "float64", "avg_daily_trips": "int64",
    }  # fmt: skip
    assert (tmp_path / source.path).resolve() == REPOSITORIES / "drivers" / "data" / "driver_stats.parquet"
    assert app.get(gn.Entity, "driver").key == ("driver_id",)
    feature = app.get(gn.RequestFeature, "many_trips")
    assert (feature.request, feature.dtype) == ({"val_to_add": "int64"}, "int64")
    assert "driver_activity_v1 = [driver_hourly_stats" in found.text.replace("\n    ", "")
    assert found.text.startswith('"""The Feast project \'driver_ranking\'')


def test_a_service_is_what_a_model_takes(tmp_path: Path) -> None:
    imported(REPOSITORIES / "drivers", tmp_path / "drivers.py")
    names: dict[str, object] = {"__name__": "app"}
    exec((tmp_path / "drivers.py").read_text(), names)
    label = gn.Label("on_time", source="driver_hourly_stats_source", delay="1d")
    features: dict[str, object] = {name: names[name] for name in ("driver_activity_v1", "driver_activity_v2")}
    made = {name: gn.Model("m", label=label, features=value) for name, value in features.items()}
    assert made["driver_activity_v1"].features == ("driver_hourly_stats.conv_rate", "conv_rate_plus_val", "many_trips")
    assert made["driver_activity_v2"].features == ("driver_hourly_stats_fresh", "label")


def test_mapped_fields_several_files_and_several_views_of_a_source(tmp_path: Path) -> None:
    _, app = imported(REPOSITORIES / "shop", tmp_path / "shop.py")
    orders = app.get(gn.DataSource, "orders")
    assert (orders.id, orders.event_time) == (("customer_id", "item_id", "region", "ts"), "ts")
    assert (orders.fields["customer_id"].dtype, orders.fields["amt"].dtype) == ("string", "float64")
    basket = app.get(gn.FeatureView, "customer_basket")
    assert (basket.entity, basket.max_age) == (("customer", "item"), None)
    names = [(f.column, f.name) for f in basket.features if isinstance(f, gn.Column)]
    assert names[:3] == [("amt", "amount"), ("isGift", "is_gift_2"), ("is_gift", "is_gift")]
    clicks = app.get(gn.FeatureView, "item_clicks")
    assert [(f.name, f.function, f.window) for f in clicks.features if isinstance(f, gn.Aggregation)] == [
        ("sum_price_3600s", "sum", timedelta(hours=1)), ("clicks", "count", timedelta(days=1)),
    ]  # fmt: skip
    assert app.get(gn.DataSource, "clicks").fields == {}  # the types of what is aggregated are in the data


def test_a_setting_that_nobody_knows_is_named_whatever_has_it(tmp_path: Path) -> None:
    text = PLAIN.replace('"driver",', '"driver", odd=7,').replace('"stats",', '"stats", odd=7,')
    text = text.replace('"view",', '"view", odd=7,').replace('"trips",', '"trips", odd=7,')
    text += """
push = PushSource(name="push", batch_source=stats, odd=7)
asked = RequestSource(name="asked", schema=[Field(name="n", dtype=Int64)], odd=7)
from feast.on_demand_feature_view import on_demand_feature_view
@on_demand_feature_view(sources=[view, asked], schema=[Field(name="sum", dtype=Int64, odd=7)], odd=7)
def added(inputs):
    return inputs
service = FeatureService(name="service", features=[view], odd=7)
project = Project(name="p", odd=7)
"""
    found, _ = imported(make_repository(tmp_path / "repo", {"a.py": text}), tmp_path / "app.py")
    named = {each.what.partition(" of ")[2] for each in found.findings.left_out if "odd=7" in each.what}
    assert named == {
        "entity 'driver'", "FileSource 'stats'", "feature view 'view'", "Field 'trips'", "PushSource 'push'",
        "RequestSource 'asked'", "Field 'sum'", "on-demand feature view 'added'", "feature service 'service'",
        "project 'p'",
    }  # fmt: skip


def test_a_view_without_a_schema_takes_the_columns_of_its_files(tmp_path: Path) -> None:
    text = PLAIN.replace('schema=[Field(name="trips", dtype=Int64)], ', "").replace(', timestamp_field="at"', "")
    repository = make_repository(tmp_path / "repo", {"a.py": text.replace("stats.parquet", "stats.csv")})
    (repository / "stats.csv").write_text("driver_id,at,trips,note\n1,2026-01-01T00:00:00Z,3,a\n")
    _, app = imported(repository, tmp_path / "app.py")
    assert [f.name for f in app.get(gn.FeatureView, "view").features] == ["trips", "note"]
    assert app.get(gn.DataSource, "stats").event_time == "at"
    (repository / "stats.csv").unlink()
    found, app = imported(repository, tmp_path / "without.py")
    assert [spec.name for spec in app.definitions] == ["driver"]
    assert [each.reason for each in found.findings.left_out] == [
        "it has no timestamp_field, and there is no file at 'stats.csv' to tell one", "its source 'stats' has none",
    ]  # fmt: skip


def test_a_view_without_a_schema_whose_file_is_missing(tmp_path: Path) -> None:
    """The path is said as the repository gives it, wherever the app file is; a file that is there is not missing."""
    text = PLAIN.replace('schema=[Field(name="trips", dtype=Int64)], ', "").replace("stats.parquet", "data/stats.csv")
    repository = make_repository(tmp_path / "repo", {"a.py": text})
    missing = "it has no schema, and there is no file at 'data/stats.csv' to tell one"
    found, _ = imported(repository, tmp_path / "app.py")
    assert (described_reason(found, "feature view 'view'"), missing in " ".join(found.text.split("\n#   "))) == (
        missing, True,
    )  # fmt: skip
    (repository / "data").mkdir()
    (repository / "data" / "stats.csv").write_text("driver_id,at\n1,2026-01-01T00:00:00Z\n")
    found, _ = imported(repository, tmp_path / "app.py")
    reason = described_reason(found, "feature view 'view'")
    assert reason == "it has no schema, and its files do not tell one"


def described_reason(found: ImportedApp, what: str) -> str:
    return next(each.reason for each in found.findings.left_out if each.what == what)


def test_old_versions_of_the_interface_and_composite_keys(tmp_path: Path) -> None:
    text = """
from datetime import timedelta
from feast import Entity, Feature, FeatureView, FileSource, ValueType
trip = Entity(name="trip", join_keys=["driver_id", "started_at_us"], value_type=ValueType.INT64)
shift = Entity("shift", join_key="shift_id")
source = FileSource("stats.parquet", event_timestamp_column="at")
view = FeatureView("view", entities=["trip", "shift"], ttl=timedelta(seconds=90), batch_source=source,
                   features=[Feature("km", ValueType.DOUBLE, labels={"unit": "km"})])
"""
    _, app = imported(make_repository(tmp_path / "repo", {"a.py": text}), tmp_path / "app.py")
    assert app.get(gn.Entity, "trip").key == ("driver_id", "started_at_us")
    view = app.get(gn.FeatureView, "view")
    assert (view.entity, view.max_age, view.features[0].tags) == (
        ("trip", "shift"),
        timedelta(seconds=90),
        ("unit=km",),
    )
    assert app.get(gn.DataSource, "stats").id == ("driver_id", "started_at_us", "shift_id", "at")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("FileSource(name='s', path='data/a.parquet', timestamp_field='at')", ("../repo/data/a.parquet", "parquet")),
        ("FileSource(name='s', path='file:///lake/a', timestamp_field='at')", ("/lake/a", "parquet")),
        ("FileSource(name='s', path='a.csv', timestamp_field='at')", ("../repo/a.csv", "csv")),
        (
            "SparkSource(name='s', path='/lake/a.json', file_format='json', timestamp_field='at')",
            ("/lake/a.json", "jsonl"),
        ),
        ("RaySource(name='s', path=f'{HERE}/a', reader_type='csv', timestamp_field='at')", ("../repo/a", "csv")),
        ("FileSource(name='s', path='a', file_format=DeltaFormat(), timestamp_field='at')", ("../repo/a", "delta")),
        ("RaySource(name='s', path='a', reader_type='images', timestamp_field='at')", "files of format images are not"),
        ("RaySource(name='s', reader_type='mongo', timestamp_field='at')", "there is no reader for a RaySource"),
        ("PostgreSQLSource(name='s', timestamp_field='at')", "it has neither a table nor a query"),
    ],
)
def test_where_rows_are(source: str, expected: tuple[str, str] | str, tmp_path: Path) -> None:
    text = "import os\nHERE = os.path.dirname(os.path.abspath(__file__))\n" + PLAIN
    repository = make_repository(tmp_path / "repo", {"a.py": text.replace("source=stats", f"source={source}")})
    (tmp_path / "app").mkdir()
    found, app = imported(repository, tmp_path / "app" / "app.py")
    if isinstance(expected, tuple):
        made = app.get(gn.DataSource, "s")
        assert (made.path, made.format) == expected
    else:
        assert next(each.reason for each in found.findings.left_out if "'s'" in each.what).startswith(expected)


@pytest.mark.parametrize("dtype", ["Float16", "Array(Int64)", "Struct({'a': Int64})", "7", "None"])
def test_a_type_without_a_match(dtype: str, tmp_path: Path) -> None:
    """Null is Feast's "read it from the data"; all else is named, and the view with its other features stays."""
    schema = f'schema=[Field(name="odd", dtype={dtype}), Field(name="trips", dtype=Int64)]'
    text = "from feast.types import Float16\n" + PLAIN.replace('schema=[Field(name="trips", dtype=Int64)]', schema)
    found, app = imported(make_repository(tmp_path / "repo", {"a.py": text}), tmp_path / "app.py")
    names = [f.name for f in app.get(gn.FeatureView, "view").features]
    left = [each.what for each in found.findings.left_out if each.what.startswith("feature 'odd'")]
    assert (names, left) == (
        (["odd", "trips"], []) if dtype == "None" else (["trips"], ["feature 'odd' of feature view 'view'"])
    )


def test_nothing_with_a_counterpart_is_an_error(tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "repo", {"a.py": "from feast import LabelView\nx = LabelView(name='x')\n"})
    with pytest.raises(InvalidDefinition, match=r"nothing in .* has a counterpart: Feast label view 'x'"):
        imported(repository, tmp_path / "app.py")


_PIECES = ("driver", "Stats", "2nd", "ümlaut", "gn", "class", "None", "pd", "a b", "x" * 70, "-", "_", "'", '"', "\\")
_DTYPES = ("Int32", "Int64", "Float32", "Float64", "Bool", "String", "UnixTimestamp", "Json", "Array(Int64)", "Bytes")


def test_a_large_repository_of_odd_names(tmp_path: Path) -> None:
    """Names of every kind, several views of a source, types that contradict each other; one seed, many definitions."""
    dice = random.Random(20_260_101)

    def name(number: int) -> str:
        return repr(dice.choice(("", "_")).join(dice.choices(_PIECES, k=2)) + str(number))

    lines = ["from datetime import timedelta", "from feast import *", "from feast.types import *"]
    for n in range(12):
        keys = [name(n) for _ in range(dice.choice((1, 1, 2)))]
        lines.append(f"e{n} = Entity(name={name(n)}, join_keys=[{', '.join(keys)}], description={name(n)})")
    for n in range(12):
        mapping = {f"raw_{k}": f"f{k}" for k in range(dice.randrange(3))}
        lines.append(
            f"s{n} = FileSource(name={name(n)}, path={name(n)}, timestamp_field='at', field_mapping={mapping})"
        )
    for n in range(60):
        fields = [
            f"Field(name={dice.choice((repr(f'f{k}'), name(k)))}, dtype={dice.choice(_DTYPES)})" for k in range(5)
        ]
        lines.append(
            f"v{n} = FeatureView(name={name(n)}, entities=[e{dice.randrange(12)}], schema=[{', '.join(fields)}], "
            f"source=s{dice.randrange(12)}, ttl=timedelta(seconds={dice.randrange(10_000)}), "
            f"tags={{{name(n)}: {name(n)}}})"
        )
        lines.append(f"t{n} = FeatureService(name={name(n)}, features=[v{n}, v{dice.randrange(n + 1)}])")
    repository = make_repository(tmp_path / "repo", {"a.py": "\n".join(lines)})
    found, app = imported(repository, tmp_path / "app.py")
    require_all_accounted(record(open_repository(repository), 60.0), found)
    require_formatted(tmp_path / "app.py")
    assert len(app.all(gn.FeatureView)) > 40
