"""Builds the request path of a model version from what the platform stores; called by replicas at their start."""

from __future__ import annotations

from typing import Any, Final

from gnomon.contracts.cluster import EndpointTarget
from gnomon.contracts.online_store import ReadPlan
from gnomon.contracts.predictions import PredictionSink
from gnomon.errors import Unavailable
from gnomon.features.read_plan import served_plan
from gnomon.features.request_features import RequestFeatures
from gnomon.registry.model_formats import load_predictor
from gnomon.serving.parts import ServingParts
from gnomon.serving.request_path import RequestPath, ServedVersion
from gnomon.telemetry.logs import logger

_NOBODY: Final[dict[str, Any]] = {"int64": -(2**63), "string": "\x00"}


def load_request_path(target: EndpointTarget, parts: ServingParts, sink: PredictionSink | None) -> RequestPath:
    """Build the request path of a version.

    Features are looked up in the versions of their views that the version was trained with, and request features are
    computed by the definitions and the code of its training: what is applied since then changes neither.

    Args:
        target: Which version, and the applied app whose age limits and policies hold for the views it has not changed.
        parts: The replica's ports.
        sink: Takes a record of every prediction; None records none.

    Returns:
        Ready to answer; the online store was asked once, so that the first request finds the plan compiled and a
        connection open. A store that does not answer stops nothing: the endpoint is then not ready, and says so.

    Raises:
        NotFound: The version, its app or one of its lookups does not exist.
        CorruptData: The stored model is damaged.
    """
    version = parts.registry.version(target.model, target.version)
    signature = version.signature
    trained = parts.definitions.revision(version.lineage.app_hash).app
    plan = served_plan(trained, parts.definitions.revision(target.app_hash).app, signature.lookups)
    features = None
    if signature.request_features:
        features = RequestFeatures(trained, signature.request_features, parts.resolver(trained.code))
    predictor = load_predictor(parts.artifacts.get_folder(version.artifact))
    served = ServedVersion(target.deployment, target.model, target.version)
    path = RequestPath(served, signature, plan, parts.online, features, predictor, sink, parts.clock)
    _read_once(plan, parts)
    return path


def _read_once(plan: ReadPlan, parts: ServingParts) -> None:
    """Look up an entity that nobody has."""
    nobody = {name: _NOBODY[dtype] for layout in plan.layouts for name, dtype in layout.keys}
    try:
        parts.online.read(plan, [nobody], parts.clock.now_us())
    except Unavailable as error:
        logger().warning("the online store does not answer at the start", error=error.message)
