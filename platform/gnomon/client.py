"""The Python client: the platform's verbs over its REST API, the same as the command line's.

`gnomon.connect()` makes a `Client`; `cli`, `jobs/` and the demo use it. It imports no part of the engine, so that a
client needs neither Ray nor the platform's storage.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from gnomon.connection import Connection, Json
from gnomon.errors import InvalidInput
from gnomon.export_client import Exports
from gnomon.history_client import History
from gnomon.layout_client import Layouts
from gnomon.operations_client import Operations
from gnomon.push_client import EventSender
from gnomon.runtime.platform_record import read_record
from gnomon.search_client import DefinitionSearch
from gnomon.settings import access_token, load_settings


class Client(DefinitionSearch, EventSender):
    """A connection to a running platform. Close it, or use it in a `with` block.

    Args:
        url: Address of the gateway.
        token: Access token.
        timeout_s: Deadline of one call.

    Attributes:
        operations: Every piece of work that was asked for; the verbs below ask and wait through it.
        history: What was done by whom, how trainings went, and the log.
        layouts: What tables take that are laid out by entity.
        exports: Training sets, and features as of a moment, as Parquet files.

    Raises:
        Unavailable: From every method: nothing answers at the address; repeating is safe.
        GnomonError: From every method: what the platform answered, as the same error that it raised there.
    """

    def __init__(self, url: str, token: str, timeout_s: float = 30.0) -> None:
        self._connection = Connection(url, token, timeout_s)
        super().__init__(self._connection)
        self.operations = Operations(self._connection)
        self.history = History(self._connection)
        self.layouts = Layouts(self._connection)
        self.exports = Exports(self._connection, self.operations.run)

    @property
    def url(self) -> str:
        """Return the gateway's address."""
        return self._connection.url

    @classmethod
    def connect(cls, url: str | None = None, token: str | None = None) -> Self:
        """Connect to the given platform, or to the one that runs in `GNOMON_HOME`.

        Args:
            url: Address of the gateway; `GNOMON_URL`, or that of the platform in `GNOMON_HOME`, when left out.
            token: Access token; `GNOMON_TOKEN`, or the file `token` in `GNOMON_HOME`, when left out.

        Returns:
            A client whose gateway answered; a wrong token is noticed at its first other call.

        Raises:
            Unavailable: None runs there, or it does not answer; or there is no token.
        """
        settings = load_settings()
        url = url or settings.url or read_record(settings.folder).url
        client = cls(url, access_token(settings) if token is None else token)
        client._connection.call("GET", "/health")
        return client

    def close(self) -> None:
        """Close the connections."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:  # fmt: skip
        self.close()

    def plan(self, app_file: Path | str) -> Json:
        """Compare an app file with what is applied; nothing is changed.

        Args:
            app_file: Python file with the definitions; it is run here, and its text is sent along.

        Returns:
            `app`, `revision` (applied now, 0 when none), `changes`: a list of `action`, `kind`, `name`, `fields`.
        """
        return self._connection.call("POST", "/api/v1/plan", json=_app_body(app_file))

    def apply(self, app_file: Path | str) -> Json:
        """Make an app file the platform's desired state, in one transaction; an equal app changes nothing."""
        return self._connection.call("POST", "/api/v1/apply", json=_app_body(app_file))

    def ingest(self, source: str, **waiting: Any) -> Json:
        """Read a source's new rows into its offline table; return the report."""
        return self.operations.run("ingest", source, **waiting)

    def materialize(self, view: str, **waiting: Any) -> Json:
        """Bring a view's newest values into the online store; return the report."""
        return self.operations.run("materialize", view, **waiting)

    def train(self, model: str, **waiting: Any) -> Json:
        """Train a model on what is known now; return the registered version with its metrics and gates."""
        return self.operations.run("train", model, **waiting)

    def deploy(self, deployment: str, version: int | None = None, **waiting: Any) -> Json:
        """Promote a version (the newest by default) whose gates hold, and wait until it serves."""
        return self.operations.run("deploy", deployment, {} if version is None else {"version": version}, **waiting)

    def retrain(self, model: str, **waiting: Any) -> Json:
        """Train on fresh data and promote if the gates hold; return what was decided and why."""
        return self.operations.run("retrain", model, **waiting)

    def audit_skew(self, model: str, *, since: str, until: str | None = None, **waiting: Any) -> Json:
        """Replay logged predictions against what a training set would hold for them.

        Args:
            model: Whose predictions.
            since: From when on: a duration before now, a date (UTC) or a time with its zone.
            until: Until when, in the same forms; now when left out.
            **waiting: As of `operations.wait`.

        Returns:
            `worst_rate` and, by feature, `rows`, `mismatches`, `rate` and `classes` with example prediction ids.
        """
        arguments = {"since": since, **({} if until is None else {"until": until})}
        return self.operations.run("audit_skew", model, arguments, **waiting)

    def predict(self, deployment: str, /, **fields: Any) -> Json:
        """Ask for one prediction.

        Args:
            deployment: The endpoint.
            **fields: Entity keys and request fields by name; `prediction_id` names the prediction yourself.

        Returns:
            `id`, `value`, `version`, `ages_s` and `status` by looked-up feature.
        """
        answer = self.predict_many(deployment, [fields])
        return {"version": answer["version"], "variant": answer["variant"], **answer["predictions"][0]}

    def predict_many(self, deployment: str, rows: Sequence[Mapping[str, Any]]) -> Json:
        """Ask for several predictions in one call; `predictions` are in the order of the rows."""
        return self._connection.call(
            "POST", f"/endpoints/{deployment}/predict", json={"rows": [dict(row) for row in rows]}
        )

    def outcome(self, deployment: str, values: Mapping[str, float]) -> Json:
        """Report what really happened, by prediction id; reported again it changes nothing.

        Args:
            deployment: The endpoint that predicted.
            values: By prediction id: 0 or 1 for a binary model, the number for a regression; finite.

        Returns:
            `received` and `added`, the number that was new.
        """
        rows = [{"prediction_id": prediction, "value": value} for prediction, value in values.items()]
        return self._connection.call("POST", f"/api/v1/deployments/{deployment}/outcomes", json={"outcomes": rows})

    def models(self, model: str | None = None) -> list[Json]:
        """Return model versions, oldest first, with metrics, lineage and aliases."""
        found: list[Json] = self._connection.call("GET", "/api/v1/models", params={"model": model} if model else {})[
            "versions"
        ]
        return found

    def features(self, view: str, **keys: Any) -> Json:
        """Return an entity's online values of a view with status and age."""
        return self._connection.call("POST", f"/api/v1/views/{view}/read", json={"keys": keys})

    def status(self) -> Json:
        """Return the state of every part at a glance."""
        return self._connection.call("GET", "/api/v1/status")

    def login_link(self) -> str:
        """Return an address that logs a browser in to the status page; it works once, within a minute."""
        return f"{self.url}/login/{self._connection.call('POST', '/api/v1/login-codes')['code']}"


def _app_body(app_file: Path | str) -> Json:
    from gnomon.runtime.app_code import load_app

    if not str(app_file):
        raise InvalidInput("no app file was named", "give the path of a Python file with definitions")
    app, text = load_app(Path(app_file))
    return {"app": app.as_json(), "code": text}
