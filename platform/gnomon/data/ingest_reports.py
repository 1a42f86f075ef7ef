"""IngestReport: what an ingestion did, in numbers that add up.

Returned by `ingestion.ingest`, shown by the command line and stored with the operation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class BatchCounts:
    """What became of one batch; `rows_read` = `rows_added` + `duplicates` + all of `quarantined`."""

    rows_read: int
    rows_added: int
    duplicates: int
    corrections: int
    quarantined: Mapping[str, int]
    version: int
    repeated: bool = False


@dataclass(frozen=True)
class IngestReport:
    """What an ingestion did.

    Attributes:
        source: Name of the source.
        files: Files found.
        batches: Batches that they make; each is one version of the table.
        repeated_batches: Those that had been committed before and were left alone.
        rows_read: Rows in the other batches; the sum of the next two and of `quarantined`.
        rows_added: Rows that are new in the table.
        duplicates: Rows that the table, or the batch, held already.
        corrections: How many of the added rows are further versions of a known event.
        quarantined: Rows in quarantine by rule.
        table_version: Version of the table afterwards.
        elapsed_s: Wall time.
        distributed: Whether it ran on Ray.
    """

    source: str
    files: int = 0
    batches: int = 0
    repeated_batches: int = 0
    rows_read: int = 0
    rows_added: int = 0
    duplicates: int = 0
    corrections: int = 0
    quarantined: Mapping[str, int] = field(default_factory=dict)
    table_version: int = -1
    elapsed_s: float = 0.0
    distributed: bool = False

    @classmethod
    def of(
        cls, source: str, files: int, counts: list[BatchCounts], version: int, elapsed_s: float, *, distributed: bool
    ) -> IngestReport:  # fmt: skip
        """Add up batches."""
        rules: Counter[str] = Counter()
        for batch in counts:
            rules.update(batch.quarantined)
        return cls(
            source,
            files,
            len(counts),
            sum(batch.repeated for batch in counts),
            sum(batch.rows_read for batch in counts),
            sum(batch.rows_added for batch in counts),
            sum(batch.duplicates for batch in counts),
            sum(batch.corrections for batch in counts),
            dict(sorted(rules.items())),
            version,
            elapsed_s,
            distributed,
        )

    def as_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)
