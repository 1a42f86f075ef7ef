"""Layouts of tables from the caller's side. `Client.layouts` is one."""

from __future__ import annotations

from gnomon.connection import Connection, Json


class Layouts:
    """The caches that large training sets and materializations read: a source's rows by entity.

    Args:
        connection: To the platform.
    """

    def __init__(self, connection: Connection) -> None:
        self._call = connection.call

    def list(self) -> list[Json]:
        """Return the layouts: `source`, `keys`, `segments`, `rows`, `size_bytes` and `last_read`."""
        found: list[Json] = self._call("GET", "/api/v1/layouts")["layouts"]
        return found

    def remove(self, source: str) -> Json:
        """Remove the layouts of a source; they are made again when they are needed.

        Args:
            source: Name of the source.

        Returns:
            `source`, and `removed_bytes`.
        """
        return self._call("DELETE", f"/api/v1/sources/{source}/layouts")
