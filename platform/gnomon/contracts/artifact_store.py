"""ArtifactStore: immutable bytes and folders, named by what they hold.

Implemented by `storage.artifacts`; holds model versions, training sets and app code.
Contract: `testing.artifact_store_contract`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol


class ArtifactStore(Protocol):
    """Content-addressed storage; a digest is 64 hex digits of SHA-256.

    A folder's digest is that of its manifest, the sorted JSON of relative path → (digest, size). What `put…` returned
    survives a power cut whole; putting the same content again adds nothing.
    """

    def put_bytes(self, content: bytes) -> str:
        """Store bytes under their digest.

        Args:
            content: Any bytes; none is content too.

        Returns:
            The digest, the same for the same bytes.

        Raises:
            OutOfSpace: The disk is full; nothing is visible.
        """
        ...

    def put_folder(self, folder: Path) -> str:
        """Store all regular files below a folder; return the manifest's digest."""
        ...

    def get_bytes(self, digest: str) -> bytes:
        """Return the bytes, verified against the digest.

        Args:
            digest: As `put_bytes` returned it.

        Returns:
            All of the content, in memory.

        Raises:
            NotFound: Nothing has that digest.
            CorruptData: What is stored does not match it.
        """
        ...

    def get_folder(self, digest: str) -> Path:
        """Return a local folder with the files, each verified; read-only, shared between callers.

        Args:
            digest: As `put_folder` returned it.

        Returns:
            Folder with the same relative paths as the one that was put; callers do not write to it.

        Raises:
            NotFound: Nothing has that digest.
            CorruptData: A file does not match the manifest.
        """
        ...
