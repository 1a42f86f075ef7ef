"""`gnomon plan` and `gnomon apply`: an app file against what is applied."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

import gnomon
from gnomon.cli.output import Format, Output, console, show

AppFile = Annotated[Path, typer.Argument(help="Python file with definitions.", metavar="APP_FILE")]

_SIGNS = {"create": "[green]+[/]", "update": "[yellow]~[/]", "delete": "[red]-[/]", "keep": "[dim]=[/]"}


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("plan")(plan)
    app.command("apply")(apply)


def plan(app_file: AppFile, output: Output = Format.text) -> None:
    """Show what applying a file would change; nothing is changed."""
    with gnomon.connect() as client:
        show(client.plan(app_file), output, _changes)


def apply(app_file: AppFile, output: Output = Format.text) -> None:
    """Make a file's definitions the platform's desired state."""
    with gnomon.connect() as client:
        result = client.apply(app_file)
    show(result, output, _applied)


def _changes(result: dict[str, Any]) -> None:
    changed = [c for c in result["changes"] if c["action"] != "keep"]
    for change in changed:
        console.print(f"{_SIGNS[change['action']]} {change['kind']} [bold]{change['name']}[/]")
        for field, (before, after) in change["fields"].items():
            console.print(f"    {field}: {_short(before)} → {_short(after)}", markup=False)
    kept = len(result["changes"]) - len(changed)
    console.print(f"app '{result['app']}', revision {result['revision']}: {len(changed)} to change, {kept} to keep")


def _applied(result: dict[str, Any]) -> None:
    _changes(result)
    console.print("applied" if any(c["action"] != "keep" for c in result["changes"]) else "nothing to do")


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 90 else text[:87] + "…"
