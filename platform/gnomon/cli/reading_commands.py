"""Commands that look: models, runs, predictions, status, quarantine, logs."""

from __future__ import annotations

from typing import Annotated, Any

import typer

import gnomon
from gnomon.cli.output import Format, Output, console, short, show, table
from gnomon.cli.work_commands import show_operations


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (models, runs, predictions, status, quarantine, logs):
        app.command()(command)


def models(
    model: Annotated[str | None, typer.Argument(help="Only this model.")] = None, output: Output = Format.text
) -> None:  # fmt: skip
    """List model versions with their held-out metrics, gates and aliases."""
    with gnomon.connect() as client:
        found = client.models(model)
    show(found, output, _versions)


def _versions(found: list[dict[str, Any]]) -> None:
    rows = (
        [
            v["model"], v["number"], ", ".join(v["aliases"]) or None,
            "  ".join(f"{m['name']} {m['value']:.3f}" for m in v["metrics"]),
            {True: "hold", False: "fail"}.get(v["gates"].get("passed")),
            v["created"][:19], v["artifact"][:12],
        ]
        for v in found
    )  # fmt: skip
    columns = ["model", "version", "aliases", "held-out metrics", "gates", "created", "artifact"]
    table(columns, rows, empty="no version yet: `gnomon train MODEL`")


def predictions(
    deployment: Annotated[str, typer.Argument(help="The endpoint.")],
    limit: Annotated[int, typer.Option(help="How many.", min=1)] = 20,
    output: Output = Format.text,
) -> None:
    """List the last day's logged predictions with their outcomes, newest first."""
    with gnomon.connect() as client:
        found = client.history.predictions(deployment, limit=limit)
    rows = ([p["prediction_id"], p["version"], f"{p['output']:.4g}", p["outcome"]] for p in found["predictions"])
    columns = ["prediction", "version", "value", "outcome"]
    show(found, output, lambda _: table(columns, rows, empty="nothing was logged in the last day"))


def runs(
    model: Annotated[str | None, typer.Argument(help="Only this model.")] = None, output: Output = Format.text
) -> None:  # fmt: skip
    """List tracked trainings with their final metrics."""
    with gnomon.connect() as client:
        found = client.history.runs(model)
    show(found, output, _runs)


def _runs(found: list[dict[str, Any]]) -> None:
    rows = (
        [
            r["run_id"], r["model"], r["state"], r["started"][:19],
            "  ".join(f"{name} {value:.3f}" for name, value in r["metrics"].items()) or short(r["error"]),
        ]
        for r in found
    )  # fmt: skip
    table(["run", "model", "state", "started", "metrics"], rows, empty="nothing was trained yet: `gnomon train MODEL`")


def status(
    link: Annotated[
        bool, typer.Option("--link", help="Print a link that logs a browser in to the status page, once.")
    ] = False,
    output: Output = Format.text,
) -> None:
    """Show the state of every part at a glance."""
    with gnomon.connect() as client:
        if link:
            typer.echo(client.login_link())
            return
        show(client.status(), output, lambda s: _status(s, client.url))


_TONES = {"ok": "green", "healthy": "green", "succeeded": "green", "starting": "yellow", "not deployed": "dim"}


def _status(status: dict[str, Any], url: str) -> None:
    console.print(f"[bold]Gnomon[/] at {url}")
    for part in status["parts"]:
        tone = _TONES.get(part["state"], "red")
        console.print(f"  [{tone}]●[/] {part['name']}: {part['state']} [dim]{part['message']}[/]")
    for deployment in status["deployments"]:
        tone = _TONES.get(deployment["state"], "red")
        version = f", version {deployment['version']}" if deployment["version"] else ""
        console.print(f"  [{tone}]●[/] deployment {deployment['name']}: {deployment['state']}{version}")
    console.print()
    table(
        ["model", "versions", "champion", "held-out quality"],
        (
            [m["name"], m["versions"], m["champion"], "  ".join(f"{k} {v[0]:.3f}" for k, v in m["metrics"].items())]
            for m in status["models"]
        ),
        empty="no model is defined: `gnomon apply APP_FILE`",
    )
    for view in status["views"]:
        if view["version"] != view["shown_version"]:
            until = f"until `gnomon materialize {view['name']}` has ended"
            console.print(f"view {view['name']} shows the values of its definition before, {until}", markup=False)
        if "stream" in view:
            console.print(f"fresh view {view['name']}: {_stream(view['stream'])}", markup=False)
    for source in status["sources"]:
        if "topic" in source:
            topic = source["topic"]
            console.print(f"topic {topic['name']} of source {source['name']}: {_topic(topic)}", markup=False)
    for monitor in status["monitors"]:
        console.print(f"monitor {monitor['name']}: {monitor.get('summary', 'not evaluated yet')}", markup=False)
    console.print()
    show_operations(status["operations"])


def _stream(stream: dict[str, Any] | None) -> str:
    if stream is None:
        return "not started: it has no events yet, or the stream consumer is starting"
    lag = f"{stream['lag_s']:.2f} s from an event's commit to its being online, wanted {stream['freshness_s']:g} s"
    return f"{stream['state']}, {lag}" + (f" · {short(stream['error'])}" if stream["error"] else "")


def _topic(topic: dict[str, Any]) -> str:
    if topic["state"] == "starting":
        return "not read yet: the topic consumer is starting"
    lost = f", {topic['lost']} messages were deleted before they were read" if topic["lost"] else ""
    told = f", not heard of for {topic['behind_s']:.0f} s" if topic["state"] == "away" else ""
    said = f" · {short(topic['error'])}" if topic["error"] else ""
    partitions = len(topic["partitions"])
    return f"{topic['state']}{told}, {topic['lag']} messages behind in {partitions} partitions{lost}{said}"


def quarantine(
    source: Annotated[str, typer.Argument(help="The source.")],
    limit: Annotated[int, typer.Option(help="How many.", min=1, max=1000)] = 20,
    output: Output = Format.text,
) -> None:
    """Show rows that broke a rule of their source, the newest first."""
    with gnomon.connect() as client:
        show(client.history.quarantine(source, limit), output, _rejected)


def _rejected(found: dict[str, Any]) -> None:
    columns = ["ingested_at", "file", "line", "rule", "reason", "raw"]
    table(
        columns, ([row[name] for name in columns] for row in found["rows"]), empty="no row of it is in quarantine"
    )  # fmt: skip
    if found["total"] > len(found["rows"]):
        console.print(f"the newest {len(found['rows'])} of {found['total']}", markup=False)


def logs(
    component: Annotated[str | None, typer.Option(help="Only this part.")] = None,
    lines: Annotated[int, typer.Option(help="How many lines.", min=1)] = 50,
    output: Output = Format.text,
) -> None:
    """Show the newest log lines of every part."""
    with gnomon.connect() as client:
        found = client.history.logs(component=component, lines=lines)
    show(found, output, _log_lines)


def _log_lines(found: list[dict[str, Any]]) -> None:
    known = ("timestamp", "component", "level", "event")
    for line in found:
        rest = short(" ".join(f"{key}={value}" for key, value in line.items() if key not in known))
        head = f"{str(line.get('timestamp', ''))[:19]} {line.get('component', ''):>14} {line.get('level', ''):<7}"
        console.print(f"{head} {line.get('event', '')} {rest}", markup=False)
