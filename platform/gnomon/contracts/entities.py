"""Entity: the thing that features describe, and the columns that name one."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import BeforeValidator, Field

from gnomon.contracts.specs import Spec, as_tuple


class Entity(Spec, init=False):
    """A thing with an identity, such as a customer.

    Attributes:
        key: The column, or the columns together, that identify one; integers or strings.

    Example:
        >>> Entity("customer", key="customer_id").key
        ('customer_id',)
    """

    kind: ClassVar[str] = "entity"
    key: Annotated[tuple[str, ...], BeforeValidator(as_tuple), Field(min_length=1)]
