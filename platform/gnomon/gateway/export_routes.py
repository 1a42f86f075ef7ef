"""The route that hands out a table that an operation has made."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter
from fastapi.responses import FileResponse

from gnomon.control_plane.parts import Parts
from gnomon.errors import Conflict, InvalidInput

_KINDS: Final = ("export_training_set", "export_features")


def router(parts: Parts) -> APIRouter:
    """Return the route over the platform's parts."""
    routes = APIRouter(tags=["operations"])

    @routes.get("/operations/{operation_id}/table", response_class=FileResponse)
    def exported_table(operation_id: str) -> FileResponse:
        """Send the Parquet file that an export has made; its digest is the result's `sha256`."""
        from gnomon.control_plane.export_work import TABLE_FILE

        operation = parts.operations.get(operation_id)
        if operation.kind not in _KINDS:
            raise InvalidInput(f"operation '{operation_id}' is '{operation.kind}', which makes no table")
        if operation.state != "succeeded" or operation.result is None:
            raise Conflict(
                f"operation '{operation_id}' is {operation.state}", f"`gnomon operations {operation_id}` shows it"
            )
        path = parts.artifacts.get_folder(operation.result["table"]) / TABLE_FILE
        return FileResponse(
            path, media_type="application/vnd.apache.parquet", filename=f"{operation.target}.parquet",
            headers={"ETag": f'"{operation.result["sha256"]}"'},
        )  # fmt: skip

    return routes
