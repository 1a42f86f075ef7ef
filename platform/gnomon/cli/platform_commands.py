"""Commands of the platform itself: up, down, env, demo."""

from __future__ import annotations

import shlex
import signal
import subprocess
from pathlib import Path
from typing import Annotated

import typer

from gnomon.cli.output import Format, Output, console, show
from gnomon.runtime.local_platform import start_platform, stop_platform
from gnomon.runtime.platform_record import read_record
from gnomon.settings import access_token, load_settings


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (up, down, env, demo):
        app.command()(command)


def up(
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Stay until stopped, as a service manager wants.")
    ] = False,
) -> None:
    """Start the platform: online store, Ray, control plane, gateway."""
    if foreground:  # a start that is stopped half-way has to leave nothing, as when it is interrupted
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    record, process = start_platform(load_settings(), lambda step: console.print(f"[dim]·[/] {step}"))
    console.print(f"[green]Gnomon is up[/] at {record.url}  [dim](Ray's dashboard and jobs: {record.dashboard})[/]")
    console.print("[dim]next: gnomon apply APP_FILE · gnomon status · gnomon down[/]")
    if foreground:
        raise typer.Exit(stay(process))


def stay(process: subprocess.Popen[str]) -> int:
    """Wait for the supervisor's end and return its exit status; pass SIGTERM and an interrupt on to it meanwhile."""
    kinds = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(kind, lambda *_: process.terminate()) for kind in kinds]
    try:
        return process.wait()
    finally:
        for kind, handler in zip(kinds, before, strict=True):
            signal.signal(kind, handler)


def down() -> None:
    """Stop the platform that runs in this home; what it keeps stays."""
    stop_platform(load_settings())
    console.print("Gnomon is down")


def env(output: Output = Format.text) -> None:
    """Print the variables that Ray's own commands and other programs need: eval "$(gnomon env)"."""
    settings = load_settings()
    record = read_record(settings.folder)
    variables = {"GNOMON_URL": record.url, "GNOMON_TOKEN": access_token(settings), **record.environment()}
    show(variables, output, _exports)


def _exports(variables: dict[str, str]) -> None:
    for name, value in variables.items():
        typer.echo(f"export {name}={shlex.quote(value)}")


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave the platform running at the end.")] = False,
    home: Annotated[Path, typer.Option(help="Folder to run in; emptied first if an earlier demo made it.")] = Path(
        "gnomon-demo"
    ),
) -> None:
    """Run the example app `payments` through its whole life, on embedded parts."""
    from gnomon.examples.payments.demo import run_demo

    run_demo(home, keep=keep)
