"""The composition root: the only place that picks implementations of the ports.

Every process of the platform comes here for its parts: the gateway, the control plane's actor, the workers of
operations and the replicas of endpoints. They name the functions below as text (`gnomon.composition:…`), so that the
floors beneath do not know what they are given.
"""

from __future__ import annotations

from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Engine

from gnomon.contracts.clocks import Clock, HandClock, SystemClock
from gnomon.contracts.predictors import Trainer
from gnomon.control_plane.execution import ControlPorts
from gnomon.control_plane.iteration import ControlLoop
from gnomon.control_plane.parts import Parts
from gnomon.control_plane.reconcile import HEAVY_KINDS
from gnomon.errors import Unavailable
from gnomon.governance.audit_trail import SqlAuditTrail
from gnomon.registry.sql_registry import SqlRegistry
from gnomon.runtime.app_code import FunctionLoader
from gnomon.serving.parts import ServingParts
from gnomon.settings import Settings, access_token, load_settings
from gnomon.storage.artifacts import ArtifactFolder
from gnomon.storage.sql import open_database
from gnomon.storage.sql_operations import SqlOperations
from gnomon.storage.sql_state import SqlDefinitions, SqlStates
from gnomon.telemetry.logs import configure, logger
from gnomon.tracking.sql_tracking import SqlTracker

if TYPE_CHECKING:
    from gnomon.control_plane.streaming import StreamConsumer
    from gnomon.control_plane.topic_consumer import TopicConsumer
    from gnomon.features.redis_online_store import RedisOnlineStore

# What brings in Arrow, torch or Ray is imported where it is made: the control plane does without the first two.

PROJECT = "default"

CONTROL_LOOP = "gnomon.composition:control_loop"
RUN_OPERATION = "gnomon.composition:run_operation"
SERVING = "gnomon.composition:serving_parts"
STREAMS = "gnomon.composition:stream_consumer"
TOPIC_READING = "gnomon.composition:topic_consumer"


def clock_of(settings: Settings) -> Clock:
    """Return the platform's clock: the system's, or the hand clock of a demo or test."""
    return HandClock(settings.clock_file) if settings.clock_file else SystemClock()


def online_store_of(settings: Settings) -> RedisOnlineStore:
    """Open the online store: the one that the settings name, or the embedded one of this home.

    Args:
        settings: Address and deadline of the store, and the home's folder.

    Returns:
        The store's client; nothing is connected before its first call.

    Raises:
        Unavailable: None is named and none runs here.
    """
    from gnomon.features.redis_online_store import RedisOnlineStore

    return RedisOnlineStore(online_url_of(settings), PROJECT, settings.online_timeout_s)


def online_url_of(settings: Settings) -> str:
    """Return the URL of the online store, with its password."""
    if settings.online_url is not None:
        return settings.online_url.get_secret_value()
    file = settings.folder / "run" / "online_url"
    if not file.is_file():
        raise Unavailable("no online store runs here", "start the platform with `gnomon up`, or set GNOMON_ONLINE_URL")
    return file.read_text().strip()


def database_of(settings: Settings) -> Engine:
    """Open the state database."""
    if settings.state_url is not None:
        return open_database(settings.state_url.get_secret_value())
    return open_database(f"sqlite:///{settings.folder / 'state' / 'gnomon.db'}")


@lru_cache(maxsize=1)
def parts() -> Parts:
    """Return this process's parts, as the environment's settings pick them."""
    from gnomon.serving.prediction_log import OfflinePredictionLog
    from gnomon.storage.delta_tables import DeltaTables

    settings = load_settings()
    home = settings.folder
    clock, engine = clock_of(settings), database_of(settings)
    artifacts, offline = ArtifactFolder(home / "artifacts"), DeltaTables(home / "tables")
    work_folder = home / "work"
    work_folder.mkdir(parents=True, exist_ok=True)
    return Parts(
        clock=clock,
        offline=offline,
        online=online_store_of(settings),
        artifacts=artifacts,
        definitions=SqlDefinitions(engine, clock),
        operations=SqlOperations(engine, clock),
        states=SqlStates(engine, clock),
        registry=SqlRegistry(engine, artifacts, clock),
        tracker=SqlTracker(engine, clock),
        audit=SqlAuditTrail(engine, clock),
        predictions=OfflinePredictionLog(offline),
        trainer=_trainer,
        resolver=partial(FunctionLoader, artifacts),
        work_folder=work_folder,
        local_rows=settings.local_rows,
    )


def _trainer() -> Trainer:
    """Return the trainer; its import brings in torch and Ray Train, which few of the platform's processes need."""
    from gnomon.training.torch_trainer import TorchMLPTrainer

    return TorchMLPTrainer()


def log_folder(settings: Settings) -> Path:
    """Return the folder of the platform's log files."""
    return settings.folder / "logs"


def begin(component: str) -> Settings:
    """Set up logging for a process of the platform, and return its settings."""
    settings = load_settings()
    configure(component, settings.log_level, log_folder(settings))
    return settings


def control_loop() -> ControlLoop:
    """Build the control plane's loop; named to its actor by `CONTROL_LOOP`."""
    from gnomon.control_plane.stream_actor import TOPICS, RayStreamKeeper
    from gnomon.runtime.operation_workers import RayWorkerPool
    from gnomon.serving.endpoints import RayEndpoints

    settings = begin("control-plane")
    clock, engine = clock_of(settings), database_of(settings)
    operations, definitions = SqlOperations(engine, clock), SqlDefinitions(engine, clock)
    ports = ControlPorts(
        definitions=definitions,
        registry=SqlRegistry(engine, ArtifactFolder(settings.folder / "artifacts"), clock),
        operations=operations,
        states=SqlStates(engine, clock),
        workers=RayWorkerPool(
            RUN_OPERATION,
            shared=lambda operation_id: operations.get(operation_id).kind not in HEAVY_KINDS,
            preload=("gnomon.control_plane.operation_work",),
        ),
        endpoints=RayEndpoints(SERVING, definitions),
        streams=RayStreamKeeper(STREAMS),
        topics=RayStreamKeeper(TOPIC_READING, TOPICS),
    )

    def on_error(what: str, error: Exception) -> None:
        logger().warning("a step failed in part", what=what, error=str(error))

    return ControlLoop(ports, clock, on_error)


def stream_consumer() -> StreamConsumer:
    """Build the stream consumer; named to its actor by `STREAMS`."""
    from gnomon.control_plane.streaming import StreamConsumer

    settings = begin("stream-consumer")

    def on_error(what: str, error: Exception) -> None:
        logger().warning("a step of the stream consumer failed in part", what=what, error=str(error))

    return StreamConsumer(parts(), settings.stream_cache_bytes, on_error)


def topic_consumer() -> TopicConsumer:
    """Build the topic consumer; named to its actor by `TOPIC_READING`."""
    from gnomon.control_plane.topic_consumer import TopicConsumer

    settings = begin("topic-consumer")

    def on_error(what: str, error: Exception) -> None:
        logger().warning("a step of the topic consumer failed in part", what=what, error=str(error))

    return TopicConsumer(parts(), settings.push_wait_s, on_error)


def serving_parts() -> ServingParts:
    """Return what a replica is given; named to replicas by `SERVING`."""
    from gnomon.serving.prediction_log import OfflinePredictionLog
    from gnomon.storage.delta_tables import DeltaTables

    settings = load_settings()
    home = settings.folder
    clock, engine, artifacts = clock_of(settings), database_of(settings), ArtifactFolder(home / "artifacts")
    return ServingParts(
        clock=clock,
        online=online_store_of(settings),
        artifacts=artifacts,
        definitions=SqlDefinitions(engine, clock),
        registry=SqlRegistry(engine, artifacts, clock),
        predictions=OfflinePredictionLog(DeltaTables(home / "tables")),
        resolver=partial(FunctionLoader, artifacts),
        spool_folder=home / "spool",
        token=access_token(settings),
        flush_s=settings.prediction_flush_s,
        log_folder=log_folder(settings),
        log_level=settings.log_level,
    )


def run_operation(operation_id: str, lease: int) -> None:
    """Do one operation; the body of every worker process."""
    from gnomon.control_plane import operation_work

    begin("worker")
    operation_work.run_operation(operation_id, lease, parts())
