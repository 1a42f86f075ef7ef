"""The Ray Serve application of `ray_serve_asgi`: one replica, a bare ASGI ingress; imported by its workers."""

from __future__ import annotations

import json
from typing import Any

from ray import serve
from served_prediction.plain_prediction import PlainPrediction


class PlainApp:
    """The ASGI application; an instance, for uvicorn takes a bound method for the previous version of ASGI."""

    def __init__(self, prediction: PlainPrediction) -> None:
        self._prediction = prediction

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        body = bytearray()
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        answer = json.dumps(self._prediction.answer(bytes(body))).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})


@serve.deployment(num_replicas=1, max_ongoing_requests=128, ray_actor_options={"num_cpus": 0.1})
@serve.ingress()
class PlainReplica:
    """Answers every request with a prediction.

    Args:
        url: Of the server with the features.
    """

    def __init__(self, url: str) -> None:
        self._prediction = PlainPrediction(url)

    def __serve_build_asgi_app__(self) -> Any:
        """Return the application that Ray Serve's HTTP server calls."""
        return PlainApp(self._prediction)
