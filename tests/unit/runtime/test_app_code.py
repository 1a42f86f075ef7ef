"""App files that cannot be loaded: refused by name, or with the word that was probably meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from gnomon.errors import InvalidDefinition
from gnomon.runtime.app_code import load_app


def test_a_name_that_gnomon_does_not_have(tmp_path: Path) -> None:
    file = tmp_path / "shop.py"
    file.write_text('import gnomon as gn\nmilk = gn.Agregation("milk", "mean", window="7d")\n')
    with pytest.raises(InvalidDefinition, match=r"shop\.py, line 2: AttributeError: .*'Agregation'") as caught:
        load_app(file)
    assert caught.value.hint == "did you mean 'Aggregation'?"


def test_a_file_that_does_not_end_in_py_is_not_run(tmp_path: Path) -> None:
    file = tmp_path / "shop.csv"
    file.write_text("raise SystemExit\n")
    with pytest.raises(InvalidDefinition, match=r"shop\.csv does not end in \.py"):
        load_app(file)
