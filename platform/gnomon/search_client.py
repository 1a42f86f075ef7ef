"""Search from the caller's side; a part of `Client`."""

from __future__ import annotations

from gnomon.connection import Connection, Json


class DefinitionSearch:
    """Finds what is defined on a platform.

    Args:
        connection: To the platform.
    """

    def __init__(self, connection: Connection) -> None:
        self._search_call = connection.call

    def search(self, words: str, limit: int = 50) -> list[Json]:
        """Find definitions and features by the words in names, tags, owners and descriptions.

        Args:
            words: All of them must be found; `owner:ann` looks at owners only, and so for `tag:`, `kind:`, `name:`,
                `description:` and `app:`.
            limit: How many at most, 1 to 500.

        Returns:
            The best first: `kind`, `name`, `app`, `description`, `owner`, `tags`, `used_by`, `score`.
        """
        found: list[Json] = self._search_call("GET", "/api/v1/search", params={"q": words, "limit": limit})["found"]
        return found
