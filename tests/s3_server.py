"""An S3 server in this process, with signatures checked and failures on request; used by tests of object-store sources.

It speaks the part of the protocol that reading needs: GET with ranges, HEAD of buckets and objects, ListObjectsV2 in
pages. Every request must be signed (AWS Signature Version 4) with the one key that it knows, unless its bucket is
public.
"""

from __future__ import annotations

import hashlib
import hmac
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, quote, unquote, urlsplit
from xml.sax.saxutils import escape

KEY_ID, SECRET = "AKIAEXAMPLE", "s3cr3t-of-the-test"
_REGION = "eu-north-1"


@dataclass
class Stored:
    """An object as it is now; a multipart upload's ETag is no digest of the content, and neither is this one."""

    data: bytes
    number: int

    @property
    def etag(self) -> str:
        return f'"{self.number:032x}-1"'


@dataclass
class S3Server:
    """The buckets, what was asked, and what is to go wrong.

    Attributes:
        buckets: Objects by key, by bucket.
        public: Buckets that need no signature.
        page_keys: Most keys in one answer to a listing.
        asked: Method, bucket/key and range of every request that was let in.
        on_get: Called with bucket/key before an object is read; may change or remove it.
        silent: Whether requests are taken and never answered.
        cut_bodies: Whether a connection is closed in the middle of an object's bytes.
        status: Answered to every request in place of what it asked for, where it is not 0.
    """

    buckets: dict[str, dict[str, Stored]] = field(default_factory=dict)
    public: set[str] = field(default_factory=set)
    page_keys: int = 1000
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    on_get: list = field(default_factory=list)
    silent: bool = False
    cut_bodies: bool = False
    status: int = 0
    endpoint: str = ""
    _writes: int = 0
    closing: threading.Event = field(default_factory=threading.Event)

    def put(self, bucket: str, key: str, data: bytes) -> None:
        """Store an object; another ETag each time."""
        self._writes += 1
        self.buckets.setdefault(bucket, {})[key] = Stored(data, self._writes)

    def gets(self) -> list[tuple[str, str]]:
        """Return key and range of each read of an object."""
        return [(path, wanted) for method, path, wanted in self.asked if method == "GET" and path.count("/")]

    def variables(self) -> dict[str, str]:
        """Return the environment that leads a client here."""
        return {
            "AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": _REGION,
            "AWS_ENDPOINT_URL": self.endpoint, "AWS_EC2_METADATA_DISABLED": "true",
        }  # fmt: skip


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """Serve on a free port while the body runs."""
    server = S3Server()
    handler = type("Handler", (_Handler,), {"s3": server})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        http.daemon_threads, http.block_on_close = True, False
        server.endpoint = f"http://127.0.0.1:{http.server_address[1]}"
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.closing.set()
            http.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    s3: S3Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Keep quiet."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        if self.s3.silent:
            self.s3.closing.wait()
            self.close_connection = True
            return
        url = urlsplit(self.path)
        bucket, _, key = unquote(url.path).removeprefix("/").partition("/")
        if bucket not in self.s3.public and (refusal := self._refusal(url.path, url.query)):
            self._error(403, refusal)
            return
        self.s3.asked.append((self.command, f"{bucket}/{key}" if key else bucket, self.headers.get("Range", "")))
        if self.s3.status:
            self._error(self.s3.status, "InternalError")
        elif bucket not in self.s3.buckets:
            self._error(404, "NoSuchBucket")
        elif key:
            self._object(bucket, key)
        elif self.command == "HEAD":
            self._send(200, b"", {})
        else:
            self._list(bucket, dict(parse_qsl(url.query, keep_blank_values=True)))

    def _object(self, bucket: str, key: str) -> None:
        if self.command == "GET":
            for call in self.s3.on_get:
                call(f"{bucket}/{key}")
        stored = self.s3.buckets[bucket].get(key)
        if stored is None:
            self._error(404, "NoSuchKey")
            return
        headers = {
            "ETag": stored.etag, "Last-Modified": formatdate(1_767_225_600, usegmt=True), "Accept-Ranges": "bytes",
        }  # fmt: skip
        wanted = self.headers.get("Range")
        if not wanted:
            self._send(200, stored.data, headers)
            return
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        if int(first) >= len(stored.data):
            self._error(416, "InvalidRange")
            return
        part = stored.data[int(first) : int(last) + 1 if last else None]
        headers["Content-Range"] = f"bytes {first}-{int(first) + len(part) - 1}/{len(stored.data)}"
        self._send(206, part, headers)

    def _list(self, bucket: str, query: dict[str, str]) -> None:
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        found: dict[str, Stored | None] = {}
        for key, stored in sorted(self.s3.buckets[bucket].items()):
            if key.startswith(prefix):
                rest = key[len(prefix) :]
                folded = delimiter and delimiter in rest
                found[prefix + rest.split(delimiter)[0] + delimiter if folded else key] = None if folded else stored
        after = unquote(query.get("continuation-token", ""))
        names = [name for name in sorted(found) if name > after]
        most = min(self.s3.page_keys, int(query.get("max-keys", 1000)))
        page = names[:most]
        quoted = quote if query.get("encoding-type") == "url" else escape
        entries = "".join(
            f"<CommonPrefixes><Prefix>{quoted(name)}</Prefix></CommonPrefixes>" if (each := found[name]) is None else
            f"<Contents><Key>{quoted(name)}</Key><Size>{len(each.data)}</Size><ETag>{escape(each.etag)}</ETag>"
            f"<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
            for name in page
        )  # fmt: skip
        more = f"<NextContinuationToken>{quote(page[-1])}</NextContinuationToken>" if len(names) > len(page) else ""
        body = (
            f"<ListBucketResult><Name>{bucket}</Name><KeyCount>{len(page)}</KeyCount>"
            f"<IsTruncated>{'true' if more else 'false'}</IsTruncated>{more}{entries}</ListBucketResult>"
        )
        self._send(200, body.encode(), {"Content-Type": "application/xml"})

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body)), "x-amz-request-id": "1"}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.s3.cut_bodies and status in (200, 206) and "ETag" in headers:
            self.wfile.write(body[: len(body) // 2])
            self.close_connection = True
            return
        self.wfile.write(body)

    def _error(self, status: int, code: str) -> None:
        # as some servers do, the answer repeats what was sent
        sent = escape(self.headers.get("Authorization", ""))
        body = f"<Error><Code>{code}</Code><Message>{code}: {sent}</Message></Error>".encode()
        self._send(status, body, {"Content-Type": "application/xml"})

    def _refusal(self, path: str, query: str) -> str:
        given = self.headers.get("Authorization", "")
        if not given.startswith("AWS4-HMAC-SHA256 "):
            return "AccessDenied"
        fields = dict(part.strip().split("=", 1) for part in given.removeprefix("AWS4-HMAC-SHA256 ").split(","))
        key_id, *scope = fields["Credential"].split("/")
        if key_id != KEY_ID:
            return "InvalidAccessKeyId"
        signed = fields["SignedHeaders"].split(";")
        pairs = sorted(parse_qsl(query, keep_blank_values=True))
        canonical = "\n".join(
            [
                self.command,
                path,
                "&".join(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in pairs),
                *(f"{name}:{' '.join((self.headers[name] or '').split())}" for name in signed),
                "",
                ";".join(signed),
                self.headers["x-amz-content-sha256"],
            ]
        )
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        text = "\n".join(["AWS4-HMAC-SHA256", self.headers["x-amz-date"], "/".join(scope), digest])
        key = b"AWS4" + SECRET.encode()
        for part in scope:
            key = hmac.digest(key, part.encode(), "sha256")
        expected = hmac.digest(key, text.encode(), "sha256").hex()
        return "" if hmac.compare_digest(expected, fields["Signature"]) else "SignatureDoesNotMatch"
