"""What the Python client does with texts that UTF-8 cannot carry."""

from pathlib import Path

import pytest
from tests.gateway_world import TOKEN, listening, payments_parts

import gnomon
from gnomon.errors import InvalidInput


def test_a_lone_surrogate_is_refused_before_anything_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = payments_parts(tmp_path, monkeypatch)
    with (
        listening(parts, tmp_path) as port,
        gnomon.connect(f"http://127.0.0.1:{port}", TOKEN) as client,
        pytest.raises(InvalidInput, match=r"half of a surrogate pair: .*\\udfff") as caught,
    ):
        client.predict("fraud", customer_id="card \udfff")
    assert "errors='replace'" in caught.value.hint
