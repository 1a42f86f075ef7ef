"""Connection: one authenticated HTTP connection to a gateway; answers as JSON, failures as the errors that they were.

Used by `client` only.
"""

from __future__ import annotations

import hashlib
import ipaddress
from pathlib import Path
from typing import Any

import httpx

from gnomon.errors import GnomonError, InvalidInput, OperationFailed, OutOfSpace, Unavailable, from_json

Json = dict[str, Any]


class Connection:
    """Calls routes of the gateway.

    Args:
        url: Address of the gateway.
        token: Access token.
        timeout_s: Deadline of one call.
    """

    def __init__(self, url: str, token: str, timeout_s: float) -> None:
        self.url = url.rstrip("/")
        headers = {"Authorization": f"Bearer {token}"}
        transport = httpx.HTTPTransport(retries=2)  # of connecting only: a request that was sent is not repeated
        self._http = httpx.Client(
            base_url=self.url, headers=headers, timeout=timeout_s, transport=transport,
            trust_env=not _is_loopback(httpx.URL(self.url).host),
        )  # fmt: skip

    def call(self, method: str, path: str, **options: Any) -> Json:
        """Call a route.

        Args:
            method: HTTP method, such as `GET`.
            path: Path below the gateway's address, with a leading slash.
            **options: Go to `httpx.Client.request`, such as `json` or `params`.

        Returns:
            The JSON object of the answer.

        Raises:
            Unavailable: Nothing answers at the address.
            InvalidInput: A text of the request is no Unicode: it holds a lone surrogate. Nothing was sent.
            GnomonError: What the platform answered, as the error that it raised there.
        """
        try:
            response = self._http.request(method, path, **options)
        except UnicodeEncodeError as error:
            broken = error.object[max(0, error.start - 20) : error.end + 20]
            raise InvalidInput(
                f"a text that cannot be sent, for it holds half of a surrogate pair: {broken!r}",
                "remove it, or read the text with errors='replace'",
            ) from error
        except httpx.HTTPError as error:
            raise self._no_answer(error) from error
        if response.is_success:
            body: Json = response.json()
            return body
        raise _error_of(response)

    def fetch(self, path: str, into: Path) -> str:
        """Write a route's answer to a file, without holding it in memory.

        Args:
            path: As of `call`; the method is GET.
            into: The file, created or overwritten.

        Returns:
            SHA-256 of what came, 64 hex digits.

        Raises:
            Unavailable: Nothing answers at the address, or the answer broke off.
            GnomonError: What the platform answered, as the error that it raised there.
            OutOfSpace: The file cannot be written.
        """
        digest = hashlib.sha256()
        try:
            with self._http.stream("GET", path) as response, into.open("wb") as file:
                if not response.is_success:
                    response.read()
                    raise _error_of(response)
                for chunk in response.iter_bytes():
                    digest.update(chunk)
                    file.write(chunk)
        except httpx.HTTPError as error:
            raise self._no_answer(error) from error
        except OSError as error:
            raise OutOfSpace(f"{into} cannot be written: {error.strerror}", "name a file elsewhere") from error
        return digest.hexdigest()

    def _no_answer(self, error: httpx.HTTPError) -> Unavailable:
        return Unavailable(
            f"no answer from {self.url}: {error or type(error).__name__}", "is it up? start it with `gnomon up`"
        )

    def close(self) -> None:
        """Close the connection."""
        self._http.close()


def _is_loopback(host: str) -> bool:
    """Return whether a host is this machine: a proxy of the environment cannot reach it for us."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name
        return host == "localhost"


def _error_of(response: httpx.Response) -> GnomonError:
    try:
        return from_json(response.json()["error"])
    except (ValueError, KeyError, TypeError):
        text = response.text[:200].strip()
        if response.status_code in (502, 503, 504):
            return Unavailable(f"the gateway answered {response.status_code} {text}", "repeat in a moment")
        return OperationFailed(f"the gateway answered {response.status_code} {text}")
