"""File systems of object stores, and what their errors mean.

Called by `object_files`. Credentials, region and endpoint come from the environment of the process, where the stores'
own tools look too. What a store answers is never repeated in an error, because some answers repeat what was sent: only
the code of the error is.
"""

from __future__ import annotations

import re
from datetime import timedelta
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
from pyarrow import fs

from gnomon.contracts.object_urls import ObjectUrl
from gnomon.errors import GnomonError, InvalidInput, NotFound, Unavailable
from gnomon.settings import ObjectStoreAccess, object_store_access

STORE_ERRORS = (OSError, pa.ArrowException, ValueError)
"""What a file system of Arrow raises."""

_CONNECT_S = 3
_SILENCE_S = 5
_ATTEMPTS = 3
_CODES = (
    re.compile(r"AWS Error (?P<code>\w+)(?: \(HTTP status (?P<status>\d{3})\))?"),
    re.compile(r"Status\((?P<code>[A-Z_]+)(?P<status>)"),
    re.compile(r"\[(?P<code>[A-Z]\w+)\] (?P<status>\d{3})"),
)
_CURL = re.compile(r"curlCode: \d+, ([A-Za-z' ]+)")
_REFUSED = re.compile(
    "ACCESS_DENIED|INVALID_ACCESS_KEY|SIGNATURE|TOKEN|CREDENTIAL|AUTHENTICAT|AUTHORIZ|PERMISSION|FORBIDDEN"
)
_CREDENTIALS = {
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN, where there is one) of a user who "
    "may list and read it, or AWS_SKIP_SIGNATURE=true for a public bucket, before the platform is started",
    "gs": "set GOOGLE_APPLICATION_CREDENTIALS to the key file of a user who may list and read it, before `gnomon up`",
    "abfss": "set AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_TOKEN, before the platform is started",
}


def file_system(url: ObjectUrl) -> fs.FileSystem:
    """Return the file system that an object is in; the same one, with its connections, while the environment stays.

    Args:
        url: Its scheme and account count, and the bucket where no region is set.

    Returns:
        It answers within half a minute, or raises.

    Raises:
        InvalidInput: The environment is not usable.
        Unavailable: The region of the bucket cannot be found out.
    """
    access = object_store_access()
    alone = url.scheme == "s3" and not access.region and not access.endpoint_url
    try:
        return _opened(url.scheme, url.account, url.store if alone else "", access)
    except STORE_ERRORS as error:
        raise failure(url, error) from None


@lru_cache(maxsize=16)
def _opened(scheme: str, account: str, bucket: str, access: ObjectStoreAccess) -> fs.FileSystem:
    if scheme == "gs":
        return fs.GcsFileSystem(retry_time_limit=timedelta(seconds=_SILENCE_S * _ATTEMPTS))
    if scheme == "abfss":
        keys: dict[str, Any] = {"account_key": access.azure_key, "sas_token": access.azure_sas}
        return fs.AzureFileSystem(account.partition(".")[0], **{name: key for name, key in keys.items() if key})
    endpoint: dict[str, Any] = {}
    if access.endpoint_url:
        parts = urlsplit(access.endpoint_url)
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
            raise InvalidInput("AWS_ENDPOINT_URL is no URL of a server", "write https://host:port, without a user")
        endpoint = {"endpoint_override": parts.netloc + parts.path.rstrip("/"), "scheme": parts.scheme}
    if access.ca_file:
        endpoint["tls_ca_file_path"] = access.ca_file
    region = access.region or (fs.resolve_s3_region(bucket) if bucket else "us-east-1")
    return fs.S3FileSystem(
        anonymous=access.unsigned, region=region, connect_timeout=_CONNECT_S, request_timeout=_SILENCE_S,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=_ATTEMPTS), **endpoint,
    )  # fmt: skip


def no_bucket(url: ObjectUrl) -> NotFound:
    """Return the error for a bucket that does not exist."""
    return NotFound(f"'{url}': there is no bucket '{url.store}'", "check its name, and the endpoint")


def is_of_store(error: BaseException) -> bool:
    """Tell whether an error comes from the store, and not from the bytes that were read."""
    return isinstance(error, FileNotFoundError) or any(code.search(str(error)) for code in _CODES)


def failure(url: ObjectUrl, error: BaseException) -> GnomonError:
    """Return what a file system's error means, in words that hold no secret.

    Args:
        url: What was asked for.
        error: What Arrow raised.

    Returns:
        NotFound for what is not there, InvalidInput where the store refuses, else Unavailable.
    """
    text = str(error)
    found = next((match for code in _CODES if (match := code.search(text))), None)
    code, status = (found["code"], found["status"] or "") if found else ("", "")
    curl = _CURL.search(text)
    reason = ": ".join(
        part for part in (code if code != "UNKNOWN" else f"status {status}", curl[1] if curl else "") if part
    )
    plain = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", code).upper()
    if "NO_SUCH_BUCKET" in plain or "CONTAINER_NOT_FOUND" in plain or (not url.key and status == "404"):
        return no_bucket(url)
    if isinstance(error, FileNotFoundError) or plain in ("NO_SUCH_KEY", "NOT_FOUND", "BLOB_NOT_FOUND"):
        return NotFound(f"'{url}' is not there", "it may have been removed meanwhile: ingest again", {"path": str(url)})
    if _REFUSED.search(plain) or status in ("401", "403"):
        return InvalidInput(f"'{url}' may not be read: {reason}", _CREDENTIALS[url.scheme])
    if status == "301" or "REDIRECT" in plain:
        return InvalidInput(f"'{url}' is in another region: {reason}", "set AWS_REGION to that of the bucket")
    return Unavailable(
        f"the object store of '{url}' does not answer as it should: {reason or type(error).__name__}",
        "repeat when it does; check network and endpoint",
    )
