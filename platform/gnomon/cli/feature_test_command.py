"""`gnomon test-features`: whether features are the same for one row as for many, tried without a platform."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gnomon.cli.definition_commands import AppFile
from gnomon.cli.output import Format, Output, console, show, table, track

if TYPE_CHECKING:
    from gnomon.contracts.apps import App
    from gnomon.features.feature_properties import Subject

_SHOWN_CHARACTERS = 60


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("test-features")(try_features)


def try_features(
    app_file: AppFile,
    feature: Annotated[
        list[str] | None, typer.Option("--feature", "-f", help="Only this: a request feature, or VIEW.FEATURE.")
    ] = None,
    view: Annotated[list[str] | None, typer.Option("--view", help="Only the derived features of this view.")] = None,
    examples: Annotated[int, typer.Option(help="Tables that are drawn for each feature.", min=2)] = 200,
    seed: Annotated[int, typer.Option(help="The same seed draws the same values.", min=0)] = 0,
    output: Output = Format.text,
) -> None:
    """Test request-time and derived features: is what is served what a model is trained on?

    Needs no platform. Values of the declared types are drawn, nulls and awkward ones among them; each feature is
    computed for whole tables, as in training, and row by row, as in serving, and compared bit by bit. Exits with 0 if
    no fault was found, and with 1 otherwise.
    """
    found = check_app(app_file, feature or [], view or [], examples, seed, quiet=output is Format.json)
    body = {"seed": seed, "ok": all(report["ok"] for report in found), "features": found}
    show(body, output, _reports)
    if not body["ok"]:
        raise typer.Exit(1)


def check_app(
    app_file: Path, features: list[str], views: list[str], examples: int, seed: int, *, quiet: bool = True
) -> list[dict[str, Any]]:  # fmt: skip
    """Test the features of an app file.

    Args:
        app_file: Python file with definitions.
        features: Only these request features, and derived features as `view.feature`.
        views: Only the derived features of these views; all of both where neither is given.
        examples: Tables to draw for each feature, at least 2.
        seed: The same one draws the same values.
        quiet: Show no progress.

    Returns:
        `FeatureReport.as_json` of each feature, request features first, by name.

    Raises:
        NotFound: There is no such file, feature or view.
        InvalidDefinition: The app file raises, or its definitions contradict each other.
        InvalidInput: The type of a column is not declared, and its data cannot be read here.
    """
    from tempfile import TemporaryDirectory

    from gnomon.features.feature_properties import check_feature
    from gnomon.runtime.app_code import FunctionLoader, load_app
    from gnomon.storage.artifacts import ArtifactFolder

    app, text = load_app(app_file)
    with TemporaryDirectory() as folder:
        artifacts = ArtifactFolder(Path(folder))
        loader = FunctionLoader(artifacts, artifacts.put_bytes(text.encode()))
        subjects = _subjects(app, features, views, loader)
        return [check_feature(subject, examples, seed).as_json() for subject in track(subjects, quiet)]


def _subjects(app: App, features: list[str], views: list[str], loader: Any) -> list[Subject]:
    """Return what is to be tested, request features first."""
    from gnomon.contracts.features import Derived, FeatureView, RequestFeature
    from gnomon.data.declared_schemas import with_declared_schemas
    from gnomon.errors import unknown_name
    from gnomon.features.derived_subjects import DerivedSubject
    from gnomon.serving.request_subjects import RequestSubject

    for name in views:
        app.get(FeatureView, name)
    specs = {spec.name: spec for spec in app.all(RequestFeature)}
    of_views = [(view, f) for view in app.all(FeatureView) for f in view.features if isinstance(f, Derived)]
    derived = {f"{view.name}.{f.name}": (view, f) for view, f in of_views}
    for name in features:
        if name not in specs and name not in derived:
            raise unknown_name("request feature or derived feature", name, [*specs, *derived])
    chosen = [n for n in (*specs, *derived) if not (features or views) or n in features or n.partition(".")[0] in views]
    mine = [specs[name] for name in chosen if name in specs and (not views or name in features)]
    read = [lookup.partition(".")[0] for spec in mine for lookup in spec.reads() if "." in lookup]
    typed = with_declared_schemas(app, [*read, *(name.partition(".")[0] for name in chosen if name in derived)])
    requested: list[Subject] = [RequestSubject(typed, spec, loader) for spec in mine]
    return [*requested, *(DerivedSubject(typed, *derived[name]) for name in chosen if name in derived)]


def _reports(body: dict[str, Any]) -> None:
    found = body["features"]
    rows = ([f["feature"], f["kind"].replace("_", " "), f["rows"], _result(f["finding"])] for f in found)
    table(["feature", "kind", "rows", "result"], rows, empty="the app has no request features and no derived features")
    for f in found:
        if not f["ok"]:
            _finding(f["feature"], f["finding"], body["seed"])


def _result(finding: dict[str, Any] | None) -> str:
    return "ok" if finding is None else str(finding["problem"]).replace("_", " ")


def _finding(feature: str, finding: dict[str, Any], seed: int) -> None:
    console.print(f"\n{feature}: {finding['message']}", markup=False)
    names = list(finding["rows"][0]) if finding["rows"] else []
    if names:
        table(["row", *names], ([i, *(_cell(r[n]) for n in names)] for i, r in enumerate(finding["rows"])), empty="")
    console.print(f"try: {finding['hint']}", markup=False)
    console.print(f"again: --feature {feature} --seed {seed}", markup=False, style="dim")


def _cell(value: Any) -> str:
    text = "null" if value is None else repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"
