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
            for line in differences(before, after):
                console.print(f"    {field}: {line}", markup=False)
    kept = len(result["changes"]) - len(changed)
    console.print(f"app '{result['app']}', revision {result['revision']}: {len(changed)} to change, {kept} to keep")


def _applied(result: dict[str, Any]) -> None:
    _changes(result)
    console.print("applied" if any(c["action"] != "keep" for c in result["changes"]) else "nothing to do")


def differences(before: Any, after: Any) -> list[str]:
    """Say what differs between two values of a definition's field, a line each.

    Args:
        before: As JSON; null where the field was not used.
        after: The same.

    Returns:
        Of lists, what is added, gone or changed, by name where it has one; of mappings, the keys that differ.
    """
    if isinstance(before, list) and isinstance(after, list):
        old, new = ({_name_of(each): each for each in some} for some in (before, after))
        lines = [*(f"- {name}" for name in old if name not in new), *(f"+ {name}" for name in new if name not in old)]
        for name in old:
            lines += [f"{name}: {line}" for line in differences(old[name], new.get(name, old[name]))]
        return lines or ([] if before == after else ["the same in another order"])
    if isinstance(before, dict) and isinstance(after, dict):
        names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
        return [f"{name}: {line}" for name in names for line in differences(before.get(name), after.get(name))]
    return [] if before == after else [f"{_short(before)} → {_short(after)}"]


def _name_of(value: Any) -> str:
    return str(value["name"]) if isinstance(value, dict) and value.get("name") else _short(value)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 90 else text[:87] + "…"
