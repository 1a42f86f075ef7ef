"""Paths of Feast's files that are URLs, as Gnomon takes them.

Called by `source_mapping`. Credentials in a URL are dropped, and never shown: here they are the environment's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from gnomon.contracts.object_urls import parse_object_url

_SAME = {"s3a": "s3", "s3n": "s3", "gcs": "gs"}
_VARIABLES = {
    "s3": "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "abfss": "AZURE_STORAGE_ACCOUNT_KEY",
}


@dataclass(frozen=True)
class UrlPath:
    """What becomes of a URL.

    Attributes:
        path: The path of the source; empty where there can be none.
        note: What is different, or why there is none.
        is_read: Whether the path names what the URL did.
    """

    path: str
    note: str
    is_read: bool


def url_path(url: str, endpoint: str, *, is_delta: bool) -> UrlPath:
    """Return what becomes of a URL.

    Args:
        url: With a scheme.
        endpoint: What Feast was told to ask in place of Amazon; empty for nothing.
        is_delta: Whether it is of a Delta table, which is read from file systems only.

    Returns:
        A URL of an object store without credentials, or else a path to mount the files at.
    """
    clean = _without_secrets(url)
    try:
        parsed = parse_object_url(clean)
    except ValueError:
        if "@" in url or "?" in url:
            return UrlPath("", "its path is a URL with credentials or options in it: write it without", is_read=False)
    else:
        if not is_delta:
            note = f"it is read with the credentials of the environment: set {_VARIABLES[parsed.scheme]}"
            if endpoint:
                host = urlsplit(endpoint).netloc.rpartition("@")[2]
                note += f", and AWS_ENDPOINT_URL to the server at {host or 's3_endpoint_override'}"
            return UrlPath(clean, note, is_read=True)
    mounted = f"mounted/{clean.partition('://')[2].partition('/')[2]}"
    return UrlPath(mounted, f"path {clean} is not read from there: mount it, and give its folder", is_read=False)


def _without_secrets(url: str) -> str:
    scheme, _, rest = url.partition("://")
    scheme = _SAME.get(scheme, scheme)
    host, slash, key = rest.partition("/")
    user, at, name = host.rpartition("@")
    if scheme == "abfss" and at:
        name = f"{user.partition(':')[0]}@{name}"
    return f"{scheme}://{name}{slash}{re.sub(r'[?][^/]*=.*', '', key)}"
