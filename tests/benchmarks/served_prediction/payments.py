"""The customers, terminals and requests of the benchmark `served_prediction`; only the standard library."""

from __future__ import annotations

import json
import random

CUSTOMERS, TERMINALS, PAYMENTS = 200, 50, 2_000
CUSTOMER_FEATURES, TERMINAL_FEATURES = 4, 2
"""Looked-up features of the two views; with the amount of the request the model has seven inputs."""
HIDDEN = (32, 16)
REQUESTS = 512


def bodies() -> list[bytes]:
    """Return the bodies of different requests, one row each: two keys and an amount."""
    chance = random.Random(7)
    return [
        json.dumps({"rows": [{
            "customer_id": chance.randrange(CUSTOMERS), "terminal_id": chance.randrange(TERMINALS),
            "amount": round(chance.lognormvariate(3.0, 1.0), 2),
        }]}).encode()
        for _ in range(REQUESTS)
    ]  # fmt: skip
