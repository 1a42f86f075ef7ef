"""SqlRegistry: the `ModelRegistry` over the state database and the artifact store. Opened by `client` and workers."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, Engine, insert, select, update

from gnomon.contracts.artifact_store import ArtifactStore
from gnomon.contracts.clocks import Clock, from_us
from gnomon.contracts.registry import AliasMove, Lineage, Metric, ModelVersion
from gnomon.contracts.signatures import Signature
from gnomon.errors import Conflict, CorruptData, NotFound, unknown_name
from gnomon.registry.sql_rows import (
    ALIASES,
    METADATA,
    MOVES,
    VERSIONS,
    lineage_text,
    metrics_text,
    read_move,
    read_version,
)
from gnomon.storage.sql import create_tables, json_text, reading, transaction

_V = VERSIONS.c


class SqlRegistry:
    """Versions and aliases; see `ModelRegistry` for what each method promises.

    Args:
        engine: From `storage.sql.open_database`.
        artifacts: Holds the folders that versions name.
        clock: Tells when a version was registered and an alias moved.
    """

    def __init__(self, engine: Engine, artifacts: ArtifactStore, clock: Clock) -> None:
        self._engine = engine
        self._artifacts = artifacts
        self._clock = clock
        create_tables(engine, METADATA)

    def register(
        self, model: str, artifact: str, signature: Signature, metrics: Sequence[Metric], lineage: Lineage
    ) -> ModelVersion:  # fmt: skip
        """Add the next version, once the artifact was found whole; a run that has one gets that one back."""
        with reading(self._engine) as connection:
            known = _of_run(connection, model, lineage.run_id)
        if known is not None:
            return known
        self._check_artifact(model, artifact)
        content = {"signature": json_text(signature.as_json()), "metrics": metrics_text(metrics)}
        content["lineage"] = lineage_text(lineage)
        with transaction(self._engine) as connection:
            known = _of_run(connection, model, lineage.run_id)  # another process may have been faster
            if known is not None:
                return known
            number = len(_numbers(connection, model)) + 1
            connection.execute(
                insert(VERSIONS).values(
                    model=model, number=number, run_id=lineage.run_id, artifact=artifact,
                    created_us=self._clock.now_us(), **content,
                )
            )  # fmt: skip
            return _require(connection, model, number)

    def version(self, model: str, number: int) -> ModelVersion:
        """Return a version."""
        with reading(self._engine) as connection:
            return _require(connection, model, number)

    def versions(self, model: str | None = None) -> list[ModelVersion]:
        """Return versions, oldest first."""
        query = select(VERSIONS).order_by(_V.id)
        if model is not None:
            query = query.where(_V.model == model)
        with reading(self._engine) as connection:
            rows = connection.execute(query).all()
            named: dict[tuple[str, int], list[str]] = {}
            for row in connection.execute(select(ALIASES).order_by(ALIASES.c.alias)):
                named.setdefault((row.model, row.number), []).append(row.alias)
        return [read_version(row, named.get((row.model, row.number), ())) for row in rows]

    def resolve(self, model: str, alias: str) -> ModelVersion | None:
        """Return the version that an alias names, or None."""
        with reading(self._engine) as connection:
            number = _named(connection, model, alias)
            return None if number is None else _require(connection, model, number)

    def move_alias(
        self, model: str, alias: str, number: int, *, reason: str, actor: str, expected: int | str | None = "any"
    ) -> AliasMove:  # fmt: skip
        """Point an alias at a version and record it; where it points there already, return the move that did it."""
        now_us = self._clock.now_us()
        with transaction(self._engine) as connection:
            _require(connection, model, number)
            before = _named(connection, model, alias)
            if before == number:
                last = select(MOVES).where(MOVES.c.model == model, MOVES.c.alias == alias).order_by(MOVES.c.id.desc())
                return read_move(connection.execute(last.limit(1)).one())
            if expected not in ("any", before):
                raise _moved_meanwhile(model, alias, before, expected)
            where = (ALIASES.c.model == model) & (ALIASES.c.alias == alias)
            if not connection.execute(update(ALIASES).where(where).values(number=number)).rowcount:
                connection.execute(insert(ALIASES).values(model=model, alias=alias, number=number))
            move = {"model": model, "alias": alias, "before": before, "after": number, "reason": reason, "actor": actor}
            connection.execute(insert(MOVES).values(moved_us=now_us, **move))
        return AliasMove(model, alias, before, number, reason, actor, from_us(now_us))

    def alias_history(self, model: str) -> list[AliasMove]:
        """Return all moves of the model's aliases, oldest first."""
        query = select(MOVES).where(MOVES.c.model == model).order_by(MOVES.c.id)
        with reading(self._engine) as connection:
            return [read_move(row) for row in connection.execute(query)]

    def _check_artifact(self, model: str, artifact: str) -> None:
        try:
            self._artifacts.get_folder(artifact)
        except NotFound as error:
            raise CorruptData(
                f"model '{model}': the artifact {artifact} is not stored, so that no version can name it",
                "put the folder into the artifact store first",
                {"artifact": artifact},
            ) from error


def _of_run(connection: Connection, model: str, run_id: str) -> ModelVersion | None:
    row = connection.execute(select(_V.model, _V.number).where(_V.run_id == run_id)).one_or_none()
    if row is None:
        return None
    if row.model != model:
        raise Conflict(
            f"run '{run_id}' has registered version {row.number} of model '{row.model}', not of '{model}'",
            "a run trains one model: give each run an id of its own",
        )
    return _require(connection, row.model, row.number)


def _require(connection: Connection, model: str, number: int) -> ModelVersion:
    row = connection.execute(select(VERSIONS).where(_V.model == model, _V.number == number)).one_or_none()
    if row is None:
        numbers = _numbers(connection, model)
        if not numbers:
            raise unknown_name("model with versions", model, connection.execute(select(_V.model).distinct()).scalars())
        hint = f"it has versions 1 to {len(numbers)}" if len(numbers) > 1 else "it has version 1 only"
        raise NotFound(f"model '{model}' has no version {number}", hint, {"model": model, "number": number})
    mine = (ALIASES.c.model == model) & (ALIASES.c.number == number)
    return read_version(
        row, connection.execute(select(ALIASES.c.alias).where(mine).order_by(ALIASES.c.alias)).scalars()
    )


def _numbers(connection: Connection, model: str) -> Sequence[int]:
    return connection.execute(select(_V.number).where(_V.model == model)).scalars().all()


def _named(connection: Connection, model: str, alias: str) -> int | None:
    query = select(ALIASES.c.number).where(ALIASES.c.model == model, ALIASES.c.alias == alias)
    return connection.execute(query).scalar()


def _moved_meanwhile(model: str, alias: str, now: int | None, expected: int | str | None) -> Conflict:
    def shown(number: object) -> str:
        return "nothing" if number is None else f"version {number}"

    return Conflict(
        f"alias '{alias}' of model '{model}' names {shown(now)}, not {shown(expected)}",
        "look at the alias history, then choose",
        {"model": model, "alias": alias, "names": now, "expected": expected},
    )
