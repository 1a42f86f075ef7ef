"""A Feast feature store over a Redis-protocol server; used by Feast's side of the benchmarks, in its environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from feast import FeatureStore, RepoConfig


def feature_store(folder: Path | str, url: str, project: str, **online_options: Any) -> FeatureStore:
    """Open a store whose registry is a local file that is never read again, with the file offline store.

    Args:
        folder: Keeps the registry.
        url: Server of the online store.
        project: Its rows and registry are its own.
        online_options: Of Feast's Redis online store.
    """
    address = urlsplit(url)
    connection = f"{address.hostname}:{address.port},password={unquote(address.password or '')}"
    return FeatureStore(config=RepoConfig(
        project=project, provider="local", entity_key_serialization_version=3, repo_path=str(folder),
        registry={"registry_type": "file", "path": f"{folder}/{project}.db", "cache_ttl_seconds": 0},
        offline_store={"type": "file"},
        online_store={"type": "redis", "connection_string": connection, **online_options},
    ))  # fmt: skip
