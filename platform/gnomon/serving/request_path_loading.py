"""Builds the request path of a model version from what the platform stores; called by replicas at their start."""

from __future__ import annotations

from gnomon.contracts.cluster import EndpointTarget
from gnomon.contracts.predictions import PredictionSink
from gnomon.features.read_plan import read_plan
from gnomon.features.request_features import RequestFeatures
from gnomon.registry.model_formats import load_predictor
from gnomon.serving.parts import ServingParts
from gnomon.serving.request_path import RequestPath, ServedVersion


def load_request_path(target: EndpointTarget, parts: ServingParts, sink: PredictionSink | None) -> RequestPath:
    """Build the request path of a version.

    Features are looked up as the deployed app lays them out; request features are computed by the definitions and the
    code that the version was trained with.

    Args:
        target: Which version, and the applied app whose layouts it reads.
        parts: The replica's ports.
        sink: Takes a record of every prediction; None records none.

    Returns:
        Ready to answer; nothing is read from the online store before the first request.

    Raises:
        NotFound: The version, its app or one of its lookups does not exist.
        CorruptData: The stored model is damaged.
    """
    version = parts.registry.version(target.model, target.version)
    signature = version.signature
    plan = read_plan(parts.definitions.revision(target.app_hash).app, signature.lookups)
    features = None
    if signature.request_features:
        trained = parts.definitions.revision(version.lineage.app_hash).app
        features = RequestFeatures(trained, signature.request_features, parts.resolver(trained.code))
    predictor = load_predictor(parts.artifacts.get_folder(version.artifact))
    served = ServedVersion(target.deployment, target.model, target.version)
    return RequestPath(served, signature, plan, parts.online, features, predictor, sink, parts.clock)
