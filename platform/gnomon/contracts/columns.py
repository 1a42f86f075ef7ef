"""The types that a column may have, and the columns that Gnomon adds to every offline table.

Shared by sources, features and signatures, so that a type has one name from the CSV file to the replica.
"""

from __future__ import annotations

from typing import Literal, get_args

Dtype = Literal["int64", "float64", "bool", "string", "timestamp"]
"""`timestamp` is microseconds since the epoch, UTC. All types are nullable."""

DTYPES: tuple[str, ...] = get_args(Dtype)

EVENT_TIME = "_event_time"
"""When the row's event happened; timestamp."""
KNOWN_TIME = "_known_time"
"""When the row could first have been known; timestamp. Ties in event time go to the later-known row."""
INGESTED_AT = "_ingested_at"
"""When Gnomon stored the row; timestamp."""
EVENT_ID = "_event_id"
"""The event's identity as text; rows with one id are versions of one event."""
DIGEST = "_digest"
"""128-bit content digest of the source row, as 32 hex digits; a resend has an equal digest and is dropped."""

SYSTEM_COLUMNS: tuple[str, ...] = (EVENT_TIME, KNOWN_TIME, INGESTED_AT, EVENT_ID, DIGEST)
