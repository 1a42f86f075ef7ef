"""The prediction log's contract, on Delta tables."""

from pathlib import Path

import pytest

from gnomon.serving.prediction_log import OfflinePredictionLog
from gnomon.storage.delta_tables import DeltaTables
from gnomon.testing.prediction_log_contract import PredictionLogContract


class TestOfflinePredictionLog(PredictionLogContract):
    @pytest.fixture
    def log(self, tmp_path: Path) -> OfflinePredictionLog:
        return OfflinePredictionLog(DeltaTables(tmp_path / "tables"))
