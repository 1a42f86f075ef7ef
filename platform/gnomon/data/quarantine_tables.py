"""The names under which rejects are kept. Used by whoever writes or reads quarantine."""

from __future__ import annotations


def quarantine_table(source: str) -> str:
    """Return the name of the table that holds a source's rejects."""
    return f"{source}__quarantine"


def quarantine_batch(batch_id: str) -> str:
    """Return the id under which the rejects of a batch are committed."""
    return f"{batch_id}-quarantine"
