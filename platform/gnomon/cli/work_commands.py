"""Commands that ask for work and wait for it, and those that show and cancel what was asked for."""

from __future__ import annotations

from typing import Annotated, Any

import typer

import gnomon
from gnomon.cli.output import Format, Output, console, short, show, table, waiting
from gnomon.client import Client
from gnomon.errors import ContractViolated, GnomonError, Unavailable

Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the end, or only ask for it.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (ingest, materialize, train, deploy, retrain, operations, cancel):
        app.command()(command)


def _do(
    client: Client, kind: str, target: str, arguments: dict[str, Any] | None, wait: bool, output: Format
) -> dict[str, Any]:  # fmt: skip
    operation = client.operations.submit(kind, target, arguments)
    if not wait:
        if output is Format.text:
            console.print(f"{kind} {target}: asked for, operation {operation['id']}", markup=False)
        return operation
    return client.operations.wait(operation, on_progress=None if output is Format.json else waiting(f"{kind} {target}"))


def ingest(
    sources: Annotated[
        list[str] | None, typer.Argument(help="Sources; all when left out.", metavar="[SOURCE]...")
    ] = None,
    wait: Wait = True,
    output: Output = Format.text,
) -> None:
    """Read new rows of sources into their offline tables."""
    with gnomon.connect() as client:
        names = sources or [s["name"] for s in client.status()["sources"]]
        results: list[dict[str, Any]] = []
        failed: dict[str, GnomonError] = {}
        for name in names:
            try:
                results.append(_do(client, "ingest", name, None, wait, output))
            except Unavailable:
                raise  # nothing answers: the others would fail alike
            except GnomonError as error:
                failed[name] = error  # one bad source does not keep the others from being read
    if output is Format.json:
        broken = [{"source": name, "error": error.as_json()} for name, error in failed.items()]
        show([*results, *broken], output, _ingested)
    elif wait and (results or not failed):
        show(results, output, _ingested)
    _tell_failed(failed, output)


def _tell_failed(failed: dict[str, GnomonError], output: Format) -> None:
    """Print why sources could not be read, and raise the last of the errors."""
    for number, (name, error) in enumerate(failed.items(), start=1):
        if isinstance(error, ContractViolated) and output is Format.text:
            show_contract(name, error.details["contract"])
        if number == len(failed):
            raise error
        if output is Format.text:
            console.print(f"{name}: {error}", markup=False)


def show_contract(source: str, contract: list[dict[str, Any]]) -> None:
    """Print what became of each rule of a source's data contract."""
    if contract:
        console.print(f"{source}: data contract", markup=False)
        columns = ["rule", "severity", "checked", "violations", "verdict", "found", "examples"]
        table(columns, (
            [
                r["rule"], r["severity"], r["checked"], r["violations"], "kept" if r["passed"] else "broken",
                r["message"], ", ".join(r["examples"]) or None,
            ]
            for r in contract
        ), empty="")  # fmt: skip


def _ingested(results: list[dict[str, Any]]) -> None:
    columns = ["source", "files", "read", "added", "duplicates", "corrections", "quarantined", "version"]
    fields = ["source", "files", "rows_read", "rows_added", "duplicates", "corrections", "quarantined", "table_version"]
    table(columns, ([r[f] for f in fields] for r in results), empty="no source is defined: `gnomon apply APP_FILE`")
    for result in results:
        for rule, count in result["quarantine_rules"].items():
            console.print(f"  {result['source']}: {count} in quarantine for: {rule}", markup=False)
        for each in result.get("transforms", []):
            console.print(f"  {result['source']}: {each['changed']} values changed by {each['step']}", markup=False)
        for each in result["drift"]:
            console.print(f"  {result['source']}: {each['message']}", markup=False)
        show_contract(result["source"], result["contract"])


def materialize(
    views: Annotated[list[str] | None, typer.Argument(help="Views; all when left out.", metavar="[VIEW]...")] = None,
    wait: Wait = True,
    output: Output = Format.text,
) -> None:
    """Bring the newest feature values into the online store."""
    with gnomon.connect() as client:
        names = views or [v["name"] for v in client.status()["views"]]
        results = [_do(client, "materialize", name, None, wait, output) for name in names]
    if wait or output is Format.json:
        show(results, output, _materialized)


def _materialized(results: list[dict[str, Any]]) -> None:
    fields = ["view", "entities", "written", "ignored", "as_of"]
    table(fields, ([r[f] for f in fields] for r in results), empty="no view is defined: `gnomon apply APP_FILE`")
    for result in results:
        for version, what in result["also"].items():
            done = what if isinstance(what, str) else f"{what} entities"
            console.print(f"  {result['view']}: version {version}, which a deployed model reads: {done}", markup=False)
        for version in result["removed"]:
            console.print(f"  {result['view']}: version {version} removed, nobody reads it", markup=False)


def train(
    model: Annotated[str, typer.Argument(help="Model to train.")], wait: Wait = True, output: Output = Format.text
) -> None:  # fmt: skip
    """Train a model on everything known now; register and evaluate the version."""
    with gnomon.connect() as client:
        result = _do(client, "train", model, None, wait, output)
    if wait or output is Format.json:
        show(result, output, show_trained)


def show_trained(result: dict[str, Any]) -> None:
    """Print a trained version: rows, metrics with intervals, gates."""
    console.print(
        f"{result['model']} version {result['version']}: trained on {result['train_rows']} rows, "
        f"evaluated on {result['holdout_rows']} later ones"
    )
    for metric in result["metrics"]:
        console.print(f"  {metric['name']} {metric['value']:.4f} (95 %: {metric['low']:.4f} to {metric['high']:.4f})")
    for line in result["gates"]["lines"]:
        console.print(f"  gate: {line}", markup=False)


def deploy(
    deployment: Annotated[str, typer.Argument(help="Deployment to release to.")],
    version: Annotated[int | None, typer.Option(help="Version; the newest when left out.")] = None,
    wait: Wait = True,
    output: Output = Format.text,
) -> None:
    """Promote a version whose gates hold, and wait until it serves."""
    with gnomon.connect() as client:
        result = _do(client, "deploy", deployment, {} if version is None else {"version": version}, wait, output)
    if wait or output is Format.json:
        show(
            result, output, lambda r: console.print(f"{r['deployment']}: version {r['version']} serves at {r['path']}")
        )


def retrain(
    model: Annotated[str, typer.Argument(help="Model to retrain.")], wait: Wait = True, output: Output = Format.text
) -> None:  # fmt: skip
    """Train on fresh data, and promote the version if its gates hold."""
    with gnomon.connect() as client:
        result = _do(client, "retrain", model, None, wait, output)
    if wait or output is Format.json:
        show(result, output, _retrained)


def _retrained(result: dict[str, Any]) -> None:
    show_trained(result)
    console.print(result["decision"], markup=False)


def operations(
    operation: Annotated[str | None, typer.Argument(help="One operation's id; the newest when left out.")] = None,
    output: Output = Format.text,
) -> None:
    """Show what was asked for and how it stands."""
    with gnomon.connect() as client:
        found = [client.operations.get(operation)] if operation else client.operations.newest()
    show(found[0] if operation else found, output, lambda _: show_operations(found))


def show_operations(found: list[dict[str, Any]]) -> None:
    """Print operations as a table."""
    rows = (
        [
            o["id"],
            f"{o['kind']} {o['target']}",
            o["state"],
            o["attempts"],
            short((o["error"] or {}).get("message") or (o["progress"] if o["state"] == "running" else "")),
        ]
        for o in found
    )
    table(["id", "what", "state", "attempts", "last word"], rows, empty="nothing was asked for yet")


def cancel(
    operation: Annotated[str, typer.Argument(help="The operation's id.")], output: Output = Format.text
) -> None:  # fmt: skip
    """Cancel an operation that has not ended."""
    with gnomon.connect() as client:
        result = client.operations.cancel(operation)
    show(result, output, lambda r: console.print(f"operation {r['id']} is {r['state']}"))
