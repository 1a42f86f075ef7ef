"""What is recorded of endpoints: the documents ('endpoint', name), read by the status page and by who waits for them.

Written by `iteration`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gnomon.contracts.cluster import EndpointStatus, EndpointTarget
from gnomon.control_plane.desired import Desired

ENDPOINT = "endpoint"
"""Kind of the documents."""


def endpoint_documents(
    desired: Desired, endpoints: Mapping[str, EndpointStatus], recorded: Iterable[str]
) -> dict[str, dict[str, Any]]:  # fmt: skip
    """Return the document of every endpoint that is desired, serves, or was recorded before.

    Args:
        desired: Gives `wanted_version`, null while there is no champion.
        endpoints: Statuses as observed.
        recorded: Names that have a document.

    Returns:
        By name: `state` (of `EndpointStatus`, or `absent` while it is defined and does not serve, or `removed`),
        `version`, `model` and `app_hash` last asked for (null where it does not serve), `wanted_version`, `replicas`,
        `message`.
    """
    return {
        name: _document(name in desired.endpoints, desired.endpoints.get(name), endpoints.get(name))
        for name in sorted({*desired.endpoints, *endpoints, *recorded})
    }


def _document(defined: bool, wanted: EndpointTarget | None, status: EndpointStatus | None) -> dict[str, Any]:
    wanted_version = wanted.version if wanted is not None else None
    if status is not None:
        target = {"model": status.target.model, "version": status.target.version, "app_hash": status.target.app_hash}
        seen = {"state": status.state, "replicas": status.replicas, "message": status.message}
        return {**target, **seen, "wanted_version": wanted_version}
    waits = "no version of its model is the champion yet" if defined and wanted is None else ""
    seen = {"state": "absent" if defined else "removed", "replicas": 0, "message": waits}
    return {"model": None, "version": None, "app_hash": None, **seen, "wanted_version": wanted_version}
