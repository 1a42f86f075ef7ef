"""The work of the plain contestants of `served_prediction`: parse, read features with redis-py, run the network.

Used by `ray_serve_asgi` and `uvicorn_fastapi`. Packed rows and numpy as in the benchmark `online_read`, a network as
large as ours; no token, no ages, no checks of the input, no log.
"""

from __future__ import annotations

import itertools
import json
import math
from typing import Any

import numpy as np
import redis
from served_prediction.payments import CUSTOMER_FEATURES, CUSTOMERS, HIDDEN, TERMINAL_FEATURES, TERMINALS

_VIEWS = ((b"plain:customer:%d", CUSTOMERS, CUSTOMER_FEATURES), (b"plain:terminal:%d", TERMINALS, TERMINAL_FEATURES))


def write_features(url: str) -> None:
    """Write the packed rows of all customers and terminals."""
    client = redis.Redis.from_url(url)
    chance = np.random.default_rng(3)
    for key, entities, features in _VIEWS:
        for entity in range(entities):
            client.set(key % entity, chance.random(features).tobytes())
    client.close()


class PlainPrediction:
    """Answers requests in one process.

    Args:
        url: Of the server with the features.
    """

    def __init__(self, url: str) -> None:
        self._client = redis.Redis.from_url(url, protocol=2, single_connection_client=True)
        chance = np.random.default_rng(5)
        widths = (1 + CUSTOMER_FEATURES + TERMINAL_FEATURES, *HIDDEN, 1)
        self._layers = [
            (chance.normal(size=shape).astype(np.float32) * 0.3, np.zeros(shape[1], np.float32))
            for shape in itertools.pairwise(widths)
        ]

    def answer(self, body: bytes) -> dict[str, Any]:
        """Return the predictions for `{"rows": [...]}`."""
        rows = json.loads(body)["rows"]
        packed = self._client.execute_command("MGET", *[
            key for row in rows
            for key in (b"plain:customer:%d" % row["customer_id"], b"plain:terminal:%d" % row["terminal_id"])
        ])  # fmt: skip
        features = np.frombuffer(b"".join(packed), np.float64).reshape(len(rows), -1)
        amounts = np.array([[math.log1p(row["amount"])] for row in rows])
        values = np.concatenate([amounts, features], axis=1).astype(np.float32)
        *hidden, (last_weight, last_bias) = self._layers
        for weight, bias in hidden:
            values = np.maximum(values @ weight + bias, 0.0)
        scores = 1.0 / (1.0 + np.exp(-(values @ last_weight + last_bias)[:, 0].astype(np.float64)))
        return {"predictions": [{"value": score} for score in scores.tolist()]}
