"""What counts among the recorded objects: the definitions that Feast would find, told apart by kind.

Called by `importer`. Feast looks at the variables at the top of each file, and at the sources of what it finds there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from gnomon.errors import InvalidDefinition
from gnomon.importing.findings import Findings, described, kind_of
from gnomon.importing.recordings import FeastObject, objects_in
from gnomon.importing.source_mapping import STREAMS
from gnomon.importing.view_mapping import VIEWS

_VALUES = (
    "Aggregation", "Array", "AvroFormat", "DeltaFormat", "Feature", "Field", "FileLoggingDestination", "JsonFormat",
    "LoggingConfig", "ParquetFormat", "ProtoFormat", "Set", "Struct",
)  # fmt: skip
"""Classes whose objects are values in definitions, and no definitions."""


@dataclass(frozen=True)
class Definitions:
    """The definitions of a repository, each once, in the order in which they were made."""

    all: tuple[FeastObject, ...]

    def of(self, *kinds: str) -> list[FeastObject]:
        """Return those of some kinds."""
        return [obj for obj in self.all if obj.known and obj.kind in kinds]

    def tables(self) -> list[FeastObject]:
        """Return the sources that hold rows: all but streams and request sources."""
        return [o for o in self.all if is_source(o) and o.kind not in (*STREAMS, "RequestSource")]

    def others(self) -> list[FeastObject]:
        """Return what is of no kind that is mapped one by one."""
        mapped = ("Entity", "Project", "OnDemandFeatureView", "FeatureService", *VIEWS)
        return [o for o in self.all if not is_source(o) and not (o.known and o.kind in mapped)]


def is_source(obj: FeastObject) -> bool:
    """Tell whether an object is a source, of Feast's or one that is not known here."""
    return obj.kind.endswith("Source") or (not obj.known and "timestamp_field" in obj.fields)


def find_definitions(made: list[FeastObject], findings: Findings) -> Definitions:
    """Find the definitions among all objects.

    Args:
        made: Everything that the files made.
        findings: Gets those that Feast does not find either.

    Returns:
        The definitions.

    Raises:
        InvalidDefinition: Two definitions of one kind have one name; the message has both places. Entities may, where
            they say the same.
    """
    reached: list[FeastObject] = []
    pending = [obj for obj in made if obj.bound]
    while pending:
        obj = pending.pop()
        if obj not in reached:
            reached.append(obj)
            pending += objects_in(obj.fields)
    order = {obj: number for number, obj in enumerate(made)}
    held = {inner for obj in made for inner in objects_in(obj.fields)}
    for obj in made:
        is_definition = obj.kind not in _VALUES and (obj.known or obj not in held)
        if obj not in reached and is_definition:
            findings.leave(obj, "no variable at the top of a file holds it, so that Feast does not see it either")
    found = [
        obj
        for obj in sorted(reached, key=order.__getitem__)
        if obj.kind not in _VALUES and (obj.known or obj.bound or is_source(obj))
    ]
    _refuse_two(found, lambda obj: "view" if "View" in obj.kind else "source" if is_source(obj) else kind_of(obj))
    return Definitions(tuple(found))


def _refuse_two(objects: Iterable[FeastObject], group: Callable[[FeastObject], str]) -> None:
    """Refuse two of one name, as `feast apply` does."""
    named: dict[tuple[str, str], FeastObject] = {}
    for obj in objects:
        if not obj.name or not obj.known:
            continue
        other = named.setdefault((group(obj), obj.name), obj)
        same_entity = obj.kind == "Entity" and obj.fields == other.fields
        if other is not obj and not same_entity:
            raise InvalidDefinition(
                f"{obj.place}: {described(obj)} is defined a second time; the first is in {other.place}",
                "Feast refuses two of one name: rename one, or name its file in .feastignore",
            )
