"""A process that drives `RayEndpoints` by lines of JSON on its input, as the control plane's actor would by calls.

Started by `test_endpoints` with the environment of a driver; being a process of its own, it can be killed.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Any

import ray
from ray import serve
from ray.serve.config import HTTPOptions

from gnomon.contracts.cluster import EndpointTarget
from gnomon.errors import GnomonError
from gnomon.serving.endpoints import RayEndpoints
from serving_world import FACTORY, serving_parts


def _do(endpoints: RayEndpoints, verb: str, argument: Any) -> Any:
    if verb == "start_serve":
        serve.start(http_options=HTTPOptions(host="127.0.0.1", port=argument), proxy_location="HeadOnly")
    elif verb == "start_bare":
        _start_bare()
    elif verb == "deploy":
        endpoints.deploy(EndpointTarget(**argument))
    elif verb == "remove":
        endpoints.remove(argument)
    elif verb == "observe":
        return {name: asdict(status) for name, status in endpoints.observe().items()}
    return None


def _start_bare() -> None:
    """Serve a bare ASGI application in the same mode: what Ray Serve itself costs."""

    @serve.deployment(ray_actor_options={"num_cpus": 0.1})
    @serve.ingress()
    class Bare:
        def __serve_build_asgi_app__(self) -> Any:
            async def app(scope: Any, receive: Any, send: Any) -> None:
                if scope["type"] != "http":
                    return
                body = json.dumps({"value": len((await receive())["body"])}).encode()
                headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
                await send({"type": "http.response.start", "status": 200, "headers": headers})
                await send({"type": "http.response.body", "body": body})

            return app

    serve.run(Bare.bind(), name="bare", route_prefix="/bare")


def main() -> None:
    """Connect, then answer each line with a line."""
    ray.init(namespace="gnomon", log_to_driver=False, logging_level="error")
    endpoints = RayEndpoints(FACTORY, serving_parts().definitions)
    print("ready", flush=True)
    for line in sys.stdin:
        verb, argument = json.loads(line)
        try:
            answer = {"result": _do(endpoints, verb, argument)}
        except GnomonError as error:
            answer = {"error": error.as_json()}
        print("answer " + json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
