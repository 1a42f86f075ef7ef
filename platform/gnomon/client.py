"""The Python client: the platform's verbs over its REST API, the same as the command line's.

`gnomon.connect()` makes a `Client`; `cli`, `jobs/` and the demo use it. It imports no part of the engine, so that a client
needs neither Ray nor the platform's storage.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from gnomon.errors import GnomonError, InvalidInput, OperationFailed, Unavailable, from_json
from gnomon.settings import load_settings

Json = dict[str, Any]
_FINAL = ("succeeded", "failed", "cancelled")


class Client:
    """A connection to a running platform. Close it, or use it in a `with` block.

    Args:
        url: Address of the gateway.
        token: Access token.
        timeout_s: Deadline of one call.

    Raises:
        Unavailable: From every method: nothing answers at the address; repeating is safe.
        GnomonError: From every method: what the platform answered, as the same error that it raised there.
    """

    def __init__(self, url: str, token: str, timeout_s: float = 30.0) -> None:
        self.url = url.rstrip("/")
        self._token = token
        headers = {"Authorization": f"Bearer {token}"}
        transport = httpx.HTTPTransport(retries=2)  # of connections only: a request that was sent is not repeated
        self._http = httpx.Client(base_url=self.url, headers=headers, timeout=timeout_s, transport=transport)

    @classmethod
    def connect(cls, url: str | None = None, token: str | None = None) -> Self:
        """Connect to the given platform, or to the one that runs in `GNOMON_HOME`.

        Raises:
            Unavailable: None runs there, or it does not answer.
        """
        settings = load_settings()
        url = url or settings.url or _running_url(settings.folder)
        if token is None:
            file = settings.folder / "token"
            token = settings.token.get_secret_value() if settings.token else ""
            token = token or (file.read_text().strip() if file.is_file() else "")
        client = cls(url, token)
        client.health()
        return client

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:  # fmt: skip
        self.close()

    # Definitions

    def plan(self, app_file: Path | str) -> Json:
        """Compare an app file with what is applied; nothing is changed.

        Returns:
            `app`, `revision` (applied now, 0 when none), `changes`: a list of `action`, `kind`, `name`, `fields`.
        """
        return self._call("POST", "/api/v1/plan", json=_app_body(app_file))

    def apply(self, app_file: Path | str) -> Json:
        """Make an app file the platform's desired state, in one transaction; an equal app changes nothing."""
        return self._call("POST", "/api/v1/apply", json=_app_body(app_file))

    # Operations

    def submit(
        self, kind: str, target: str, arguments: Mapping[str, Any] | None = None, operation_id: str | None = None
    ) -> Json:  # fmt: skip
        """Ask for an operation; with an `operation_id` asking again returns the same one.

        Returns:
            The operation: `id`, `kind`, `target`, `state`, `progress`, `result`, `error`, `attempts`.
        """
        body = {"kind": kind, "target": target, "arguments": dict(arguments or {}), "id": operation_id}
        return self._call("POST", "/api/v1/operations", json=body)

    def operation(self, operation_id: str) -> Json:
        """Return an operation as it stands."""
        return self._call("GET", f"/api/v1/operations/{operation_id}")

    def operations(self, limit: int = 50) -> list[Json]:
        """Return operations, newest first."""
        found: list[Json] = self._call("GET", "/api/v1/operations", params={"limit": limit})["operations"]
        return found

    def cancel(self, operation_id: str) -> Json:
        """Cancel an operation that has not ended."""
        return self._call("POST", f"/api/v1/operations/{operation_id}/cancel")

    def wait(
        self, operation: Json, *, timeout_s: float = 3600.0, on_progress: Callable[[Json], None] | None = None
    ) -> Json:  # fmt: skip
        """Wait for an operation to end and return its result.

        Args:
            operation: As returned by `submit`.
            timeout_s: How long to wait.
            on_progress: Called with the operation each time that it changed.

        Raises:
            OperationFailed: It was cancelled or has not ended in time; an error of its own is raised as what it was.
        """
        deadline, seen, pause_s = time.monotonic() + timeout_s, None, 0.05
        while True:
            now = self._operation_through_restarts(operation["id"], deadline)
            if now != seen and on_progress is not None:
                on_progress(now)
            seen = now
            if now["state"] in _FINAL:
                return _result(now)
            if time.monotonic() > deadline:
                raise OperationFailed(
                    f"{now['kind']} of '{now['target']}' has not ended after {timeout_s:.0f} s (it is {now['state']})",
                    f"it goes on; ask again with `gnomon operations {now['id']}`",
                )
            time.sleep(pause_s)
            pause_s = min(pause_s * 1.5, 0.5)

    def _operation_through_restarts(self, operation_id: str, deadline: float) -> Json:
        """Ask for an operation, patiently while the gateway is away: the operation does not depend on it."""
        while True:
            try:
                return self.operation(operation_id)
            except Unavailable:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)

    def run(self, kind: str, target: str, arguments: Mapping[str, Any] | None = None, **waiting: Any) -> Json:
        """Submit an operation and wait for its result; keywords go to `wait`."""
        return self.wait(self.submit(kind, target, arguments), **waiting)

    def ingest(self, source: str, **waiting: Any) -> Json:
        """Read a source's new rows into its offline table; return the report."""
        return self.run("ingest", source, **waiting)

    def materialize(self, view: str, **waiting: Any) -> Json:
        """Bring a view's newest values into the online store; return the report."""
        return self.run("materialize", view, **waiting)

    def train(self, model: str, **waiting: Any) -> Json:
        """Train a model on what is known now; return the registered version with its metrics and gates."""
        return self.run("train", model, **waiting)

    def deploy(self, deployment: str, version: int | None = None, **waiting: Any) -> Json:
        """Promote a version (the newest by default) whose gates hold, and wait until it serves."""
        return self.run("deploy", deployment, {} if version is None else {"version": version}, **waiting)

    def retrain(self, model: str, **waiting: Any) -> Json:
        """Train on fresh data and promote if the gates hold; return what was decided and why."""
        return self.run("retrain", model, **waiting)

    # Serving

    def predict(self, deployment: str, /, **fields: Any) -> Json:
        """Ask for one prediction.

        Args:
            deployment: The endpoint.
            fields: Entity keys and request fields by name; `prediction_id` names the prediction yourself.

        Returns:
            `id`, `value`, `version`, `ages_s` and `status` by looked-up feature.
        """
        answer = self.predict_many(deployment, [fields])
        return {"version": answer["version"], "variant": answer["variant"], **answer["predictions"][0]}

    def predict_many(self, deployment: str, rows: Sequence[Mapping[str, Any]]) -> Json:
        """Ask for several predictions in one call; `predictions` are in the order of the rows."""
        return self._call("POST", f"/endpoints/{deployment}/predict", json={"rows": [dict(row) for row in rows]})

    def outcome(self, deployment: str, prediction_id: str, value: float) -> Json:
        """Report what really happened for a prediction."""
        return self.outcomes(deployment, [(prediction_id, value)])

    def outcomes(self, deployment: str, outcomes: Iterable[tuple[str, float]]) -> Json:
        """Report many outcomes; reported again they change nothing."""
        rows = [{"prediction_id": prediction, "value": value} for prediction, value in outcomes]
        return self._call("POST", f"/api/v1/deployments/{deployment}/outcomes", json={"outcomes": rows})

    # Looking

    def models(self, model: str | None = None) -> list[Json]:
        """Return model versions, oldest first, with metrics, lineage and aliases."""
        found: list[Json] = self._call("GET", "/api/v1/models", params={"model": model} if model else {})["versions"]
        return found

    def features(self, view: str, **keys: Any) -> Json:
        """Return an entity's online values of a view with status and age."""
        return self._call("POST", f"/api/v1/views/{view}/read", json={"keys": keys})

    def status(self) -> Json:
        """Return the state of every part at a glance."""
        return self._call("GET", "/api/v1/status")

    def logs(self, *, component: str | None = None, lines: int = 100) -> list[Json]:
        """Return the newest log lines, oldest first."""
        query = {"lines": lines, **({"component": component} if component else {})}
        found: list[Json] = self._call("GET", "/api/v1/logs", params=query)["lines"]
        return found

    def audit(self, limit: int = 50) -> list[Json]:
        """Return the audit trail, newest first."""
        found: list[Json] = self._call("GET", "/api/v1/audit", params={"limit": limit})["entries"]
        return found

    def login_link(self) -> str:
        """Return a link to the status page that logs a browser in; it holds the token, so keep it to yourself."""
        return f"{self.url}/login/{self._token}"

    def health(self) -> Json:
        """Return when the gateway answers; asks for no token."""
        return self._call("GET", "/health")

    def _call(self, method: str, path: str, **options: Any) -> Json:
        try:
            response = self._http.request(method, path, **options)
        except httpx.HTTPError as error:
            raise Unavailable(
                f"no answer from {self.url}: {error or type(error).__name__}", "is it up? start it with `gnomon up`"
            ) from error
        if response.is_success:
            body: Json = response.json()
            return body
        raise _error_of(response)


def _error_of(response: httpx.Response) -> GnomonError:
    try:
        return from_json(response.json()["error"])
    except (ValueError, KeyError, TypeError):
        text = response.text[:200].strip()
        if response.status_code in (502, 503, 504):
            return Unavailable(f"the gateway answered {response.status_code} {text}", "repeat in a moment")
        return OperationFailed(f"the gateway answered {response.status_code} {text}")


def _result(operation: Json) -> Json:
    if operation["state"] == "succeeded":
        return {"operation": operation["id"], **(operation["result"] or {})}
    if operation["state"] == "failed":
        raise from_json(operation["error"] or {})
    raise OperationFailed(f"{operation['kind']} of '{operation['target']}' was cancelled")


def _running_url(home: Path) -> str:
    file = home / "run" / "platform.json"
    if not file.is_file():
        raise Unavailable(f"no platform runs in {home}", "start one with `gnomon up`, or set GNOMON_URL")
    return str(json.loads(file.read_text())["url"])


def _app_body(app_file: Path | str) -> Json:
    from gnomon.runtime.app_code import load_app

    if not str(app_file):
        raise InvalidInput("no app file was named", "give the path of a Python file with definitions")
    app, text = load_app(Path(app_file))
    return {"app": app.as_json(), "code": text}
