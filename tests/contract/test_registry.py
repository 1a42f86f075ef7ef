"""SqlRegistry over SQLite and PostgreSQL, with artifacts in a folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from gnomon.registry.sql_registry import SqlRegistry
from gnomon.storage.artifacts import ArtifactFolder
from gnomon.storage.sql import open_database
from gnomon.testing.openers import DatabaseOpener
from gnomon.testing.registry_contract import ModelRegistryContract


class TestSqlRegistry(ModelRegistryContract):
    @pytest.fixture
    def open_registry(self, database_url: str, tmp_path: Path) -> DatabaseOpener:
        return DatabaseOpener(open_database, database_url, SqlRegistry, (ArtifactFolder(tmp_path / "artifacts"),))

    @pytest.fixture
    def artifacts(self, tmp_path: Path) -> Mapping[str, str]:
        store = ArtifactFolder(tmp_path / "artifacts")
        digests = {}
        for name in ("whole", "other", "damaged"):
            folder = tmp_path / name
            folder.mkdir()
            (folder / "weights.safetensors").write_bytes(name.encode() * 1000)
            digests[name] = store.put_folder(folder)
        content = b"damaged" * 1000
        for path in (tmp_path / "artifacts").rglob("*"):
            if path.is_file() and path.read_bytes() == content:
                path.chmod(0o600)
                path.write_bytes(b"x" + content[1:])
        return digests
