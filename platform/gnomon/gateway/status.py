"""The state of every part at a glance, as JSON: what `gnomon status` prints and the status page shows."""

from __future__ import annotations

import shutil
from typing import Any

from gnomon.contracts.apps import App
from gnomon.contracts.clocks import SystemClock
from gnomon.contracts.deployments import CHAMPION, Deployment, Monitor
from gnomon.contracts.features import FeatureView
from gnomon.contracts.layouts import view_layout
from gnomon.contracts.models import Model
from gnomon.contracts.sources import DataSource
from gnomon.control_plane.monitor_states import SCHEDULE
from gnomon.control_plane.parts import Parts
from gnomon.errors import Unavailable
from gnomon.features.online_versions import shown_app
from gnomon.features.stream_positions import STREAM
from gnomon.gateway.bodies import operation_json, plain
from gnomon.gateway.topic_figures import topic_status

_STALE_S = 15.0  # thirty of the control plane's iterations


def platform_status(parts: Parts) -> dict[str, Any]:
    """Collect the state of parts, sources, models, deployments, monitors and recent operations."""
    apps = [
        {"name": a.app.name, "revision": a.revision, "definitions": len(a.app.definitions), "applied": plain(a.applied)}
        for a in parts.definitions.apps()
    ]
    return {
        "parts": _parts(parts),
        "apps": apps,
        "sources": [_source(parts, s) for app in parts.apps() for s in app.all(DataSource)],
        "views": [
            {
                "name": v.name,
                **_versions(parts, app, v),
                "last_materialized": dict(parts.states.get("materialize", v.name) or {}),
                **_stream(parts, v),
            }
            for app in parts.apps()
            for v in app.all(FeatureView)
        ],
        "models": [_model(parts, m) for app in parts.apps() for m in app.all(Model)],
        "deployments": [_deployment(parts, d) for app in parts.apps() for d in app.all(Deployment)],
        "monitors": [_monitor(parts, m) for app in parts.apps() for m in app.all(Monitor)],
        "operations": [operation_json(o) for o in parts.operations.list(limit=10)],
    }


def _parts(parts: Parts) -> list[dict[str, Any]]:
    free_bytes = shutil.disk_usage(parts.work_folder).free
    disk = "ok" if free_bytes > 1e9 else "low"
    return [
        _control_plane(parts),
        _online(parts),
        {"name": "disk", "state": disk, "message": f"{free_bytes / 1e9:.1f} GB free"},
    ]


def _control_plane(parts: Parts) -> dict[str, Any]:
    beat = parts.states.get("control_plane", "heartbeat")
    if beat is None:
        return {"name": "control plane", "state": "starting", "message": ""}
    age_s = SystemClock().now_us() / 1e6 - float(beat["wall_us"]) / 1e6
    state = "ok" if age_s < _STALE_S else "away"
    return {"name": "control plane", "state": state, "message": f"last iteration {max(age_s, 0):.1f} s ago"}


def _online(parts: Parts) -> dict[str, Any]:
    try:
        parts.online.ping()
    except Unavailable as error:
        return {"name": "online store", "state": "away", "message": error.message}
    return {"name": "online store", "state": "ok", "message": ""}


def _source(parts: Parts, source: DataSource) -> dict[str, Any]:
    mark = parts.states.get("ingest", source.name)
    return {
        "name": source.name,
        "version": parts.offline.version(source.name),
        "last_ingest": dict(mark) if mark else None,
        **topic_status(parts, source),
    }


def _versions(parts: Parts, app: App, view: FeatureView) -> dict[str, str]:
    """Return the applied version of a view and the one that reads show, which is an earlier one until it is online."""
    shown = shown_app(parts.states, parts.definitions, app, view.name)
    return {
        "version": view_layout(app, view.name).version, "shown_version": view_layout(shown, view.name).version
    }  # fmt: skip


def _stream(parts: Parts, view: FeatureView) -> dict[str, Any]:
    """Return how far the stream consumer has come with a view; nothing for a view that is not declared fresh."""
    if view.freshness is None:
        return {}
    seen = parts.states.get(STREAM, view.name)
    if seen is None:
        return {"stream": None}
    behind_s = max(0.0, SystemClock().now_us() / 1e6 - seen["wall_us"] / 1e6)
    state = "failing" if seen["error"] else "ok" if behind_s < _STALE_S else "away"
    watermark_us = seen["watermark_us"]
    figures = {name: seen[name] for name in ("version", "lag_s", "cached_rows", "cached_bytes", "error")}
    return {"stream": {
        "state": state, "freshness_s": view.freshness.total_seconds(), "behind_s": round(behind_s, 1), **figures,
        "watermark_s": None if watermark_us is None else watermark_us / 1e6,
    }}  # fmt: skip


def _monitor(parts: Parts, monitor: Monitor) -> dict[str, Any]:
    """Return the last finding, and what the control plane made of it: `settled` and `retrain` are operations."""
    finding = dict(parts.states.get("monitor", monitor.name) or {})
    schedule = parts.states.get(SCHEDULE, monitor.name) or {}
    return {
        "name": monitor.name,
        "deployment": monitor.deployment,
        **finding,
        "settled": schedule.get("last_operation"),
        "retrain": schedule.get("last_retrain"),
    }


def _model(parts: Parts, model: Model) -> dict[str, Any]:
    versions = parts.registry.versions(model.name)
    champion = parts.registry.resolve(model.name, CHAMPION)
    metrics = {m.name: [m.value, m.low, m.high] for m in champion.metrics} if champion else {}
    return {
        "name": model.name,
        "versions": len(versions),
        "champion": champion.number if champion else None,
        "metrics": metrics,
    }


def _deployment(parts: Parts, deployment: Deployment) -> dict[str, Any]:
    seen = parts.states.get("endpoint", deployment.name)
    row: dict[str, Any] = {"name": deployment.name, "model": deployment.model, "state": "not deployed", "version": None}
    if seen:
        row |= {"state": seen["state"], "version": seen["version"], "message": seen.get("message", "")}
        row["replicas"] = seen.get("replicas", 0)
    return row
