"""URLs of objects in object stores: `s3://bucket/key`, `gs://bucket/key`, `abfss://container@account…/key`.

Called by `contracts.sources` when a source is defined and by the data layer when it is read. A URL is part of a
definition, which is stored and shown, and so it never holds a password, a key or a token.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_SHAPES = {
    "s3": "s3://bucket/prefix/*.parquet",
    "gs": "gs://bucket/prefix/*.parquet",
    "abfss": "abfss://container@account.dfs.core.windows.net/prefix/*.parquet",
}
_OTHER_NAMES = {
    "s3a": "s3", "s3n": "s3", "gcs": "gs", "abfs": "abfss", "adl": "abfss", "az": "abfss", "wasbs": "abfss",
}  # fmt: skip
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_AZURE_HOST = re.compile(r"([a-z0-9]+)\.(dfs|blob)\.core\.windows\.net")
_OPTIONS = re.compile(r"\?[^/]*=")
_SECRETS_HINT = "put credentials into the environment of the platform's processes"


@dataclass(frozen=True)
class ObjectUrl:
    """Where one object is, or many: the key may be a prefix or a pattern.

    Attributes:
        scheme: `s3`, `gs` or `abfss`.
        store: Bucket or container.
        account: Account and its host, of `abfss`; empty for others.
        key: What follows, without a slash at either end; taken as it is, without decoding.
    """

    scheme: str
    store: str
    account: str
    key: str

    def __str__(self) -> str:
        host = f"{self.store}@{self.account}" if self.account else self.store
        return f"{self.scheme}://{host}/{self.key}"

    @property
    def path(self) -> str:
        """Store and key, as file systems of object stores name objects."""
        return f"{self.store}/{self.key}" if self.key else self.store

    def at(self, path: str) -> ObjectUrl:
        """Return the URL of another object of the same store, by what `path` returns for it."""
        return ObjectUrl(self.scheme, self.store, self.account, path.partition("/")[2])


def is_object_url(path: str) -> bool:
    """Tell whether a source's path is a URL and not a path of a file system."""
    return _SCHEME.match(path) is not None


def parse_object_url(text: str) -> ObjectUrl:
    """Read a URL.

    Args:
        text: The URL; `?` and `*` after the bucket are patterns.

    Returns:
        Its parts.

    Raises:
        ValueError: The scheme is not known, bucket or account are missing, or it holds a user, a password or options.
            The message repeats none of these.

    Example:
        >>> parse_object_url("s3://shop/2026/*.csv").path
        'shop/2026/*.csv'
    """
    found = _SCHEME.match(text)
    scheme = found.group(1) if found else ""
    if scheme not in _SHAPES:
        known = _OTHER_NAMES.get(scheme.lower(), scheme.lower())
        hint = f"write {_SHAPES[known]}" if known in _SHAPES else "use a path, or one of: " + ", ".join(_SHAPES)
        raise ValueError(f"no file is read from {scheme}:// URLs; {hint}")
    host, _, key = text[len(scheme) + 3 :].partition("/")
    user, at, account = host.rpartition("@")
    if ":" in host or (at and scheme != "abfss") or "@" in user:
        raise ValueError(f"the {scheme} URL names a user or a password; {_SECRETS_HINT}")
    if _OPTIONS.search(text):
        raise ValueError(f"the {scheme} URL has options after '?'; {_SECRETS_HINT}")
    store = user if scheme == "abfss" else host
    if not _NAME.fullmatch(store) or (scheme == "abfss" and not _AZURE_HOST.fullmatch(account)):
        raise ValueError(f"the {scheme} URL does not say where the objects are; write {_SHAPES[scheme]}")
    if key.startswith("/") or "//" in key:
        raise ValueError(f"'{text}' has '//' in the key: objects with an empty part in their name are not read")
    return ObjectUrl(scheme, store, account if scheme == "abfss" else "", key.rstrip("/"))
