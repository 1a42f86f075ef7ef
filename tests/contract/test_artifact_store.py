"""The artifact store's contract, on the folder store."""

from pathlib import Path

import pytest

from gnomon.storage.artifacts import ArtifactFolder
from gnomon.testing.artifact_store_contract import ArtifactStoreContract


class TestArtifactFolder(ArtifactStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> ArtifactFolder:
        return ArtifactFolder(tmp_path / "artifacts")
