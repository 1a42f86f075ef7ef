"""IngestReport: what an ingestion did, in numbers that add up.

Returned by `ingestion.ingest`, shown by the command line and stored with the operation. The counts of a batch are kept
with its commit, so that an ingestion that was killed and goes on reports those of its finished batches too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from gnomon.contracts.columns import Dtype
from gnomon.contracts.offline_store import Commit
from gnomon.contracts.sources import DataSource
from gnomon.contracts.specs import content_hash


@dataclass(frozen=True)
class BatchCounts:
    """What became of one batch; `rows_read` = `rows_added` + `duplicates` + all of `quarantined`."""

    rows_read: int = 0
    rows_added: int = 0
    duplicates: int = 0
    corrections: int = 0
    quarantined: Mapping[str, int] = field(default_factory=dict)
    changed: Sequence[int] = ()
    repeated: bool = False

    def note(self, noted: Mapping[str, Any]) -> dict[str, Any]:
        """Return what is to be kept with the batch's commit: the counts, beside what is noted of the ingestion."""
        unsaid = ("repeated",) if self.changed else ("repeated", "changed")
        return {**noted, "counts": {k: v for k, v in asdict(self).items() if k not in unsaid}}

    @classmethod
    def of(cls, commit: Commit, ingestion: str) -> Self:
        """Return the counts that are kept with a commit; a batch of another ingestion counts as nothing here."""
        return cls(**commit.note["counts"]) if commit.note.get("ingestion") == ingestion else cls(repeated=True)


_NOT_READ = ("description", "owner", "tags", "late", "partition_by", "partitions")


@dataclass(frozen=True)
class Memory:
    """What an ingestion leaves for the next one of its source.

    It may be lost at any time: then everything is read again, and rows that are known are dropped.

    Attributes:
        read_as: Hash of the definition that rows were read with.
        types: Types found by column.
        rows: Rows found.
        incremental: Whether these are only those that were new at the source.
        cursor: Where the next extraction begins.
        table_version: Version of the table afterwards.
    """

    read_as: str = ""
    types: Mapping[str, str] | None = None
    rows: int | None = None
    incremental: bool = False
    cursor: Mapping[str, Any] | None = None
    table_version: int = -1

    @classmethod
    def of(cls, body: Mapping[str, Any] | None, read_as: str, version: int) -> Self:
        """Read what the ingestion before left, as far as it still holds.

        Args:
            body: Its `IngestReport.memory`; None at the first.
            read_as: Hash of the definition now; after another one everything is read again.
            version: Version of the table now; an older one than remembered was brought back from a backup.

        Returns:
            The memory, empty where there is none.
        """
        known = cls(**body) if body else cls()
        holds = known.read_as == read_as and version >= known.table_version
        return known if holds else cls(types=known.types)

    def rows_comparable(self, incremental: bool) -> int | None:
        """Return the rows found before, where they were counted in the same way as now."""
        return self.rows if self.incremental == incremental else None


def read_as(source: DataSource, schema: Mapping[str, Dtype]) -> str:
    """Return the hash of what decides how rows are read."""
    definition = {key: value for key, value in source.as_json().items() if key not in _NOT_READ}
    return content_hash({"definition": definition, "schema": dict(schema)})


@dataclass(frozen=True)
class IngestReport:
    """What an ingestion did.

    Attributes:
        source: Name of the source.
        files: Files found.
        batches: Batches that they make; each is one version of the table.
        repeated_batches: Those that another ingestion had committed before; they were left alone.
        rows_read: Rows in the other batches; the sum of the next two and of `quarantined`.
        rows_added: Rows that are new in the table.
        duplicates: Rows that the table, or the batch, held already.
        corrections: How many of the added rows are further versions of a known event.
        quarantined: Rows in quarantine by rule.
        table_version: Version of the table afterwards.
        elapsed_s: Wall time.
        distributed: Whether it ran on Ray.
        transforms: Of each transform of the source its label, `step`, and how many values of the rows read it changed.
        contract: `RuleResult.as_json` of each rule of the source's contract.
        drift: `ColumnDrift` as JSON of each difference between the columns found and those expected.
        memory: What the next ingestion is to be given as `previous`.
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
    transforms: tuple[Mapping[str, Any], ...] = ()
    contract: tuple[Mapping[str, Any], ...] = ()
    drift: tuple[Mapping[str, Any], ...] = ()
    memory: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls, source: DataSource, files: int, counts: list[BatchCounts], elapsed_s: float, *, distributed: bool,
        contract: Sequence[Mapping[str, Any]], drift: Sequence[Mapping[str, Any]], memory: Memory,
    ) -> IngestReport:  # fmt: skip
        """Add up batches."""
        rules: Counter[str] = Counter()
        for batch in counts:
            rules.update(batch.quarantined)
        steps = enumerate(source.transforms)
        return cls(
            source.name,
            files,
            len(counts),
            sum(batch.repeated for batch in counts),
            sum(batch.rows_read for batch in counts),
            sum(batch.rows_added for batch in counts),
            sum(batch.duplicates for batch in counts),
            sum(batch.corrections for batch in counts),
            dict(sorted(rules.items())),
            memory.table_version,
            elapsed_s,
            distributed,
            tuple({"step": s.label(), "changed": sum(b.changed[n] for b in counts if b.changed)} for n, s in steps),
            tuple(contract),
            tuple(drift),
            asdict(memory),
        )

    def as_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)
