"""What every definition is: a frozen, named, content-hashed value whose JSON is the whole of it.

All nouns of an app file derive from `Spec`. A spec may be given another spec where a name is wanted
(`entity=customer`); it keeps the name, and remembers the object so that `contracts.apps` finds it too.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, StringConstraints, ValidationError

from gnomon.errors import InvalidDefinition, did_you_mean

NAME_PATTERN = r"^[a-z][a-z0-9_]{0,62}$"
Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]


UNUSED = Field(default=None, exclude_if=lambda value: value is None)
"""A field that definitions without it do not have in their JSON, so that older ones keep their hash."""


def _as_tags(value: Any) -> Any:
    if isinstance(value, Mapping):
        return tuple(f"{key}={word}" for key, word in value.items())
    return (value,) if isinstance(value, str) else value


Tags = Annotated[tuple[str, ...], BeforeValidator(_as_tags)]
"""Words to find a definition by; a mapping becomes `key=value`."""


class Value(BaseModel):
    """A frozen part of a definition; equal when its JSON is equal."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    def as_json(self) -> dict[str, Any]:
        """Return the JSON form; `type(self).model_validate` reads it back to an equal value."""
        return self.model_dump(mode="json")


class Part(Value):
    """A part that app files write themselves, `Part("first", "second", field=…)`, with errors for their author.

    Args:
        *values: Values of the fields in `positional`, in that order.
        **fields: Values of fields by name.

    Raises:
        InvalidDefinition: A field is missing, unknown or contradictory; the message names part, field and value.
    """

    positional: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, *, init: bool = True, **options: Any) -> None:
        """Take `init=False`, which tells type checkers that our `__init__` stands and none is made from the fields."""
        super().__init_subclass__(**options)

    def __init__(self, *values: Any, **fields: Any) -> None:
        if len(values) > len(self.positional):
            raise InvalidDefinition(
                f"{_kind_of(type(self))} takes at most {len(self.positional)} values without a name, got {len(values)}",
                "write the others as name=value",
            )
        fields = {**dict(zip(self.positional, values, strict=False)), **fields}
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise InvalidDefinition(*_explain(type(self), fields, error)) from error


class DescribedPart(Part, init=False):
    """A part with a name of its own that says what it is and whose, as a feature does.

    Attributes:
        description: What it is, in words.
        owner: Who answers for it.
        tags: Words to find it by.
    """

    description: str | None = UNUSED
    owner: str | None = UNUSED
    tags: Tags | None = UNUSED


class Spec(Part, init=False):
    """A named definition: an entity, a source, a view, a model; with words, an owner and tags to find it by."""

    positional: ClassVar[tuple[str, ...]] = ("name",)
    kind: ClassVar[str] = "definition"
    name: Name
    description: str = ""
    owner: str = ""
    tags: Tags = ()

    _references: tuple[Spec, ...] = PrivateAttr(default=())

    def __init__(self, *values: Any, **fields: Any) -> None:
        super().__init__(*values, **fields)
        self._references = tuple(_specs_in(list(fields.values())))

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return hash(self.content_hash())

    def references(self) -> tuple[Spec, ...]:
        """Return the spec objects that were given where this one holds a name; empty after reading from JSON."""
        return self._references

    def content_hash(self) -> str:
        """Return the SHA-256 of the canonical JSON, 64 hex digits; equal for equal definitions on any machine."""
        return content_hash(self.as_json())


def content_hash(value: Any) -> str:
    """Return the SHA-256 in hex of a JSON-able value, independent of the order of keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _name_of(value: Any) -> Any:
    return value.name if isinstance(value, Spec) else value


Reference = Annotated[Name, BeforeValidator(_name_of)]
"""A field that takes a spec or its name, and holds the name."""


def as_tuple(value: Any) -> Any:
    """Let one value stand for a tuple of one, as in `entity=customer`."""
    return value if isinstance(value, list | tuple) else (value,)


def require_range(low: float | None, high: float | None) -> None:
    """Raise, for a validator, unless at least one bound is given and both are in order."""
    if low is None and high is None:
        raise ValueError("give min, max or both")
    if low is not None and high is not None and low > high:
        raise ValueError(f"min {low} is above max {high}")


def _specs_in(values: Any) -> Iterator[Spec]:
    if isinstance(values, Spec):
        yield values
    elif isinstance(values, Mapping):
        yield from _specs_in(list(values.values()))
    elif isinstance(values, Sequence) and not isinstance(values, str | bytes):
        for value in values:
            yield from _specs_in(value)
    elif isinstance(values, Value):
        for field in type(values).model_fields:
            yield from _specs_in(getattr(values, field))


def _kind_of(kind: type[Part]) -> str:
    return getattr(kind, "kind", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind.__name__).lower())


def _explain(kind: type[Part], fields: Mapping[str, Any], error: ValidationError) -> tuple[str, str, dict[str, Any]]:
    """Turn pydantic's list into one sentence about the first problem, a hint, and all of them as details."""
    what = f"{_kind_of(kind)} '{fields['name']}'" if "name" in fields else _kind_of(kind)
    found = error.errors(include_url=False, include_input=True)
    first = next((e for e in found if e["type"] == "extra_forbidden"), found[0])  # the cause of one that is missing
    field = ".".join(str(part) for part in first["loc"])
    text = str(first["msg"]).removeprefix("Value error, ")
    hint = ""
    if first["type"] == "extra_forbidden":
        text, hint = "no such field", did_you_mean(str(first["loc"][-1]), kind.model_fields)
    elif first["type"] == "literal_error":
        hint = did_you_mean(str(first["input"]), re.findall(r"'([^']*)'", first["ctx"]["expected"]))
    elif first["type"] == "string_pattern_mismatch" and field == "name":
        hint = "a name has lower-case letters, digits and '_', and begins with a letter"
    elif first["type"] == "missing":
        text = "is required"
    value = (
        f" (got {_short(first.get('input'))})" if field and first["type"] not in ("missing", "extra_forbidden") else ""
    )
    message = f"{what}: {field}: {text}{value}" if field else f"{what}: {text}"
    return message, hint, {"definition": what, "fields": [".".join(map(str, e["loc"])) for e in error.errors()]}


def _short(value: Any) -> str:
    text = re.sub(r"\s+", " ", repr(value))
    return text if len(text) <= 80 else text[:77] + "…"
