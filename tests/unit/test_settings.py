"""Settings that hold secrets: where the access token is found, and that no secret is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from gnomon.client import Client
from gnomon.composition import database_of
from gnomon.errors import Unavailable
from gnomon.settings import access_token, load_settings


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home."""
    for name in ("TOKEN", "STATE_URL", "URL"):
        monkeypatch.delenv(f"GNOMON_{name}", raising=False)
    monkeypatch.setenv("GNOMON_HOME", str(tmp_path))
    return tmp_path


def test_a_home_without_a_token_says_how_to_get_one(home: Path) -> None:
    with pytest.raises(Unavailable, match="no access token") as caught:
        access_token(load_settings())
    assert "gnomon up" in caught.value.hint
    with pytest.raises(Unavailable, match="no access token"):
        Client.connect("http://127.0.0.1:1")
    (home / "token").write_text("t\n")
    assert access_token(load_settings()) == "t"


@pytest.mark.parametrize(("variable", "found"), [("mine", "mine"), ("", "of the home")])
def test_the_variable_goes_before_the_file_unless_it_is_empty(
    home: Path, monkeypatch: pytest.MonkeyPatch, variable: str, found: str
) -> None:  # fmt: skip
    (home / "token").write_text("of the home")
    monkeypatch.setenv("GNOMON_TOKEN", variable)
    assert access_token(load_settings()) == found


def test_a_home_without_a_platform_says_how_to_reach_one() -> None:
    with pytest.raises(Unavailable, match="no platform runs") as caught:
        Client.connect()
    assert "gnomon up" in caught.value.hint
    assert "GNOMON_URL" in caught.value.hint


def test_the_password_of_the_state_database_is_used_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GNOMON_STATE_URL", "sqlite:///hidden/word.db")
    settings = load_settings()
    assert settings.state_url is not None
    assert settings.state_url.get_secret_value() == "sqlite:///hidden/word.db"
    assert "hidden" not in f"{settings!r} {settings} {settings.model_dump_json()}"


def test_the_state_database_is_the_one_that_the_settings_name(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GNOMON_STATE_URL", f"sqlite:///{home / 'elsewhere.db'}")
    database_of(load_settings()).dispose()
    assert (home / "elsewhere.db").is_file()
