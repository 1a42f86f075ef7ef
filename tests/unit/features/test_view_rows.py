"""view_values equals the brute-force oracle on every input that hypothesis finds, whatever the chunk size and order."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.features.drawn_views import (
    assert_equals_oracle,
    requests_rows,
    seconds,
    source_rows,
    view_features,
)

import gnomon as gn
from gnomon.features.view_rows import view_values
from gnomon.testing.view_cases import S, app_of, events_table, requests_table


@settings(max_examples=400, deadline=None)
@given(
    rows=source_rows(),
    asked=requests_rows,
    features=view_features(),
    keys=st.sampled_from([("k",), ("name",), ("k", "name")]),
    max_age=st.sampled_from([None, "2s", "0s"]),
    policy=st.sampled_from(["null", "serve", "default", "reject"]),
    as_of=st.none() | seconds.map(lambda s: s * S),
    chunk_pairs=st.sampled_from([1, 7, 10_000]),
)
def test_equals_the_brute_force_oracle(
    rows: list[dict[str, Any]],
    asked: list[dict[str, Any]],
    features: list[Any],
    keys: tuple[str, ...],
    max_age: str | None,
    policy: str,
    as_of: int | None,
    chunk_pairs: int,
) -> None:
    assert_equals_oracle(keys, features, rows, asked, as_of, chunk_pairs, max_age=max_age, on_expired=policy)


@settings(max_examples=60, deadline=None)
@given(rows=source_rows(), asked=requests_rows, seed=st.randoms(use_true_random=False))
def test_order_of_the_files_does_not_matter(rows: list[dict[str, Any]], asked: list[dict[str, Any]], seed: Any) -> None:
    app, view = app_of(
        ("k",), [gn.Column("n"), gn.Aggregation("s", "last", window="9s"), gn.Aggregation("x", "first", window="9s")]
    )
    shuffled = list(rows)
    seed.shuffle(shuffled)
    first = view_values(app, view, events_table(rows), requests_table(asked))
    assert first.equals(view_values(app, view, events_table(shuffled), requests_table(asked)))
