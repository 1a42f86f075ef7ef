"""The page of settings says what the settings' docstrings say."""

from tests.settings_page import PAGE, page

from gnomon.settings import Settings


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "write it anew: python -m tests.settings_page"


def test_every_setting_is_on_it_with_its_default() -> None:
    for name in Settings.model_fields:
        assert f"| `GNOMON_{name.upper()}` |" in page()
    assert "| `GNOMON_ONLINE_TIMEOUT_S` | `0.5` |" in page()
