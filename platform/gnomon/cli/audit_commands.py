"""`gnomon audit`: who did what; and `gnomon audit skew`: whether what was served is what models are trained on."""

from __future__ import annotations

from typing import Annotated, Any

import typer

import gnomon
from gnomon.cli.output import Format, Output, console, short, show, table, waiting

_EXAMPLES = 3


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(invoke_without_command=True, pretty_exceptions_enable=False, rich_markup_mode=None)
    group.callback(help=trail.__doc__)(trail)
    group.command()(skew)
    app.add_typer(group, name="audit")


def trail(context: typer.Context, output: Output = Format.text) -> None:
    """Show who did what to what, newest first."""
    if context.invoked_subcommand is not None:
        return
    with gnomon.connect() as client:
        found = client.history.audit()
    rows = ([e["number"], e["time"][:19], e["actor"], e["action"], e["target"], _why(e["details"])] for e in found)
    columns = ["number", "time", "actor", "action", "target", "details"]
    show(found, output, lambda _: table(columns, rows, empty="nothing yet"))


def _why(details: dict[str, Any]) -> str:
    """Return the short ones of an entry's details; `--output json` has all of them."""
    told = (f"{name} {value}" for name, value in details.items() if isinstance(value, str | int | float))
    return short("; ".join(each for each in told if not each.startswith("operation ")))


def skew(
    model: Annotated[str, typer.Option("--model", "-m", help="Whose predictions are replayed.")],
    since: Annotated[str, typer.Option(help="From when on: a duration such as 7d, a date, or a time with its zone.")],
    until: Annotated[str | None, typer.Option(help="Until when; now when left out.")] = None,
    max_rate: Annotated[
        float, typer.Option(help="Exit with 1 if a feature has a greater share of mismatches.", min=0, max=1)
    ] = 0.001,
    output: Output = Format.text,
) -> None:
    """Compare the feature values of logged predictions with what a training set would hold for them.

    Exits with 0 if no feature's rate of mismatches is above --max-rate, and with 1 otherwise.
    """
    progress = None if output is Format.json else waiting(f"audit of {model}")
    with gnomon.connect() as client:
        found = client.audit_skew(model, since=since, until=until, on_progress=progress)
    show(found, output, _skews)
    if found["worst_rate"] > max_rate:
        raise typer.Exit(1)


def _skews(found: dict[str, Any]) -> None:
    rows = [
        [f["feature"], f["rows"], f["mismatches"], f"{f['rate']:.4%}",
         ", ".join(f"{name} {c['count']}" for name, c in f["classes"].items()) or None]
        for f in found["features"]
    ]  # fmt: skip
    empty = f"no prediction of '{found['model']}' was logged from {found['after'][:19]} to {found['until'][:19]}"
    table(["feature", "rows", "mismatches", "rate", "classes"], rows, empty=empty)
    examples = {
        name: c["examples"][:_EXAMPLES] for f in reversed(found["features"]) for name, c in f["classes"].items()
    }
    for name, ids in examples.items():
        console.print(f"  {name}, for example: {', '.join(ids)}", markup=False)
    for f in found["features"]:
        if f["rounded_rows"]:
            console.print(
                f"  {f['feature']}: {f['rounded_rows']} values are beyond 2^53 and were logged rounded", markup=False
            )
    for left in found["not_audited"]:
        console.print(f"  not audited: {left['input']}: {left['why']}", markup=False)
