"""The benchmark `registered_views`: whether a read of one view takes longer the more views there are.

Listed in `__main__`. Each contestant is held against itself with one view, in the same process and moment.
"""

from __future__ import annotations

from pathlib import Path

from tests.benchmarks.environments import OurEnvironment, PinnedEnvironment
from tests.benchmarks.harness import Entrant, Quantity, Scenario, Timing
from tests.benchmarks.online_read.benchmark import OnlineRead

_HERE = Path(__file__).parent
_VIEWS = (1, 100, 1000)


class RegisteredViews(OnlineRead):
    """See `harness.Benchmark`; the server is that of `online_read`."""

    name = "registered_views"
    about = "read 10 × 50 of one view, with 1, 100 and 1,000 views registered and filled"
    entrants = (
        Entrant(
            "gnomon", _HERE / "gnomon_store.py", OurEnvironment(),
            "read_plan from the app, then RedisOnlineStore.read; the plan is part of the first call",
        ),
        Entrant(
            "Feast SDK", _HERE / "feast_sdk.py", PinnedEnvironment(_HERE.parent / "requirements" / "feast.txt"),
            "get_online_features(…).to_dict(), Redis online store, file registry",
        ),
    )  # fmt: skip
    scenarios = tuple(Scenario(f"views: {views:,}", {"views": views}) for views in _VIEWS)
    quantities = (Quantity("p50_us", "µs"), Quantity("over_1_view", "× its own"), Quantity("first_us", "µs"))

    def timing(self, quick: bool) -> Timing:
        """Return how long things take."""
        return Timing(2.0 if quick else 6.0)
